"""Features of boxes that a file names.

python -m extract.regions.given_boxes TAR FORMAT BOXES MODEL OUT_STORE OUT_MANIFEST OUT_DROPPED

A record holds an image's boxes in the order of the file, so that annotations find them by their number. Boxes that may
be of other pixels, of a picture of another size or before EXIF turned it, have no record.
"""

import json
import math
import tarfile
from collections.abc import Mapping
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
import torch
import typer
from torch import Tensor
from tqdm import tqdm

from extract.command import run
from extract.detection.boxes import box_objection, cut_off
from extract.detection.detector import Detector, Proposals, Size
from extract.detection.loading import load_detector
from extract.devices import DeviceChoice, best_device
from extract.objection import Objection
from extract.plain_files import files_below
from extract.regions.batches import SIDEWAYS, Batch, SeenImage
from extract.regions.extract import likeliest_attributes
from extract.regions.in_order import regions_in_order
from extract.regions.store import Regions, RegionStoreWriter, manifest_path
from extract.settings import DetectorSettings
from extract.tables import whole_file


class GivenBoxes(NamedTuple):
    """Those of one image."""

    corners: np.ndarray  # [N, 4] float32, x1 y1 x2 y2 in pixels
    image_size: tuple[int, int] | None = None  # width, height of the picture that they are of; null: not told


Boxes = dict[str, GivenBoxes]  # by image key


class BoxFormat(StrEnum):
    """Files that name boxes."""

    VCR = "vcr"  # folder of VCR's metadata, a json an image: boxes x1 y1 x2 y2 score, width, height
    COCO = "coco"  # instances.json: boxes x y width height, by image, of which width and height are told
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
    device: Annotated[DeviceChoice, typer.Option(help="auto: a GPU if there is one")] = DeviceChoice.AUTO,
) -> None:
    """Pool features for the boxes that BOXES names; images without a record are rows of OUT_DROPPED."""
    if manifest != manifest_path(store):
        raise ValueError(f"the manifest of {store} is {manifest_path(store)}, got {manifest}")
    trained = load_detector(model, settings=detector, device=best_device(device))
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
    paths = sorted((path for path in files_below(folder) if path.suffix == ".json"), key=lambda path: path.stem)
    paths = [path for path in paths if not path.name.startswith(".")]  # macOS packs ._x.json beside x.json
    if not paths:
        raise ValueError(f"no metadata in {folder}, expected a .json an image")
    for one, other in pairwise(paths):
        if one.stem == other.stem:
            raise ValueError(f"{one} and {other} have one name, so that of an image are two lists of boxes; remove one")
    return {path.stem: _of_vcr(_metadata(path)) for path in paths}


def _of_vcr(metadata: dict) -> GivenBoxes:
    return GivenBoxes(_array([_four(box) for box in metadata["boxes"]]), _size_of(metadata))


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
    """Raises: ValueError for boxes of an image without a name, or of two with one."""
    of_images = {image["id"]: image for image in images}
    lists: dict[Any, list[list[float]]] = {}
    for row in rows:
        if row["image_id"] not in of_images:
            raise ValueError(f"{path} has boxes of image {row['image_id']}, which instances.json does not name")
        x, y, width, height = _four(row[field])
        lists.setdefault(row["image_id"], []).append([x, y, x + width, y + height])
    found: Boxes = {}
    for image_id, corners in lists.items():
        key = Path(of_images[image_id]["file_name"]).stem
        if key in found:
            raise ValueError(f"{path} has boxes of two images of the name {key}, which cannot be told apart")
        found[key] = GivenBoxes(_array(corners), _size_of(of_images[image_id]))
    return found


def _size_of(row: Mapping[str, Any]) -> tuple[int, int] | None:
    """Width and height that a file tells of its image."""
    return None if row.get("width") is None or row.get("height") is None else (row["width"], row["height"])


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
    turned = orientations(tar)
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
        is_wanted=lambda image: objection(image, boxes, turned) is None,
    )
    with writer:
        for image, regions in tqdm(images, desc="given boxes", unit="image"):
            left.discard(image.key)
            if regions is not None:
                writer.put(image.key, regions)
            elif (why := objection(image, boxes, turned)) is not None:
                rows.append({"image_key": image.key, "reason": why.reason, "detail": why.detail})
    return rows + [{"image_key": key, "reason": "no_image", "detail": tar.name} for key in sorted(left)]


def orientations(tar: Path) -> dict[str, int]:
    """By which EXIF turned images before they came into the tar, by key, where it did: 2 to 8."""
    found = {}
    with tarfile.open(tar) as members:
        for member in members:
            if member.name.endswith(".json") and (file := members.extractfile(member)):
                told = json.loads(json.load(file)["exif"] or "{}").get("Orientation")
                if told in set("2345678"):
                    found[member.name.removesuffix(".json")] = int(told)
    return found


def objection(image: SeenImage, boxes: Boxes, turned: Mapping[str, int]) -> Objection | None:
    """Why an image gets no record: all of its boxes are there, and of its own pixels, or numbers would be wrong.

    Args:
        turned: orientations of the images that EXIF turned.
    """
    if image.size is None:
        return image.objection
    given = boxes.get(image.key)
    if given is None or not len(given.corners):
        return Objection("no_boxes", "")
    height, width = image.size
    told, here = given.image_size, f"the image is {width} x {height}"
    if told not in (None, (width, height)):
        why = ", turned by EXIF" if image.key in turned else ""
        return Objection("other_size", f"boxes of {told[0]} x {told[1]}, {here}{why}")
    if image.key in turned and not (told and width != height and turned[image.key] in SIDEWAYS):
        return Objection("turned", f"{here}, turned by EXIF; whether its boxes were before that, nothing tells")
    detail = box_objection(given.corners, (width, height))
    return None if detail is None else Objection("bad_box", detail)


def boxes_of(batch: Batch, boxes: Boxes) -> list[Tensor]:
    """Those of each image, [P, 4], which end where the image does."""
    return [
        torch.from_numpy(cut_off(boxes[image.key].corners, (width, height)))
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
