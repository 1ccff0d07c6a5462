"""Pairs of 64-bit hashes that differ in few bits, without comparing all of them.

N: hashes
"""

import math
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from extract.images.perceptual_hash import HASH_BITS, hash_distance


def near_pairs(hashes: NDArray[np.uint64], *, max_distance: int) -> tuple[NDArray[np.intp], NDArray[np.uint8]]:
    """Index pairs i < j of hashes that differ in at most `max_distance` bits, and their distances.

    The bits are cut into `max_distance` + k bands. Two near hashes agree in at least k of them, so it is enough to
    compare, for each choice of k bands, those that agree there. Memory: some 50 bytes a hash and 32 a pair found.

    Args:
        hashes: [N], all different.
    Returns: [P, 2] sorted by i, then j; [P] distances.
    Source: the pigeonhole idea of Manku et al. 2007, section 3.
    """
    found = [np.empty((0, 2), dtype=np.intp)]
    masks = band_masks(max_distance=max_distance, num_hashes=len(hashes))
    for mask in tqdm(masks, desc="comparing hashes", disable=len(hashes) < 100_000):
        found.append(pairs_that_agree(hashes, mask=mask, max_distance=max_distance))
    pairs = np.unique(np.concatenate(found), axis=0)
    return pairs, hash_distance(hashes[pairs[:, 0]], hashes[pairs[:, 1]])


def band_masks(*, max_distance: int, num_hashes: int) -> list[np.uint64]:
    """The choices of bands, as many bands at a time as make the fewest comparisons expected of random hashes."""

    def comparisons(chosen: int) -> float:
        agreeing = num_hashes / 2 ** (HASH_BITS * chosen / (max_distance + chosen))
        return math.comb(max_distance + chosen, chosen) * num_hashes * (50 + agreeing)  # 50: what sorting costs

    chosen = min(range(1, 5), key=comparisons)
    edges = np.linspace(0, HASH_BITS, max_distance + chosen + 1).astype(int)
    bands = [(1 << int(end)) - (1 << int(start)) for start, end in pairwise(edges)]
    return [np.uint64(sum(choice)) for choice in combinations(bands, chosen)]


def pairs_that_agree(hashes: NDArray[np.uint64], *, mask: np.uint64, max_distance: int) -> NDArray[np.intp]:
    """[P, 2] index pairs i < j of near hashes whose bits in `mask` are equal."""
    order = np.argsort(hashes & mask, kind="stable")
    ordered = hashes[order]
    found = [np.empty((0, 2), dtype=np.intp)]
    start = np.arange(len(ordered))  # places whose run of equal bits goes on for `offset` more
    offset = 1
    while len(start := start[start < len(ordered) - offset]):
        difference = ordered[start] ^ ordered[start + offset]
        agree = (difference & mask) == 0
        near = start[agree & (np.bitwise_count(difference) <= max_distance)]
        if len(near):
            found.append(np.sort(np.stack([order[near], order[near + offset]], axis=1), axis=1))
        start = start[agree]
        offset += 1
    return np.concatenate(found)
