"""The seam to the detectors: images in; boxes, class distributions and pooled features out.

B images of one size, P proposals of an image, C classes (background first), A attributes, D feature size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from pydantic import JsonValue
from torch import Tensor


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

    def detect(self, images: Tensor) -> list[Proposals]:
        """What is in each of `images`, [B, 3, H, W] uint8 RGB, on any device."""

    def pool(self, images: Tensor, boxes: Sequence[Tensor]) -> list[Proposals]:
        """The same for boxes that are given, [P, 4] x1 y1 x2 y2 in pixels of each image, in their order.

        Raises: ValueError if there are not as many sets of boxes as images.
        """


def check_given(images: Tensor, boxes: Sequence[Tensor]) -> None:
    """Raises: ValueError if there are not as many sets of boxes as images."""
    if len(boxes) != len(images):
        raise ValueError(f"{len(boxes)} sets of boxes for {len(images)} images; give one set an image")


def best_device() -> torch.device:
    """The GPU that the job was given, or else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
