"""The regions of one shard's images.

python -m extract.regions.extract TAR TABLE MODEL OUT_STORE OUT_MANIFEST OUT_COUNTS

Decoding and writing go on in threads while the detector works.
"""

import io
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
import torch
import typer
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from extract.command import run
from extract.detection.detector import Detector, Proposals, best_device
from extract.detection.loading import load_detector
from extract.images.checks import decoding_detail, tar_images
from extract.images.decoding import FORMATS, as_seen
from extract.regions.selection import select_regions
from extract.regions.store import Regions, RegionStoreWriter, manifest_path
from extract.settings import DetectorSettings, SelectionSettings, StoreSettings
from extract.tables import IMAGES, REGION_COUNTS, read_rows, write_table

Item = TypeVar("Item")
BATCHES_A_WINDOW = 4  # images of one size are sought among so many batches
NUM_DECODERS = 2  # threads


@dataclass(frozen=True)
class DecodedImage:
    """The pixels of an image, or why there are none."""

    key: str
    pixels: np.ndarray | None  # [H, W, 3] uint8
    error: str | None = None


def main(
    tar: Path,
    table: Path,
    model: Path,
    store: Path,
    manifest: Path,
    counts: Path,
    detector: Annotated[DetectorSettings, typer.Option(parser=DetectorSettings.model_validate_json)],
    selection: Annotated[SelectionSettings, typer.Option(parser=SelectionSettings.model_validate_json)],
    store_settings: Annotated[StoreSettings, typer.Option("--store", parser=StoreSettings.model_validate_json)],
) -> None:
    """Detect, select and store the regions of every image in TAR that decodes; every image is a row of COUNTS."""
    if manifest != manifest_path(store):
        raise ValueError(f"the manifest of {store} is {manifest_path(store)}, got {manifest}")
    num_images = len({row["image_key"] for row in read_rows(table, IMAGES)} - {None})
    trained = load_detector(model, settings=detector, device=best_device())
    rows = extract_regions(
        tar,
        store,
        detector=trained,
        batch_size=detector.batch_size,
        selection=selection,
        num_classes_kept=store_settings.num_classes_kept,
        num_images=num_images,
    )
    write_table(counts, rows, REGION_COUNTS)


def extract_regions(
    tar: Path,
    store: Path,
    *,
    detector: Detector,
    batch_size: int,
    selection: SelectionSettings,
    num_classes_kept: int | None,
    num_images: int,
) -> list[dict]:
    """Write the store of a tar; give one row of tables.REGION_COUNTS an image.

    Images are decoded before the detector and regions are chosen and written behind it, so that it waits for neither.
    """
    rows: list[dict] = []
    writer = RegionStoreWriter(
        store,
        classes=detector.classes,
        feature_size=detector.feature_size,
        num_classes_kept=num_classes_kept,
        box_source=detector.box_source,
        detector=detector.identity,
        selection=selection.model_dump(mode="json"),
        attributes=detector.attributes,
    )
    with writer, ThreadPoolExecutor(1) as writing, tqdm(total=num_images, desc="regions", unit="image") as bar:
        pending: Future | None = None
        for window in decoded_windows(tar, window_size=batch_size * BATCHES_A_WINDOW):
            found = detect_window(window, detector=detector, batch_size=batch_size)
            if pending is not None:
                pending.result()
            pending = writing.submit(_choose_and_put, writer, window, found, selection=selection, rows=rows)
            bar.update(len(window))
        if pending is not None:
            pending.result()
    return rows


def decoded_windows(tar: Path, *, window_size: int) -> Iterator[list[DecodedImage]]:
    """The images of a tar, so many at a time, the next ones being decoded while the caller works."""
    with ThreadPoolExecutor(NUM_DECODERS) as decoders:
        ahead: list[Future[DecodedImage]] = []
        for images in in_parts(tar_images(tar), window_size):
            coming = [decoders.submit(decode, key, data) for key, data in images]
            if ahead:
                yield [future.result() for future in ahead]
            ahead = coming
        if ahead:
            yield [future.result() for future in ahead]


def decode(key: str, data: bytes) -> DecodedImage:
    """RGB pixels of an image's bytes, as one sees them."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return DecodedImage(key, np.asarray(as_seen(image).convert("RGB")))
    except Exception as error:  # a decoder raises whatever a stranger's bytes make it trip over
        return DecodedImage(key, None, decoding_detail(error))


def detect_window(window: list[DecodedImage], *, detector: Detector, batch_size: int) -> dict[str, Proposals]:
    """Proposals of the images by key. Only images of equal size share a batch: padding would change their features."""
    by_size: dict[tuple[int, ...], list[tuple[str, np.ndarray]]] = {}
    for image in window:
        if image.pixels is not None:
            by_size.setdefault(image.pixels.shape, []).append((image.key, image.pixels))
    found: dict[str, Proposals] = {}
    for images in by_size.values():
        for batch in in_parts(images, batch_size):
            batch_pixels = torch.from_numpy(np.stack([pixels for _, pixels in batch])).permute(0, 3, 1, 2)
            found |= zip((key for key, _ in batch), detector.detect(batch_pixels), strict=True)
    return found


def to_regions(proposals: Proposals, *, image_size: tuple[int, int], selection: SelectionSettings) -> Regions:
    """The chosen proposals, on the CPU; of the features, these alone are copied there."""
    boxes, class_probs = proposals.boxes.cpu().numpy(), proposals.class_probs.cpu().numpy()
    chosen = select_regions(boxes, class_probs, settings=selection)
    indices = torch.from_numpy(chosen.indices).to(proposals.features.device)
    attribute_ids, attribute_probs = likeliest_attributes(proposals, indices)
    return Regions(
        boxes=boxes[chosen.indices],
        scores=chosen.scores,
        features=proposals.features[indices].half().cpu().numpy(),
        class_probs=class_probs[chosen.indices].astype(np.float16),
        image_size=image_size,
        num_confident=chosen.num_confident,
        is_short=chosen.is_short,
        attribute_ids=attribute_ids,
        attribute_probs=attribute_probs,
    )


def likeliest_attributes(proposals: Proposals, indices: Tensor | slice) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Numbers [N] uint16 and probabilities [N] float16 for the proposals that are asked for; null: none are told."""
    if proposals.attribute_probs is None:
        return None, None
    likeliest = proposals.attribute_probs[indices].max(dim=1)
    return likeliest.indices.cpu().numpy().astype(np.uint16), likeliest.values.half().cpu().numpy()


def in_parts(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items, the last one shorter."""
    remaining = iter(items)
    while part := list(islice(remaining, size)):
        yield part


def _choose_and_put(
    writer: RegionStoreWriter,
    window: list[DecodedImage],
    found: dict[str, Proposals],
    *,
    selection: SelectionSettings,
    rows: list[dict],
) -> None:
    for image in window:
        row: dict = {"key": image.key, "num_regions": 0, "num_confident": 0}
        if image.pixels is None:
            row |= {"reason": "undecodable", "detail": image.error}
        else:
            height, width, _ = image.pixels.shape
            regions = to_regions(found.pop(image.key), image_size=(width, height), selection=selection)
            if len(regions) == 0:
                row |= {"reason": "no_proposals", "detail": f"{width} x {height}"}
            else:
                writer.put(image.key, regions)
                row |= {"num_regions": len(regions), "num_confident": regions.num_confident}
        rows.append(row)


if __name__ == "__main__":
    run(main)
