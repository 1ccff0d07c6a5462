"""The regions of pictures that one has at hand, by the same way as those of a run: decoded, detected and selected."""

import io
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from extract.detection.loading import load_detector
from extract.download.folder import MAX_PIXELS
from extract.download.shard_files import new_shard, read_picture
from extract.images.checks import tar_images
from extract.images.decoding import SUFFIXES, as_seen, prepare_image
from extract.objection import Objection
from extract.plain_files import files_below, in_text
from extract.reasons import DownloadFailure, DownloadReason
from extract.regions.extract import extract_regions
from extract.regions.store import Regions, RegionStore
from extract.settings import DetectorSettings, SelectionSettings

Picture = str | Path | bytes | Image.Image | np.ndarray


class FoundRegions(NamedTuple):
    """What is known of a picture: its regions and pixels, or why there are none."""

    name: str  # its path, or its place among the pictures that were given
    regions: Regions | None
    image: Image.Image | None  # RGB, as one sees it, in whose pixels the boxes are; None: there are features alone
    objection: Objection | None = None


class RegionFinder:
    """A detector and the selection behind it, for pictures in place of shards.

    Raises: FileNotFoundError; ValueError for weights that are not of these settings.
    """

    def __init__(
        self, weights: Path, *, settings: DetectorSettings, selection: SelectionSettings, device: torch.device
    ) -> None:
        self.detector = load_detector(weights, settings=settings, device=device)
        self.settings, self.selection = settings, selection

    def find(self, pictures: Sequence[Picture]) -> list[FoundRegions]:
        """One for each picture, in their order; a picture that cannot be read takes no other along.

        Args:
            pictures: paths, bytes of files, PIL images, or arrays [H, W, 3] or [H, W] of uint8.
        """
        names = [name_of(picture, place) for place, picture in enumerate(pictures)]
        with TemporaryDirectory() as folder:
            tar, store = Path(folder, "pictures.tar"), Path(folder, "pictures.lmdb")
            objections = pack(pictures, tar)
            rows = extract_regions(
                tar,
                store,
                detector=self.detector,
                batch_size=self.settings.batch_size,
                selection=self.selection,
                num_classes_kept=None,
                num_images=len(pictures) - len(objections),
                num_threads=(os.cpu_count() or 1) if self.detector.device.type == "cuda" else 1,
                shows_progress=sys.stderr.isatty(),
            )
            objections |= {row["key"]: Objection(row["reason"], row["detail"]) for row in rows if row.get("reason")}
            images = {key: upright(data) for key, data in tar_images(tar) if key not in objections}
            regions = RegionStore([store])
            return [
                FoundRegions(name, None, None, objections[key])
                if (key := key_of(place)) in objections
                else FoundRegions(name, regions[key], images[key])
                for place, name in enumerate(names)
            ]


def files_to_look_at(path: Path) -> tuple[list[Path], list[tuple[str, Objection]]]:
    """The images of a folder, by their suffixes, and every other file of it with its reason; an image is itself.

    Raises: FileNotFoundError if there is no image.
    """
    if not path.is_dir():
        return [path], []
    files = files_below(path)
    images = [file for file in files if file.suffix.lower() in SUFFIXES]
    if not images:
        raise FileNotFoundError(f"no image in {path}: expected files that end in {', '.join(sorted(SUFFIXES))}")
    reason = Objection(str(DownloadReason.NOT_AN_IMAGE), f"expected one of {', '.join(sorted(SUFFIXES))}")
    others = [(in_text(str(file.relative_to(path))), reason) for file in files if file.suffix.lower() not in SUFFIXES]
    return images, others


def names_below(folder: Path, files: Sequence[Path]) -> tuple[list[str], list[tuple[str, Objection]]]:
    """The names of files below a folder, and those that are no text, with the reason."""
    names = [str(file.relative_to(folder)) for file in files]
    reason = Objection("name_is_no_text", "its name is not UTF-8; rename it")
    return [name for name in names if in_text(name) == name], [(in_text(n), reason) for n in names if in_text(n) != n]


def pack(pictures: Sequence[Picture], path: Path) -> dict[str, Objection]:
    """Write the tar of those that can be read, by their places; why the others cannot."""
    objections = {}
    with new_shard(path, max_pixels=MAX_PIXELS, max_side=None) as take:
        for place, picture in enumerate(pictures):
            row = {"key": key_of(place), "caption": None}
            outcome = take(row, partial(bytes_of, picture))
            if outcome["status"] != "success":
                objections[key_of(place)] = Objection(outcome["error_message"], outcome["detail"])
    return objections


def bytes_of(picture: Picture) -> bytes:
    """Those of a file.

    Raises: DownloadFailure where there is no file, or one that may not be read; TypeError for what is no picture.
    """
    if isinstance(picture, str | Path):
        return read_picture(Path(picture))
    if isinstance(picture, bytes):
        return picture
    if isinstance(picture, np.ndarray) and picture.dtype != np.uint8:
        raise TypeError(f"got an array of {picture.dtype}, expected uint8, 0 to 255")
    image: Any = drawn_by(picture) if isinstance(picture, np.ndarray) else picture
    if not isinstance(image, Image.Image):
        raise TypeError(f"got a {type(picture).__name__}, expected a path, bytes, a PIL image or an array")
    file = io.BytesIO()
    as_seen(image).convert("RGB").save(file, "PNG")
    return file.getvalue()


def drawn_by(array: np.ndarray) -> Image.Image:
    """Raises: TypeError for a batch of pictures, or one with the channels in front."""
    try:
        return Image.fromarray(array)
    except TypeError as error:
        raise TypeError(
            f"got an array of the shape {array.shape}, expected [H, W, 3] or [H, W]; several pictures are a list"
        ) from error


def read_upright(path: Path) -> Image.Image:
    """A picture as `find` looks at it, without its regions: RGB, as one sees it.

    Raises: ValueError for one that cannot be read, with the reason.
    """
    try:
        data = prepare_image(read_picture(path), max_pixels=MAX_PIXELS, max_side=None).data
    except DownloadFailure as failure:
        raise ValueError(f"{failure.reason}: {failure.detail}") from failure
    return upright(data)


def upright(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        return as_seen(image).convert("RGB")


def name_of(picture: Picture, place: int) -> str:
    return in_text(str(picture)) if isinstance(picture, str | Path) else f"image {place}"


def key_of(place: int) -> str:
    """Keys stand in the order of the pictures."""
    return f"{place:08d}"
