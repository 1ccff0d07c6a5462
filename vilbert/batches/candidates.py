"""Among which features a masked region has to find its own, where the target is contrastive.

M masked regions of an image, N regions of it, K candidates, D feature size. They are drawn where the example is made,
so a loss does not depend on what else goes through a device with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from extract.regions.store import Regions

NUM_ACROSS, NUM_WITHIN = 90, 38  # negatives from other images, and from the same
NUM_CANDIDATES = 1 + NUM_ACROSS + NUM_WITHIN


@dataclass(frozen=True)
class Candidates:
    """Of each masked region of an image its own feature, then the negatives."""

    images: Sequence[Regions]  # the image, then others
    rows: np.ndarray  # [M, K] int64, of the regions of all these images, one image after another

    def features(self) -> np.ndarray:
        """float16 [M, K, D], as stored."""
        return np.concatenate([image.features for image in self.images])[self.rows]


def draw_candidates(
    image: Regions, others: Sequence[Regions], *, is_masked: np.ndarray, generator: np.random.Generator
) -> Candidates:
    """Negatives with replacement; where the image has no other region, or the others have none, all are of the rest.

    Args:
        is_masked: [N] bool.
    Raises: ValueError if there is no other region at all.
    Source: vilbert-multi-task, the code of Lu et al. 2020: 128 negatives, 70 % of them from the other images of the
        batch on the device, 30 % from the same.
    """
    of_others = np.arange(len(image), len(image) + sum(map(len, others)))
    rows = np.empty((int(is_masked.sum()), NUM_CANDIDATES), np.int64)
    for row, own in zip(rows, np.flatnonzero(is_masked), strict=True):
        rest = np.delete(np.arange(len(image)), own)
        across, within = (of_others if len(of_others) else rest), (rest if len(rest) else of_others)
        row[0] = own
        row[1 : 1 + NUM_ACROSS] = generator.choice(across, NUM_ACROSS)
        row[1 + NUM_ACROSS :] = generator.choice(within, NUM_WITHIN)
    return Candidates([image, *others], rows)
