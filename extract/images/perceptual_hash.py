"""64 bits that stay nearly the same when a picture is re-encoded, slightly resized or made brighter."""

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

HASH_BITS = 64
SIDE = 32  # pixels to which a picture is shrunk
NUM_FREQUENCIES = 8  # both ways


def perceptual_hash(grey: Image.Image) -> int:
    """Which of the 64 lowest frequencies of a picture are above their median.

    Constant rows and columns of the transform stay out: with them twice as many pairs of different pictures that lie on
    like backgrounds come near each other.

    Args:
        grey: mode L.
    Source: the DCT hash of Zauner 2010 (pHash).
    """
    pixels = np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float64)
    coefficients = cosines() @ pixels @ cosines().T
    return int(np.packbits(coefficients > np.median(coefficients)).view(">u8")[0])


@cache
def cosines() -> NDArray[np.float64]:
    """[NUM_FREQUENCIES, SIDE] the rows 1 to 8 of the DCT-II, but for a factor."""
    frequency = np.arange(1, NUM_FREQUENCIES + 1)[:, None]
    position = np.arange(SIDE)[None] + 0.5
    return np.cos(math.pi / SIDE * frequency * position)


def hash_distance(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Bits in which hashes differ, 0 to 64."""
    return np.bitwise_count(first ^ second)
