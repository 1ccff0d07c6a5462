import numpy as np
import pytest

from extract.regions.store import Regions
from vilbert.batches.candidates import NUM_ACROSS, NUM_CANDIDATES, draw_candidates


def make_image(count, first):
    """Regions whose features count on from `first`."""
    return Regions(
        boxes=np.zeros((count, 4), np.float32),
        scores=np.ones(count, np.float32),
        features=first + np.arange(count, dtype=np.float16)[:, None].repeat(3, axis=1),
        class_probs=np.zeros((count, 5), np.float16),
        image_size=(7, 11),
        num_confident=count,
        is_short=False,
    )


def draw(num_own, nums_of_others, *, masked, seed=1):
    is_masked = np.zeros(num_own, bool)
    is_masked[masked] = True
    others = [make_image(count, 100 * number) for number, count in enumerate(nums_of_others, start=1)]
    drawn = draw_candidates(make_image(num_own, 0), others, is_masked=is_masked, generator=np.random.default_rng(seed))
    features = drawn.features()
    assert features.shape == (len(masked), NUM_CANDIDATES, 3)
    return features[..., 0]


def test_the_own_feature_is_the_first_and_no_negative():
    numbers = draw(7, [5, 3], masked=[2, 6])
    assert numbers[:, 0].tolist() == [2, 6]
    assert not (numbers[:, 1:] == numbers[:, :1]).any()


def test_negatives_are_of_all_other_regions_of_other_images_and_of_the_same():
    of_one = draw(7, [5, 3], masked=[2])[0]
    across, within = of_one[1 : 1 + NUM_ACROSS], of_one[1 + NUM_ACROSS :]
    assert set(across) == {100, 101, 102, 103, 104, 200, 201, 202}
    assert set(within) == {0, 1, 3, 4, 5, 6}
    assert (NUM_ACROSS, len(within)) == (90, 38)  # 70 % and 30 % of 128


def test_there_are_as_many_where_one_kind_has_no_region():
    assert set(draw(1, [5], masked=[0])[0, 1:]) == {100, 101, 102, 103, 104}
    assert set(draw(4, [0], masked=[3])[0, 1:]) == {0, 1, 2}
    with pytest.raises(ValueError, match="cannot be empty"):
        draw(1, [], masked=[0])


def test_without_a_masked_region_there_is_nothing_to_find():
    assert draw(3, [5], masked=[]).shape == (0, NUM_CANDIDATES)


def test_the_generator_alone_decides():
    assert np.array_equal(draw(7, [5, 3], masked=[2, 6]), draw(7, [5, 3], masked=[2, 6]))
    assert not np.array_equal(draw(7, [5, 3], masked=[2, 6]), draw(7, [5, 3], masked=[2, 6], seed=2))
