"""Features of boxes that a file names.

python -m extract.regions.given_boxes TAR FORMAT BOXES MODEL OUT_STORE OUT_MANIFEST OUT_DROPPED

A record holds an image's boxes in the order of the file, so that annotations find them by their number.
"""

import json
import math
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import typer
from torch import Tensor
from tqdm import tqdm

from extract.command import run
from extract.detection.boxes import box_objection, cut_off
from extract.detection.detector import Detector, Proposals, Size, best_device
from extract.detection.loading import load_detector
from extract.regions.batches import Batch, SeenImage
from extract.regions.extract import likeliest_attributes
from extract.regions.in_order import regions_in_order
from extract.regions.store import Regions, RegionStoreWriter, manifest_path
from extract.settings import DetectorSettings
from extract.tables import whole_file

Boxes = dict[str, np.ndarray]  # image key -> [N, 4] float32, x1 y1 x2 y2 in pixels


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
    threads: Annotated[int, typer.Option(min=1, help="that decode")] = 1,
) -> None:
    """Pool features for the boxes that BOXES names; images without a record are rows of OUT_DROPPED."""
    if manifest != manifest_path(store):
        raise ValueError(f"the manifest of {store} is {manifest_path(store)}, got {manifest}")
    trained = load_detector(model, settings=detector, device=best_device())
    given = read_boxes(box_format, boxes, instances)
    rows = extract_given(tar, store, given, detector=trained, batch_size=detector.batch_size, num_threads=threads)
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

    Raises: ValueError for a file that is cut off or has no boxes, two of one name, or a folder without one.
    """
    paths = sorted(folder.rglob("*.json"), key=lambda path: path.stem)
    paths = [path for path in paths if not path.name.startswith(".")]  # macOS packs ._x.json beside x.json
    if not paths:
        raise ValueError(f"no metadata in {folder}, expected a .json an image")
    for one, other in pairwise(paths):
        if one.stem == other.stem:
            raise ValueError(f"{one} and {other} have one name, so that of an image are two lists of boxes; remove one")
    return {path.stem: _array([_four(box) for box in _metadata(path)["boxes"]]) for path in paths}


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


def _metadata(path: Path) -> dict:
    content = _read(path)
    if not isinstance(content, dict) or not isinstance(content.get("boxes"), list):
        raise ValueError(f"{path} holds no list 'boxes', expected VCR's metadata of an image; fetch it again")
    return content


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is no whole JSON file ({error}); fetch it again") from error


def _four(box: Any) -> list[float]:
    """The numbers of a box; of what is none, such as no image has."""
    is_box = isinstance(box, list) and len(box) >= 4 and all(isinstance(value, int | float) for value in box[:4])
    return box[:4] if is_box else [math.nan] * 4


def _array(boxes: list) -> np.ndarray:
    return np.asarray(boxes, np.float32).reshape(-1, 4)


def extract_given(
    tar: Path, store: Path, boxes: Boxes, *, detector: Detector, batch_size: int, num_threads: int = 1
) -> list[dict]:
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
    images = regions_in_order(
        tar,
        detector=detector,
        batch_size=batch_size,
        num_threads=num_threads,
        look=lambda batch: detector.pool(batch.pixels, boxes_of(batch, boxes), batch.sizes),
        read=to_given,
        is_wanted=lambda image: objection(image, boxes) is None,
    )
    with writer:
        for image, regions in tqdm(images, desc="given boxes", unit="image"):
            left.discard(image.key)
            if regions is not None:
                writer.put(image.key, regions)
            elif (why := objection(image, boxes)) is not None:
                rows.append({"image_key": image.key, "reason": why[0], "detail": why[1]})
    return rows + [{"image_key": key, "reason": "no_image", "detail": tar.name} for key in sorted(left)]


def objection(image: SeenImage, boxes: Boxes) -> tuple[str, str | None] | None:
    """Why an image gets no record, and the detail: all of its boxes are there, or none, or numbers would be wrong."""
    if image.size is None:
        return "undecodable", image.error
    given = boxes.get(image.key)
    if given is None or not len(given):
        return "no_boxes", None
    height, width = image.size
    detail = box_objection(given, (width, height))
    return None if detail is None else ("bad_box", detail)


def boxes_of(batch: Batch, boxes: Boxes) -> list[Tensor]:
    """Those of each image, [P, 4], which end where the image does."""
    return [
        torch.from_numpy(cut_off(boxes[image.key], (width, height)))
        for image, (height, width) in zip(batch.images, batch.sizes, strict=True)
    ]


def to_given(proposals: list[Proposals], sizes: list[Size]) -> list[Regions]:
    """All proposals of each image as regions, in their order."""
    return [all_regions(*of_image) for of_image in zip(proposals, sizes, strict=True)]


def all_regions(proposals: Proposals, size: Size) -> Regions:
    """Those of one image of `size`."""
    height, width = size
    class_probs = proposals.class_probs.cpu().numpy()
    attribute_ids, attribute_probs = likeliest_attributes(proposals, slice(None))
    return Regions(
        boxes=proposals.boxes.cpu().numpy(),
        scores=class_probs[:, 1:].max(axis=1),
        features=proposals.features.half().cpu().numpy(),
        class_probs=class_probs.astype(np.float16),
        image_size=(width, height),
        num_confident=len(class_probs),
        is_short=False,
        attribute_ids=attribute_ids,
        attribute_probs=attribute_probs,
    )


if __name__ == "__main__":
    run(main)
