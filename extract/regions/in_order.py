"""The regions of every image of a tar, in its order, from a detector that takes them in another.

Four stages, a thread each, so that the detector waits for none: decode and copy; detect; choose and copy back; and
what the caller does with the regions.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from extract.detection.detector import Detector, Proposals, Size
from extract.regions.batches import Batch, SeenImage, image_batches, in_background
from extract.regions.record import Regions

BATCHES_AHEAD = 2  # between two stages


@dataclass(frozen=True, eq=False)
class Found:
    """What the detector says of a batch."""

    batch: Batch
    proposals: list[Proposals]  # of its images
    done: torch.cuda.Event | None  # after which they are there


def regions_in_order(
    tar: Path,
    *,
    detector: Detector,
    batch_size: int,
    num_threads: int,
    look: Callable[[Batch], list[Proposals]],
    read: Callable[[list[Proposals], list[Size]], list[Regions]],
    is_wanted: Callable[[SeenImage], bool] = lambda image: True,
) -> Iterator[tuple[SeenImage, Regions | None]]:
    """Each image of a tar with its regions; null: it does not decode, or is not wanted.

    Args:
        look: asks the detector about the images of a batch.
        read: makes regions of proposals and of the sizes of their images.
    Raises: ValueError if a batch does not fit the memory of the GPU.
    """
    batches = image_batches(tar, detector=detector, batch_size=batch_size, num_threads=num_threads, is_wanted=is_wanted)
    found = detected(in_background(batches, ahead=BATCHES_AHEAD), look, batch_size=batch_size)
    regions = copied_back(in_background(found, ahead=BATCHES_AHEAD), read, detector.device)
    waiting: dict[int, tuple[SeenImage, Regions | None]] = {}
    num_done = 0
    for of_batch in in_background(regions, ahead=BATCHES_AHEAD):
        waiting |= {image.place: (image, one) for image, one in of_batch}
        while num_done in waiting:
            yield waiting.pop(num_done)
            num_done += 1


def detected(batches: Iterator[Batch], look: Callable[[Batch], list[Proposals]], *, batch_size: int) -> Iterator[Found]:
    """The proposals of each batch, as soon as the GPU has all that it needs to make them."""
    for batch in batches:
        if not batch.images:
            yield Found(batch, [], None)
            continue
        if batch.copied is not None:
            stream = torch.cuda.current_stream(batch.pixels.device)
            stream.wait_event(batch.copied)
            batch.pixels.record_stream(stream)
        try:
            proposals = look(batch)
        except torch.OutOfMemoryError as error:
            height, width = batch.pixels.shape[2:]
            raise ValueError(
                f"the GPU's memory is too small for {len(batch.pixels)} images of {width} x {height}; halve "
                f"detector.batch_size, which is {batch_size}"
            ) from error
        yield Found(batch, proposals, None if batch.copied is None else stream.record_event())


def copied_back(
    found: Iterator[Found], read: Callable[[list[Proposals], list[Size]], list[Regions]], device: torch.device
) -> Iterator[list[tuple[SeenImage, Regions | None]]]:
    """The images of each batch with their regions, read on a stream of its own beside the next batch's work."""
    reading = torch.cuda.Stream(device) if device.type == "cuda" else None
    for one in found:
        with torch.cuda.stream(reading):
            if reading is not None and one.done is not None:
                reading.wait_event(one.done)
            regions = read(one.proposals, one.batch.sizes) if one.proposals else []
        pairs: list[tuple[SeenImage, Regions | None]] = list(zip(one.batch.images, regions, strict=True))
        yield pairs + [(image, None) for image in one.batch.left_out]
