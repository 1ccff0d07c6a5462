"""Texts and images of unequal length as one batch.

Dimension key:
    B: batch   T: tokens   R: regions (the first is the whole image)   N: regions without it   D: feature size
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from extract.regions.store import Regions
from vilbert.batches.masking import RegionMask, write_visible
from vilbert.model.inputs import Batch
from vilbert.model.processing_vilbert import WHOLE_IMAGE, relative_boxes

TOKENS_APART, REGIONS_APART = 8, 12  # widths that layers are compiled for


@dataclass(frozen=True)
class Tokens:
    """A text as ids, with the special tokens."""

    ids: np.ndarray  # [T]
    types: np.ndarray  # [T], which of two texts a token is of


@dataclass(frozen=True)
class Widths:
    """Those that a batch may have, in ascending order; a batch that fits in none has its own."""

    tokens: tuple[int, ...] = ()
    regions: tuple[int, ...] = ()  # with the whole image


ANY_WIDTH = Widths()


def few_widths(*, max_tokens: int, max_regions: int) -> Widths:
    """For layers that are compiled once for each width.

    Args:
        max_tokens, max_regions: of an example; the whole image is not counted.
    """
    return Widths(
        tokens=(*range(TOKENS_APART, max_tokens, TOKENS_APART), max_tokens),
        regions=(*range(1 + REGIONS_APART, 1 + max_regions, REGIONS_APART), 1 + max_regions),
    )


def padded_width(lengths: Iterable[int], widths: tuple[int, ...]) -> int:
    """The least of the widths that holds the longest row."""
    longest = max(lengths)
    return next((width for width in widths if width >= longest), longest)


def pad_texts(texts: Sequence[Tokens], *, pad_token_id: int, widths: Widths = ANY_WIDTH) -> Batch:
    """input_ids, token_type_ids and attention_mask, int64 [B, T]."""
    shape = (len(texts), padded_width((len(text.ids) for text in texts), widths.tokens))
    ids, types, mask = np.full(shape, pad_token_id, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for row, text in enumerate(texts):
        length = len(text.ids)
        ids[row, :length], types[row, :length], mask[row, :length] = text.ids, text.types, 1
    return {
        "input_ids": torch.from_numpy(ids),
        "token_type_ids": torch.from_numpy(types),
        "attention_mask": torch.from_numpy(mask),
    }


def pad_images(
    images: Sequence[Regions],
    masks: Sequence[RegionMask] | None = None,
    *,
    has_whole_image: bool = True,
    widths: Widths = ANY_WIDTH,
) -> Batch:
    """visual_features float16 [B, R, D] as stored, visual_boxes float32 [B, R, 5], visual_attention_mask int64 [B, R].

    Each feature is copied once, from the store into the batch.

    Args:
        masks: what is hidden of each image; None: nothing is.
        has_whole_image: of the model's processor; False: region 0 is the first one detected.
    """
    num_regions = padded_width((1 + len(image) for image in images), widths.regions)
    features = np.zeros((len(images), num_regions, images[0].features.shape[1]), np.float16)
    boxes = np.zeros((len(images), num_regions, 5), np.float32)
    mask = np.zeros((len(images), num_regions), np.int64)
    for row, image in enumerate(images):
        count = 1 + len(image)
        write_visible(image.features, masks[row] if masks else nothing_hidden(image), features[row, :count])
        mask[row, :count] = 1
    sizes = np.repeat([image.image_size for image in images], [len(image) for image in images], axis=0)
    boxes[:, 0] = WHOLE_IMAGE
    boxes[:, 1:][mask[:, 1:] == 1] = relative_boxes(np.concatenate([image.boxes for image in images]), sizes)
    first = 0 if has_whole_image else 1
    return {
        "visual_features": torch.from_numpy(features[:, first:]),
        "visual_boxes": torch.from_numpy(boxes[:, first:]),
        "visual_attention_mask": torch.from_numpy(mask[:, first:]),
    }


def together(*parts: Regions) -> Regions:
    """The regions of one image from several stores, one after another."""
    return Regions(
        boxes=np.concatenate([part.boxes for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
        features=np.concatenate([part.features for part in parts]),
        class_probs=np.concatenate([part.class_probs for part in parts]),
        image_size=parts[0].image_size,
        num_confident=sum(part.num_confident for part in parts),
        is_short=False,
    )


def nothing_hidden(image: Regions) -> RegionMask:
    nothing = np.zeros(len(image), bool)
    return RegionMask(is_masked=nothing, is_hidden=nothing)
