"""What a feature store holds: vilbert inspect STORE [IMAGE_KEY] [--images TAR] [--output PNG]."""

import io
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from extract.command import run
from extract.images.checks import tar_images
from extract.images.decoding import as_seen
from extract.regions.drawing import draw_regions
from extract.regions.store import Regions, RegionStore, read_manifest

NUM_KEYS_SHOWN = 5
NUM_CLASSES_SHOWN = 3


def main(
    store: Annotated[Path, typer.Argument(help="a feature store, .lmdb")],
    image_key: Annotated[
        str | None, typer.Argument(help="of the record to print; none: what all have in common")
    ] = None,
    images: Annotated[Path | None, typer.Option(help="tar that the image is in; found by itself in a run")] = None,
    output: Annotated[Path | None, typer.Option(help="picture to draw the record's boxes in")] = None,
) -> None:
    """Print the manifest of STORE, or one record; draw its boxes on the image."""
    reader = RegionStore([store])
    if image_key is None:
        print("\n".join(describe_store(store, reader)))
        return
    if image_key not in reader:
        raise ValueError(f"image '{image_key}' is not in {store}; without a key, some of its keys are printed")
    regions = reader[image_key]
    print("\n".join(describe_record(image_key, regions, classes=reader.classes, attributes=reader.attributes)))
    if output is not None:
        image = image_of(image_key, images or images_beside(store))
        draw_regions(image, regions, classes=reader.classes, only_confident=False).save(output)
        print(f"drawn: {output}")


def describe_store(path: Path, store: RegionStore) -> list[str]:
    """Lines about all records."""
    manifest = read_manifest(path)
    lines = [f"{path}: {manifest.num_records} images, {path.stat().st_size / 1e6:.1f} MB"]
    lines += [f"  features   {manifest.feature_size} x {manifest.dtype}, boxes: {manifest.box_source}"]
    kept = manifest.num_classes_kept or "all"
    classes = f"{manifest.num_classes} with the background, {kept} kept a region" if manifest.classes else "not known"
    lines += [f"  classes    {classes}"]
    lines += [f"  attributes {len(manifest.attributes)}, the likeliest of each region"] if manifest.attributes else []
    lines += [f"  selection  {', '.join(f'{name} {value}' for name, value in manifest.selection.items())}"]
    lines += [f"  detector   {', '.join(f'{name} {value}' for name, value in manifest.detector.items())}"]
    keys = list(store)
    if keys:
        counts = [len(store[key]) for key in keys]
        lines += [f"  regions    {min(counts)} to {max(counts)} an image, mean {np.mean(counts):.1f}"]
        lines += [f"  keys       {', '.join(keys[:NUM_KEYS_SHOWN])}{' ...' if len(keys) > NUM_KEYS_SHOWN else ''}"]
    return lines


def describe_record(
    key: str, regions: Regions, *, classes: tuple[str, ...], attributes: tuple[str, ...] = ()
) -> list[str]:
    """Lines about one image: a region each."""
    width, height = regions.image_size
    lines = [f"{key}: {width} x {height} pixels, {len(regions)} regions, {regions.num_confident} confident"]
    if regions.is_short:
        lines += ["  the detector proposed fewer regions than the selection asks for"]
    for index in range(len(regions)):
        probs = regions.class_probs[index].astype(np.float32)
        best = np.argsort(-probs[1:], kind="stable")[:NUM_CLASSES_SHOWN] + 1
        names = ", ".join(f"{classes[label]} {probs[label]:.2f}" for label in best)
        if regions.attribute_ids is not None and regions.attribute_probs is not None:
            names += f"; {attributes[regions.attribute_ids[index]]} {regions.attribute_probs[index]:.2f}"
        x1, y1, x2, y2 = regions.boxes[index]
        lines += [f"  {index:2}  {x1:7.1f} {y1:7.1f} {x2:7.1f} {y2:7.1f}  score {regions.scores[index]:.3f}  {names}"]
    return lines


def images_beside(store: Path) -> Path:
    """The tar of the shard, where a run keeps it."""
    return store.parents[2] / "images" / store.parent.name / f"{store.stem}.tar"


def image_of(key: str, tar: Path) -> Image.Image:
    """Raises: ValueError if `tar` has no such image."""
    for name, data in tar_images(tar):
        if name == key:
            return as_seen(Image.open(io.BytesIO(data))).convert("RGB")
    raise ValueError(f"no image '{key}' in {tar}; give its tar with --images")


if __name__ == "__main__":
    run(main)
