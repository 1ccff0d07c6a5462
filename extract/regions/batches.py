"""The images of a tar in batches of one canvas: decoded, resized and copied to the device ahead of the detector.

B images of a batch, h x w pixels of its canvas: of an image after resizing or, where the detector pads, more.
"""

import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from PIL import ExifTags, Image
from torch import Tensor

from extract.detection.detector import Detector, Size
from extract.images.checks import decoding_detail, tar_images
from extract.images.decoding import FORMATS, as_seen
from extract.objection import Objection

Item = TypeVar("Item")
WINDOW = 1024  # images among which those of one canvas are sought; their bytes are held, and their records
GROUPS_AHEAD = 4  # batches that are being decoded
SIDEWAYS = (5, 6, 7, 8)  # orientations of EXIF that change width and height


class PackedImage(NamedTuple):
    """An image as the tar holds it."""

    place: int  # in the tar
    key: str
    data: bytes


@dataclass(frozen=True)
class SeenImage:
    """An image whose pixels were looked at, or why there are none."""

    place: int  # in the tar
    key: str
    size: Size | None  # as one sees it, before resizing
    objection: Objection | None = None


@dataclass(frozen=True, eq=False)
class Batch:
    """Images that go through the detector together, and those beside them that do not."""

    images: list[SeenImage]
    pixels: Tensor  # [B, 3, h, w] uint8 RGB on the detector's device, channels last; if it pads, B is always the same
    left_out: list[SeenImage]  # not decodable, too thin, or not wanted
    copied: torch.cuda.Event | None = None  # after which the pixels are there

    @property
    def sizes(self) -> list[Size]:
        """Of the images before they were resized."""
        return [image.size for image in self.images if image.size is not None]


def image_batches(
    tar: Path, *, detector: Detector, batch_size: int, num_threads: int, is_wanted: Callable[[SeenImage], bool]
) -> Iterator[Batch]:
    """Every image of a tar once. Images share a batch if the detector has them on one canvas."""
    stream = torch.cuda.Stream(detector.device) if detector.device.type == "cuda" else None
    packed = (PackedImage(place, *image) for place, image in enumerate(tar_images(tar)))
    groups = (
        group for window in in_parts(packed, WINDOW) for group in groups_of_one_canvas(window, detector, batch_size)
    )
    for decoded in decoded_ahead(groups, detector=detector, num_threads=num_threads):
        left_out = [image for image, pixels in decoded if pixels is None or not is_wanted(image)]
        by_canvas: dict[Size, list[tuple[SeenImage, np.ndarray]]] = {}
        for image, pixels in decoded:
            if pixels is not None and image.size is not None and image not in left_out:
                by_canvas.setdefault(detector.canvas_size(image.size), []).append((image, pixels))
        if left_out:
            yield Batch([], torch.empty(0), left_out)
        for canvas, images in by_canvas.items():
            num_places = batch_size if detector.pads else len(images)
            batch, copied = on_device(placed([pixels for _, pixels in images], canvas, num_places=num_places), stream)
            yield Batch([image for image, _ in images], batch, [], copied)


def groups_of_one_canvas(window: list[PackedImage], detector: Detector, batch_size: int) -> Iterator[list[PackedImage]]:
    """The images of a window in parts of one canvas, as far as their headers tell."""
    by_canvas: dict[Size | None, list[PackedImage]] = {}
    for image in window:
        size = size_by_header(image.data)
        by_canvas.setdefault(size and detector.canvas_size(size), []).append(image)
    for images in by_canvas.values():
        yield from in_parts(images, batch_size)


def size_by_header(data: bytes) -> Size | None:
    """Height and width that the header of an image claims, seen upright; null: it cannot be read."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            is_sideways = "exif" in image.info and image.getexif().get(ExifTags.Base.Orientation) in SIDEWAYS
    except Exception:  # a decoder raises whatever a stranger's bytes make it trip over; decoding says what it was
        return None
    return (width, height) if is_sideways else (height, width)


def decoded_ahead(
    groups: Iterator[list[PackedImage]], *, detector: Detector, num_threads: int
) -> Iterator[list[tuple[SeenImage, np.ndarray | None]]]:
    """The images of each group and their resized pixels [h, w, 3], the next groups being decoded meanwhile."""
    with ThreadPoolExecutor(num_threads) as decoders:
        waiting = ([decoders.submit(decode, image, detector) for image in group] for group in groups)
        coming = deque(islice(waiting, GROUPS_AHEAD))
        while coming:
            images = [future.result() for future in coming.popleft()]
            coming.extend(islice(waiting, 1))
            yield images


def decode(image: PackedImage, detector: Detector) -> tuple[SeenImage, np.ndarray | None]:
    """RGB pixels [h, w, 3] of an image as one sees it, resized as the detector takes them."""
    try:
        with Image.open(io.BytesIO(image.data), formats=FORMATS) as opened:
            pixels = np.asarray(as_seen(opened).convert("RGB"))
    except Exception as error:  # a decoder raises whatever a stranger's bytes make it trip over
        return SeenImage(image.place, image.key, None, Objection("undecodable", decoding_detail(error))), None
    height, width = pixels.shape[:2]
    if not detector.sees((height, width)):
        return SeenImage(image.place, image.key, None, Objection("too_thin", f"{width} x {height}")), None
    return SeenImage(image.place, image.key, (height, width)), detector.resize(pixels)


def placed(images: list[np.ndarray], canvas: Size, *, num_places: int) -> np.ndarray:
    """[B, h, w, 3] of images [h or less, w or less, 3], each at the upper left of its place; 0 where there is none."""
    batch = np.zeros((num_places, *canvas, 3), np.uint8)
    for place, pixels in zip(batch, images, strict=False):
        place[: pixels.shape[0], : pixels.shape[1]] = pixels
    return batch


def on_device(pixels: np.ndarray, stream: torch.cuda.Stream | None) -> tuple[Tensor, torch.cuda.Event | None]:
    """[B, h, w, 3] as [B, 3, h, w], where the copy to a GPU goes on while the caller does, until the event."""
    batch = torch.from_numpy(pixels)
    if stream is None:
        return batch.permute(0, 3, 1, 2), None
    with torch.cuda.stream(stream):
        copy = batch.pin_memory().to(stream.device, non_blocking=True)
        return copy.permute(0, 3, 1, 2), stream.record_event()


def in_background(items: Iterator[Item], *, ahead: int) -> Iterator[Item]:
    """The same items, so many of which a thread makes before they are asked for."""
    with ThreadPoolExecutor(1) as thread:
        coming = deque(thread.submit(next, items, None) for _ in range(ahead))
        while (item := coming.popleft().result()) is not None:
            coming.append(thread.submit(next, items, None))
            yield item


def in_parts(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items, the last one shorter."""
    remaining = iter(items)
    while part := list(islice(remaining, size)):
        yield part
