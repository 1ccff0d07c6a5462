"""Which tokens and regions pretraining hides, and what the model then sees.

T tokens, N regions without the whole image, D feature size. Every draw comes from a generator that is made of
(seed, epoch, example) alone, so masks do not depend on workers, devices or a resume.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import torch

from extract.overlap import overlaps

IGNORED = -100  # label of what costs nothing, as in HF


@dataclass(frozen=True)
class MaskedText:
    """A caption as the model sees it, and what it has to find."""

    input_ids: np.ndarray  # [T] int64
    labels: np.ndarray  # [T] int64, IGNORED where nothing is asked


@dataclass(frozen=True)
class RegionMask:
    """Which of an image's regions, without the whole image, are asked for and which are not shown."""

    is_masked: np.ndarray  # [N] bool, the model has to find these
    is_hidden: np.ndarray  # [N] bool, the feature of these is zero


def example_generator(seed: int, epoch: int, example: int) -> np.random.Generator:
    """The source of every random choice about one example in one epoch."""
    return np.random.Generator(np.random.Philox(key=[(seed << 32) + epoch, example]))


def mask_tokens(
    input_ids: np.ndarray,
    generator: np.random.Generator,
    *,
    probabilities: np.ndarray,
    mask_token_id: int,
    vocab_size: int,
) -> MaskedText:
    """Hide tokens: 80 % become [MASK], 10 % another token, 10 % stay.

    Args:
        input_ids: [T], with [CLS] and [SEP].
        probabilities: [V], of each token of the vocabulary to be chosen.
    Source: Devlin et al. 2019, section 3.1; Lu et al. 2019, section 3.2.
    """
    ids = input_ids.astype(np.int64)
    draws = generator.random((2, len(ids)))
    replacements = generator.integers(0, vocab_size, len(ids))
    is_chosen = draws[0] < probabilities[ids]
    labels = np.where(is_chosen, ids, IGNORED)
    ids = np.where(is_chosen & (draws[1] < 0.8), mask_token_id, ids)
    ids = np.where(is_chosen & (draws[1] >= 0.8) & (draws[1] < 0.9), replacements, ids)
    return MaskedText(input_ids=ids, labels=labels)


def mask_probabilities(
    vocab_size: int,
    *,
    probability: float,
    special_ids: Collection[int],
    contrast_ids: Collection[int] = (),
    contrast_probability: float | None = None,
) -> np.ndarray:
    """How often each token of the vocabulary is masked: float64 [V], 0 for special tokens.

    Args:
        contrast_ids: tokens that have a probability of their own, unless that is None.
    """
    probabilities = np.full(vocab_size, probability)
    if contrast_probability is not None:
        probabilities[list(contrast_ids)] = contrast_probability
    probabilities[list(special_ids)] = 0
    return probabilities


def mask_regions(
    boxes: np.ndarray, generator: np.random.Generator, *, probability: float, max_overlap: float | None
) -> RegionMask:
    """Mask regions: 90 % of them are hidden, and with them whatever overlaps them, or it would show them.

    Args:
        boxes: [N, 4], x1 y1 x2 y2, any unit, without the whole image.
        max_overlap: intersection over union above which a neighbour is hidden as well; None: none is.
    Source: Lu et al. 2019, section 3.2; Lu et al. 2020 (12-in-1), section 3.2, for the overlap. The original code
        leaves overlapping features visible: a leak.
    """
    draws = generator.random((2, len(boxes)))
    is_masked = draws[0] < probability
    is_hidden = is_masked & (draws[1] < 0.9)
    if max_overlap is not None and is_masked.any():
        is_hidden |= (overlaps(boxes, boxes[is_masked]) > max_overlap).any(axis=1) & ~is_masked
    return RegionMask(is_masked=is_masked, is_hidden=is_hidden)


def write_visible(features: np.ndarray, mask: RegionMask, out: np.ndarray) -> None:
    """Fill `out` [N + 1, D] with the whole image, as the mean of what is neither masked nor hidden, and the features
    [N, D] as the model sees them.

    Source: Lu et al. 2019, section 3.2. The original's mean has masked regions in it that are not hidden: a leak.
    """
    out[1:] = features
    left = features[~(mask.is_masked | mask.is_hidden)]
    out[0] = in_float32(left).sum(axis=0) / np.float32(len(left)) if len(left) else 0
    out[1:][mask.is_hidden] = 0


def in_float32(halves: np.ndarray) -> np.ndarray:
    """The same numbers, by torch, which makes float32 of float16 some twenty times as fast as numpy.

    Args:
        halves: float16 or float32, of memory that may be written to.
    """
    return torch.from_numpy(halves).float().numpy()
