"""Features of boxes that a file names.

python -m extract.regions.given_boxes TAR FORMAT BOXES MODEL OUT_STORE OUT_MANIFEST OUT_DROPPED

A record holds an image's boxes in the order of the file, so that annotations find them by their number.
"""

import json
import math
from collections.abc import Iterator
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import typer
from tqdm import tqdm

from extract.command import run
from extract.detection.boxes import box_objection, cut_off
from extract.detection.detector import Detector, Proposals, best_device
from extract.detection.loading import load_detector
from extract.regions.extract import DecodedImage, decoded_windows, in_parts, likeliest_attributes
from extract.regions.store import Regions, RegionStoreWriter, manifest_path
from extract.settings import DetectorSettings
from extract.tables import whole_file

Boxes = dict[str, np.ndarray]  # image key -> [N, 4] float32, x1 y1 x2 y2 in pixels
WINDOW = 64  # images that are decoded together


class BoxFormat(StrEnum):
    """Files that name boxes."""

    VCR = "vcr"  # folder of VCR's metadata, a json an image: boxes x1 y1 x2 y2 score
    COCO = "coco"  # instances.json: boxes x y width height, by image
    DETECTIONS = "detections"  # MAttNet's list: image_id and box x y width height


def main(
    tar: Path,
    box_format: BoxFormat,
    boxes: Path,
    model: Path,
    store: Path,
    manifest: Path,
    dropped: Path,
    detector: Annotated[DetectorSettings, typer.Option(parser=DetectorSettings.model_validate_json)],
    instances: Annotated[Path | None, typer.Option(help="instances.json with the names of detections' images")] = None,
) -> None:
    """Pool features for the boxes that BOXES names; images without a record are rows of OUT_DROPPED."""
    if manifest != manifest_path(store):
        raise ValueError(f"the manifest of {store} is {manifest_path(store)}, got {manifest}")
    trained = load_detector(model, settings=detector, device=best_device())
    given = read_boxes(box_format, boxes, instances)
    rows = extract_given(tar, store, given, detector=trained, batch_size=detector.batch_size)
    with whole_file(dropped) as partial:
        pd.DataFrame(rows, columns=["image_key", "reason", "detail"]).to_csv(partial, index=False)


def read_boxes(box_format: BoxFormat, path: Path, instances: Path | None) -> Boxes:
    """Raises: ValueError for a file that is cut off or of another format, or detections without their images' names."""
    try:
        if box_format == BoxFormat.VCR:
            return read_vcr_boxes(path)
        if box_format == BoxFormat.COCO:
            return read_coco_boxes(path)
        if instances is None:
            raise ValueError(f"{path} numbers its images: give the instances.json that names them with --instances")
        return read_detections(path, instances)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no file of the format '{box_format}', {type(error).__name__} {error}") from error


def read_vcr_boxes(folder: Path) -> Boxes:
    """Of every metadata file below the folder; its name is the image's.

    Raises: ValueError for a file that is cut off, two of one name, or a folder without one.
    """
    paths = sorted(folder.rglob("*.json"), key=lambda path: path.stem)
    if not paths:
        raise ValueError(f"no metadata in {folder}, expected a .json an image")
    for one, other in pairwise(paths):
        if one.stem == other.stem:
            raise ValueError(f"{one} and {other} have one name, so that of an image are two lists of boxes; remove one")
    return {path.stem: _array([_four(box) for box in _read(path)["boxes"]]) for path in paths}


def read_coco_boxes(path: Path) -> Boxes:
    """All annotations of each image of an instances.json, in the order of the file.

    Raises: ValueError for a file that is cut off, or boxes of an image that it does not name.
    """
    content = _read(path)
    return _by_image(content["annotations"], "bbox", path=path, images=content["images"])


def read_detections(path: Path, instances: Path) -> Boxes:
    """MAttNet's detections of each image, in the order of the file.

    Raises: ValueError for a file that is cut off, or an image that `instances` does not name.
    """
    return _by_image(_read(path), "box", path=path, images=_read(instances)["images"])


def _by_image(rows: list[dict], field: str, *, path: Path, images: list[dict]) -> Boxes:
    names = {image["id"]: Path(image["file_name"]).stem for image in images}
    lists: dict[str, list[list[float]]] = {}
    for row in rows:
        if row["image_id"] not in names:
            raise ValueError(f"{path} has boxes of image {row['image_id']}, which instances.json does not name")
        x, y, width, height = _four(row[field])
        lists.setdefault(names[row["image_id"]], []).append([x, y, x + width, y + height])
    return {key: _array(boxes) for key, boxes in lists.items()}


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is no whole JSON file ({error}); fetch it again") from error


def _four(box: Any) -> list[float]:
    """The numbers of a box; of what is none, such as no image has."""
    is_box = isinstance(box, list) and len(box) >= 4 and all(isinstance(value, int | float) for value in box[:4])
    return box[:4] if is_box else [math.nan] * 4


def _array(boxes: list) -> np.ndarray:
    return np.asarray(boxes, np.float32).reshape(-1, 4)


def extract_given(tar: Path, store: Path, boxes: Boxes, *, detector: Detector, batch_size: int) -> list[dict]:
    """Write the store; give a row for each image of the tar or of the boxes that has no record."""
    rows: list[dict] = []
    left = set(boxes)
    writer = RegionStoreWriter(
        store,
        classes=detector.classes,
        feature_size=detector.feature_size,
        num_classes_kept=None,
        box_source="given",
        detector=detector.identity,
        selection={},
        attributes=detector.attributes,
    )
    with writer:
        for window in tqdm(decoded_windows(tar, window_size=WINDOW), desc="given boxes", unit_scale=WINDOW):
            usable: dict[str, tuple[np.ndarray, np.ndarray]] = {}
            for image in window:
                left.discard(image.key)
                reason, detail = objection(image, boxes)
                if reason is not None:
                    rows.append({"image_key": image.key, "reason": reason, "detail": detail})
                else:
                    assert image.pixels is not None
                    usable[image.key] = (image.pixels, cut_off(boxes[image.key], size_of(image.pixels)))
            found = dict(pooled(usable, detector=detector, batch_size=batch_size))
            for key in sorted(found, key=str.encode):
                writer.put(key, found[key])
    return rows + [{"image_key": key, "reason": "no_image", "detail": tar.name} for key in sorted(left)]


def objection(image: DecodedImage, boxes: Boxes) -> tuple[str | None, str | None]:
    """Why an image gets no record: all of its boxes are there, or none, or their numbers would be wrong."""
    if image.pixels is None:
        return "undecodable", image.error
    given = boxes.get(image.key)
    if given is None or not len(given):
        return "no_boxes", None
    detail = box_objection(given, size_of(image.pixels))
    return (None, None) if detail is None else ("bad_box", detail)


def size_of(pixels: np.ndarray) -> tuple[int, int]:
    """Width and height of [H, W, 3]."""
    height, width = pixels.shape[:2]
    return width, height


def pooled(
    images: dict[str, tuple[np.ndarray, np.ndarray]], *, detector: Detector, batch_size: int
) -> Iterator[tuple[str, Regions]]:
    """Regions of the given boxes by key; images of one size go through the model together."""
    by_size: dict[tuple[int, ...], list[str]] = {}
    for key, (pixels, _) in images.items():
        by_size.setdefault(pixels.shape, []).append(key)
    for (height, width, _), keys in by_size.items():
        for part in in_parts(keys, batch_size):
            batch = torch.from_numpy(np.stack([images[key][0] for key in part])).permute(0, 3, 1, 2)
            boxes = [torch.from_numpy(images[key][1]) for key in part]
            for key, proposals in zip(part, detector.pool(batch, boxes), strict=True):
                yield key, to_given(proposals, image_size=(width, height))


def to_given(proposals: Proposals, *, image_size: tuple[int, int]) -> Regions:
    """All proposals as regions, in their order."""
    class_probs = proposals.class_probs.cpu().numpy()
    attribute_ids, attribute_probs = likeliest_attributes(proposals, slice(None))
    return Regions(
        boxes=proposals.boxes.cpu().numpy(),
        scores=class_probs[:, 1:].max(axis=1),
        features=proposals.features.half().cpu().numpy(),
        class_probs=class_probs.astype(np.float16),
        image_size=image_size,
        num_confident=len(class_probs),
        is_short=False,
        attribute_ids=attribute_ids,
        attribute_probs=attribute_probs,
    )


if __name__ == "__main__":
    run(main)
