"""64 bits that stay nearly the same when a picture is re-encoded, slightly resized or made brighter."""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

HASH_BITS = 64
SIDE = 32  # pixels to which a picture is shrunk
NUM_FREQUENCIES = 9


def perceptual_hash(grey: Image.Image) -> int:
    """The signs, against their median, of the 64 lowest frequencies of a picture.

    Args:
        grey: mode L.
    Source: the DCT hash of Zauner 2010 (pHash), without the mean brightness.
    """
    pixels = np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float64)
    transform = cosine_transform()
    rows, columns = lowest_frequencies()
    coefficients = (transform @ pixels @ transform.T)[rows, columns]
    return int(np.packbits(coefficients > np.median(coefficients)).view(">u8")[0])


def cosine_transform() -> NDArray[np.float64]:
    """[NUM_FREQUENCIES, SIDE] the first rows of the orthonormal DCT-II."""
    frequency = np.arange(NUM_FREQUENCIES)[:, None]
    position = np.arange(SIDE)[None] + 0.5
    transform = np.cos(math.pi / SIDE * frequency * position) * math.sqrt(2 / SIDE)
    transform[0] /= math.sqrt(2)
    return transform


def lowest_frequencies() -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """([64], [64]) the vertical and horizontal frequencies nearest to the mean, which is left out."""
    rows, columns = np.divmod(np.arange(NUM_FREQUENCIES**2), NUM_FREQUENCIES)
    nearest = np.argsort(rows**2 + columns**2, kind="stable")[1 : HASH_BITS + 1]
    return rows[nearest], columns[nearest]


def hash_distance(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Bits in which hashes differ, 0 to 64."""
    return np.bitwise_count(first ^ second)
