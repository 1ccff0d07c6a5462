import numpy as np
import pytest

from extract.images.near_pairs import band_masks, near_pairs

BITS = np.uint64(2) ** np.arange(64, dtype=np.uint64)


def planted_hashes(num_hashes: int, *, max_distance: int) -> np.ndarray:
    """Random hashes, of which a third have a neighbour at 1 to max_distance + 2 bits."""
    rng = np.random.default_rng(num_hashes)
    hashes = rng.integers(0, 2**64, size=num_hashes, dtype=np.uint64)
    for index in range(0, num_hashes - 1, 3):
        flips = rng.permutation(64)[: rng.integers(1, max_distance + 3)]
        hashes[index + 1] = hashes[index] ^ BITS[flips].sum()
    return rng.permutation(hashes)


@pytest.mark.parametrize("max_distance", [0, 1, 4, 7, 16])
def test_the_pairs_are_those_that_comparing_all_finds(max_distance):
    hashes = planted_hashes(211, max_distance=max_distance)
    distance = np.bitwise_count(hashes[:, None] ^ hashes[None])
    expected = np.argwhere(np.triu(distance <= max_distance, k=1))
    pairs, distances = near_pairs(hashes, max_distance=max_distance)
    assert pairs.tolist() == expected.tolist()
    assert distances.tolist() == distance[expected[:, 0], expected[:, 1]].tolist()


def test_hashes_of_few_different_bits_are_compared_too():
    """All agree in most bands, the worst case."""
    hashes = np.arange(173, dtype=np.uint64)
    distance = np.bitwise_count(hashes[:, None] ^ hashes[None])
    pairs, _ = near_pairs(hashes, max_distance=3)
    assert pairs.tolist() == np.argwhere(np.triu(distance <= 3, k=1)).tolist()


@pytest.mark.parametrize("num_hashes", [0, 1])
def test_fewer_than_two_hashes_have_no_pairs(num_hashes):
    pairs, distances = near_pairs(np.zeros(num_hashes, dtype=np.uint64), max_distance=4)
    assert pairs.shape == (0, 2)
    assert distances.shape == (0,)


def test_more_hashes_are_cut_into_longer_keys():
    few, many = (band_masks(max_distance=4, num_hashes=number) for number in (100, 3_300_000))
    assert min(mask.bit_count() for mask in map(int, few)) < min(mask.bit_count() for mask in map(int, many))
    assert len(many) == 15  # 2 of 6 bands


def test_a_hundred_thousand_hashes_take_seconds():
    hashes = np.unique(planted_hashes(100_003, max_distance=2))
    pairs, distances = near_pairs(hashes, max_distance=4)
    assert len(pairs) == 33_334
    assert distances.max() <= 4
