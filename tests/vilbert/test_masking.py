import numpy as np
import pytest

from vilbert.masking import IGNORED, example_generator, mask_regions, mask_tokens, overlaps

CLS, SEP, MASK = 2, 3, 4
SPECIAL = frozenset({0, 1, CLS, SEP, MASK})


def masked(ids: np.ndarray, example: int = 0, probability: float = 0.15):
    generator = example_generator(7, 0, example)
    return mask_tokens(ids, generator, probability=probability, mask_token_id=MASK, special_ids=SPECIAL, vocab_size=101)


def test_the_shares_of_masked_tokens_are_the_papers():
    ids = np.array([CLS, *range(5, 96), SEP])
    texts = [masked(ids, example) for example in range(499)]
    labels = np.stack([text.labels for text in texts])
    inputs = np.stack([text.input_ids for text in texts])
    is_chosen = labels != IGNORED
    assert is_chosen[:, 1:-1].mean() == pytest.approx(0.15, abs=0.005)
    assert (inputs[is_chosen] == MASK).mean() == pytest.approx(0.8, abs=0.02)
    assert (inputs[is_chosen] == labels[is_chosen]).mean() == pytest.approx(0.1 + 0.1 / 101, abs=0.02)
    np.testing.assert_array_equal(inputs[~is_chosen], np.broadcast_to(ids, inputs.shape)[~is_chosen])


def test_special_tokens_are_never_chosen():
    text = masked(np.array([CLS, 11, SEP]), probability=1.0)
    np.testing.assert_array_equal(text.labels, [IGNORED, 11, IGNORED])


def test_a_mask_depends_on_seed_epoch_and_example_alone():
    ids = np.arange(5, 60)
    first = masked(ids, example=3)
    masked(ids, example=4)
    np.testing.assert_array_equal(masked(ids, example=3).input_ids, first.input_ids)
    other_epoch = mask_tokens(
        ids, example_generator(7, 1, 3), probability=0.15, mask_token_id=MASK, special_ids=SPECIAL, vocab_size=101
    )
    assert (other_epoch.labels != first.labels).any()


def test_overlap_by_hand():
    boxes = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 5, 5]], dtype=np.float32)
    np.testing.assert_allclose(overlaps(boxes, boxes), [[1, 1 / 3, 0], [1 / 3, 1, 0], [0, 0, 0]])


def test_what_overlaps_a_masked_region_is_hidden_and_the_mean_has_neither():
    features = np.array([[1.0, 1], [2, 2], [3, 3], [5, 5], [7, 7]], dtype=np.float32)
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 70, 10]], np.float32)
    seen = 0
    for example in range(199):
        regions = mask_regions(features, boxes, example_generator(1, 0, example), probability=0.3, max_overlap=0.4)
        if not regions.is_masked[1] or regions.is_masked[2]:
            continue
        seen += 1
        assert regions.features[2].tolist() == [0, 0]
        left = [index for index in (2, 3, 4) if not regions.is_masked[index + 1]]
        expected = features[left].mean(axis=0) if left else np.zeros(2)
        np.testing.assert_allclose(regions.features[0], expected)
    assert seen > 20


def test_without_an_overlap_rule_neighbours_stay():
    features = np.ones((2, 3), dtype=np.float32)
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10]], dtype=np.float32)
    for example in range(50):
        regions = mask_regions(features, boxes, example_generator(1, 0, example), probability=0.5, max_overlap=None)
        assert (regions.features[1:][~regions.is_masked[1:]] == 1).all()


def test_all_regions_masked_leave_a_whole_image_of_zeros():
    regions = mask_regions(
        np.ones((3, 5), np.float32),
        np.zeros((3, 4), np.float32),
        example_generator(0, 0, 0),
        probability=1,
        max_overlap=0.4,
    )
    assert regions.is_masked.tolist() == [False, True, True, True]
    assert not regions.features[0].any()
