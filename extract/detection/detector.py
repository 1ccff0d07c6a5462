"""The seam to the detectors: images in; boxes, class distributions and pooled features out.

B images of a batch, P proposals of an image, C classes (background first), A attributes, D feature size.
"""

from collections.abc import Iterator, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from pydantic import JsonValue
from torch import Tensor

Size = tuple[int, int]  # height, width in pixels


@dataclass(frozen=True, kw_only=True, eq=False)
class Proposals:
    """Where in one image something may be, the likeliest first; tensors on the detector's device."""

    boxes: Tensor  # [P, 4] float32, x1 y1 x2 y2 in pixels of the image that came in
    class_probs: Tensor  # [P, C] float32, each row sums to 1
    features: Tensor  # [P, D] pooled from these very boxes
    attribute_probs: Tensor | None = None  # [P, A] float32; what is left of 1 says that it has none of them


class Detector(Protocol):
    """A trained detector, ready to run."""

    classes: tuple[str, ...]  # names, background first
    attributes: tuple[str, ...]  # names; (): it tells none
    feature_size: int
    box_source: Literal["proposal", "regressed", "repooled", "given"]
    identity: dict[str, JsonValue]  # what tells it from other detectors, sha256 of the weights included
    device: torch.device
    pads: bool  # images smaller than their batch lie at its upper left, and it may have more places than images

    def sees(self, size: Size) -> bool:
        """Whether there is a pixel left of an image of this size, both ways, when the model looks at it."""

    def canvas_size(self, size: Size) -> Size:
        """That of the batches for images of this size: at which the model looks at them or, if it pads, more."""

    def resize(self, pixels: np.ndarray) -> np.ndarray:
        """An image [H, W, 3] uint8 RGB at the size at which the model looks at it; in threads, before it does."""

    def detect(self, images: Tensor, sizes: Sequence[Size] | None = None) -> list[Proposals]:
        """What is in each of `images`, [B, 3, H, W] uint8 RGB, on any device.

        Args:
            sizes: of the images before they were resized. Null: they come as they are, all of one size.
        """

    def pool(self, images: Tensor, boxes: Sequence[Tensor], sizes: Sequence[Size] | None = None) -> list[Proposals]:
        """The same for boxes that are given, [P, 4] x1 y1 x2 y2 in pixels of each image, in their order.

        Raises: ValueError if there are not as many sets of boxes as images.
        """


def check_given(images: Sized, boxes: Sequence[Tensor]) -> None:
    """Raises: ValueError if there are not as many sets of boxes as images."""
    if len(boxes) != len(images):
        raise ValueError(f"{len(boxes)} sets of boxes for {len(images)} images; give one set an image")


def tf32_of(dtype: torch.dtype) -> bool:
    """Whether what stays float32 in a detector of this type may be multiplied as TF32, which is finer than both halves.

    Float32 itself means float32.
    """
    return dtype != torch.float32


@contextmanager
def multiplying(*, tf32: bool) -> Iterator[None]:
    """Within it, products and convolutions of float32 on a GPU are TF32, or are not, whatever PyTorch's default is."""
    backends = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)  # type: ignore[attr-defined]  # torch's stubs
    before = [backend.fp32_precision for backend in backends]
    for backend in backends:
        backend.fp32_precision = "tf32" if tf32 else "ieee"
    try:
        yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision
