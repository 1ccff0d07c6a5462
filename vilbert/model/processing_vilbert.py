"""Text and detected regions in, model inputs out.

Dimension key:
    B: batch   T: text tokens   N: detected regions   R: regions with the whole image in front   D: feature size
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import BatchFeature, PreTrainedTokenizerBase, ProcessorMixin

from extract.regions.store import Regions
from vilbert.model.configuration_vilbert import named_for_trust

OVERSHOOT = 1.0  # pixels that a detector may draw beyond the image; more is a mistake of units
WHOLE_IMAGE = (0.0, 0.0, 1.0, 1.0, 1.0)  # as a box among others


class VilbertProcessor(ProcessorMixin):
    """A tokenizer, and how regions become inputs; saved and loaded beside a model.

    Args:
        tokenizer: any of HF's.
        has_whole_image: put the whole image, as the mean of the regions, in front; only MMF's models go without.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, has_whole_image: bool = True):
        self.has_whole_image = has_whole_image
        super().__init__(tokenizer)

    def __call__(
        self,
        text: Sequence[str],
        regions: Sequence[Regions],
        *,
        text_pair: Sequence[str] | None = None,
        max_tokens: int | None = None,
    ) -> BatchFeature:
        """Pairs of text and image, padded to the longest: all that the models take.

        Args:
            text: B texts; with `text_pair`, [CLS] text [SEP] text pair [SEP].
            regions: B images.
            max_tokens: longer texts are cut; None: as long as the tokenizer says its model may take.
        Raises: ValueError for lists of different lengths, an empty text or image, pictures where regions belong,
            features that are no numbers, boxes that are not in the image.
        """
        for name, given in (("text", text), ("regions", regions)):
            if not isinstance(given, list | tuple):
                kind = "a string" if isinstance(given, str) else f"of type {type(given).__name__}"
                raise ValueError(f"{name} is {kind}, expected a list, of as many as the other")
        if len(text) != len(regions) or not text:
            raise ValueError(
                f"got {len(text)} texts and {len(regions)} images, expected lists of equal length, at least 1"
            )
        for row, one in enumerate(text):
            if isinstance(one, str) and not one.strip() and not text_pair:
                raise ValueError(f"text {row} is '{one}', expected words; encode_text and encode_regions do without")
        return BatchFeature(
            self.encode_text(text, text_pair=text_pair, max_tokens=max_tokens) | self.encode_regions(regions)
        )

    def encode_text(
        self, text: Sequence[str], *, text_pair: Sequence[str] | None = None, max_tokens: int | None = None
    ) -> dict[str, Tensor]:
        """input_ids, token_type_ids and attention_mask, int64 [B, T]."""
        for row, one in enumerate([*text, *(text_pair or ())]):
            if not isinstance(one, str):
                raise ValueError(f"text {row % len(text)} is {one!r}, expected a string")
        if self.tokenizer.pad_token is None:
            raise ValueError(f"{type(self.tokenizer).__name__} has no pad token; set tokenizer.pad_token first")
        encoded = self.tokenizer(
            list(text),
            list(text_pair) if text_pair is not None else None,
            padding=True,
            padding_side="right",
            truncation=max_tokens is not None or self.tokenizer.model_max_length < 1e9,
            max_length=max_tokens,
            return_tensors="pt",
            return_attention_mask=True,
            return_token_type_ids=True,  # many leave them out unless asked
        )
        ids, mask = encoded["input_ids"].long(), encoded["attention_mask"].long()
        for row, length in enumerate(mask.sum(dim=-1).tolist()):
            if length == 0:
                raise ValueError(f"text {row} is '{text[row]}', which has no token, expected at least one")
        return {"input_ids": ids, "token_type_ids": encoded["token_type_ids"].long(), "attention_mask": mask}

    def encode_regions(self, regions: Sequence[Regions]) -> dict[str, Tensor]:
        """visual_features float32 [B, R, D], visual_boxes float32 [B, R, 5] and visual_attention_mask int64 [B, R]."""
        for row, image in enumerate(regions):
            demand_regions(image, row)
        features = [encode_features(image.features) for image in regions]
        widths = sorted({image.shape[1] for image in features})
        if len(widths) > 1:
            raise ValueError(f"features are {' and '.join(map(str, widths))} wide, expected one width in a batch")
        boxes = [encode_boxes(image.boxes, image.image_size) for image in regions]
        skipped = 0 if self.has_whole_image else 1
        longest = max(len(image) for image in features) - skipped
        visual_features = torch.zeros(len(regions), longest, features[0].shape[1])
        visual_boxes = torch.zeros(len(regions), longest, 5)
        mask = torch.zeros(len(regions), longest, dtype=torch.long)
        for row, (image_features, image_boxes) in enumerate(zip(features, boxes, strict=True)):
            count = len(image_features) - skipped
            visual_features[row, :count] = torch.from_numpy(image_features[skipped:])
            visual_boxes[row, :count] = torch.from_numpy(image_boxes[skipped:])
            mask[row, :count] = 1
        return {"visual_features": visual_features, "visual_boxes": visual_boxes, "visual_attention_mask": mask}

    def save_pretrained(self, save_directory: str | os.PathLike, push_to_hub: bool = False, **kwargs: Any) -> Any:
        """As a configuration is, with the module that finds the package."""
        self.auto_map = {"AutoProcessor": named_for_trust(self, save_directory)}
        return super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "AutoProcessor") -> None:
        """Nothing, as of a configuration."""

    @property
    def model_input_names(self) -> list[str]:
        text = ["input_ids", "token_type_ids", "attention_mask"]
        return [*text, "visual_features", "visual_boxes", "visual_attention_mask"]


def demand_regions(image: Any, row: int) -> None:
    """Raises: ValueError for what is no Regions, or holds no numbers, or fractions where pixels belong."""
    if not isinstance(image, Regions):
        raise ValueError(
            f"image {row} is of type {type(image).__name__}, expected Regions: vilbert.own_regions makes them of "
            "features and boxes, the find of vilbert.pipeline of a picture"
        )
    if not np.isfinite(image.features).all():
        raise ValueError(f"the features of image {row} hold NaN or infinity, expected numbers")
    demand_pixels(image.boxes, image.image_size)


def demand_pixels(boxes: np.ndarray, image_size: tuple[int, int]) -> None:
    """Raises: ValueError for boxes that end within the first pixel, all of them, which are fractions."""
    if len(boxes) and np.max(boxes) <= 1 < min(image_size):
        raise ValueError(
            f"the boxes go to {np.max(boxes):g} in an image of {image_size[0]} x {image_size[1]}, expected pixels, no "
            "fractions: multiply them by width and height"
        )


def encode_features(features: np.ndarray) -> np.ndarray:
    """Features [N, D] with the whole image, as their mean, in front: float32 [N + 1, D].

    Raises: ValueError without a region.
    """
    if not len(features):
        raise ValueError("an image has 0 regions, expected at least 1 to make the whole image of")
    features = features.astype(np.float32)
    return np.concatenate([features.mean(axis=0, keepdims=True), features])


def encode_boxes(boxes: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Boxes of an image as the model reads them, float32 [N + 1, 5] in [0, 1]; the first, 0 0 1 1 1, is all of it.

    Args, raises: as `relative_boxes`.
    """
    return np.concatenate([np.array([WHOLE_IMAGE], np.float32), relative_boxes(boxes, image_size)])


def relative_boxes(boxes: np.ndarray, image_size: np.ndarray | tuple[int, int]) -> np.ndarray:
    """Corners as fractions of the image, then the share of it that a box covers: float32 [N, 5] in [0, 1].

    Args:
        boxes: [N, 4] x1 y1 x2 y2, pixels; what a detector drew up to a pixel beyond the image is cut off.
        image_size: width, height, pixels; [N, 2] where the boxes are of several images.
    Raises: ValueError for boxes that are not in the image.
    Source: Lu et al. 2019, section 3.1.
    """
    size = np.tile(np.asarray(image_size, np.float64), 2)
    is_good = ((boxes >= -OVERSHOOT) & (boxes <= size + OVERSHOOT)).all(axis=1)
    is_good &= (boxes[:, 0] <= boxes[:, 2]) & (boxes[:, 1] <= boxes[:, 3])
    if not is_good.all():
        bad = int(np.flatnonzero(~is_good)[0])
        box = ", ".join(f"{value:g}" for value in boxes[bad])
        width, height = np.broadcast_to(size, boxes.shape)[bad, :2]
        which = f"box {bad}" if size.ndim == 1 else "a box"  # of several images, it is nobody's number
        raise ValueError(
            f"{which} is ({box}), expected x1 <= x2 and y1 <= y2, in pixels of an image of {width:g} x {height:g}"
        )
    corners = np.clip(boxes, 0, size) / size
    areas = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
    return np.concatenate([corners, areas[:, None]], axis=1).astype(np.float32)
