"""What a dual encoder takes for right and is wrong: the nearest images of each caption, the nearest captions of each
image.

Source: Xiong et al. 2021 (ANCE), https://arxiv.org/abs/2007.00808, which mines what learns by its own index.

Dimension key:
    C: captions   I: images   E: width of an embedding   K: nearest that are wrong, the nearest first
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vilbert.search.arrays import read_arrays, write_arrays
from vilbert.search.captions import Captions

ROWS_AT_ONCE = 1_024


class Mined(NamedTuple):
    """Hard negatives."""

    images: np.ndarray  # int32 [C, K]
    captions: np.ndarray  # int32 [I, K]


def mine(texts: np.ndarray, images: np.ndarray, captions: Captions, *, num_mined: int) -> Mined:
    """The nearest by the embeddings [C, E] and [I, E], whatever is right, or says the same as what is, left out.

    Raises: ValueError if nothing is wrong.
    """
    return Mined(
        nearest_wrong(texts, images, captions.right_images, num_mined=num_mined),
        nearest_wrong(images, texts, captions.right_captions, num_mined=num_mined),
    )


def nearest_wrong(
    queries: np.ndarray, candidates: np.ndarray, right: Sequence[np.ndarray], *, num_mined: int
) -> np.ndarray:
    """int32 [queries, K], as many for each: `num_mined`, or as many as are wrong for every one."""
    count = min(num_mined, len(candidates) - max(map(len, right)))
    if count < 1:
        raise ValueError(
            f"all {len(candidates)} candidates are right for one of the queries, expected some to be wrong"
        )
    nearest = np.empty((len(queries), count), np.int32)
    for start in range(0, len(queries), ROWS_AT_ONCE):
        part = queries[start : start + ROWS_AT_ONCE]
        products = part @ candidates.T
        for row in range(len(part)):
            products[row, right[start + row]] = -math.inf
        some = np.argpartition(-products, count - 1, axis=1)[:, :count]
        order = np.argsort(-np.take_along_axis(products, some, axis=1), axis=1, kind="stable")
        nearest[start : start + len(part)] = np.take_along_axis(some, order, axis=1)
    return nearest


def mined_path(checkpoints: Path, epoch: int) -> Path:
    """Where what an epoch learns from lies, in the folder of its training."""
    return checkpoints / f"mined-{epoch}.npz"


def write_mined(path: Path, mined: Mined) -> None:
    write_arrays(path, mined._asdict())


def read_mined(path: Path) -> Mined:
    """Raises: FileNotFoundError; ValueError for a file that is damaged."""
    return Mined(**read_arrays(path))
