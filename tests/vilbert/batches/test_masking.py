import numpy as np
import pytest

from vilbert.batches.masking import (
    IGNORED,
    RegionMask,
    example_generator,
    mask_probabilities,
    mask_regions,
    mask_tokens,
    write_visible,
)

CLS, SEP, MASK = 2, 3, 4
SPECIAL = frozenset({0, 1, CLS, SEP, MASK})


def masked(ids: np.ndarray, example: int = 0, probability: float = 0.15, epoch: int = 0):
    probabilities = mask_probabilities(101, probability=probability, special_ids=SPECIAL)
    generator = example_generator(7, epoch, example)
    return mask_tokens(ids, generator, probabilities=probabilities, mask_token_id=MASK, vocab_size=101)


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
    assert (masked(ids, example=3, epoch=1).labels != first.labels).any()


def test_all_tokens_but_the_special_ones_are_masked_alike_as_in_the_paper():
    probabilities = mask_probabilities(9, probability=0.15, special_ids=SPECIAL, contrast_ids=[6, 8])
    np.testing.assert_allclose(probabilities, [0] * 5 + [0.15] * 4)


def test_contrast_words_have_a_probability_of_their_own():
    probabilities = mask_probabilities(
        9, probability=0.1, special_ids=SPECIAL, contrast_ids=[6, 8], contrast_probability=0.4
    )
    np.testing.assert_allclose(probabilities, [0] * 5 + [0.1, 0.4, 0.1, 0.4])


def shown(features: np.ndarray, mask: RegionMask) -> np.ndarray:
    out = np.full((len(features) + 1, features.shape[1]), np.nan, features.dtype)
    write_visible(features, mask, out)
    return out


def test_what_overlaps_a_masked_region_is_hidden_and_the_mean_has_neither():
    features = np.array([[1.0, 1], [2, 2], [3, 3], [5, 5], [7, 7]], dtype=np.float32)
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 70, 10]], np.float32)
    seen = 0
    for example in range(199):
        mask = mask_regions(boxes, example_generator(1, 0, example), probability=0.3, max_overlap=0.4)
        if not mask.is_masked[0] or mask.is_masked[1]:
            continue
        seen += 1
        visible = shown(features, mask)
        assert visible[2].tolist() == [0, 0]
        left = [index for index in (2, 3, 4) if not mask.is_masked[index]]
        np.testing.assert_allclose(visible[0], features[left].mean(axis=0) if left else [0, 0])
    assert seen > 20


def test_one_masked_region_in_ten_is_shown_but_is_not_in_the_mean():
    features, boxes = np.ones((499, 2), np.float32), np.zeros((499, 4), np.float32)
    mask = mask_regions(boxes, example_generator(3, 0, 0), probability=1, max_overlap=None)
    assert mask.is_hidden.mean() == pytest.approx(0.9, abs=0.04)
    visible = shown(features, mask)
    np.testing.assert_array_equal(visible[1:, 0] == 0, mask.is_hidden)
    assert not visible[0].any()


def test_without_an_overlap_rule_neighbours_stay():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10]], dtype=np.float32)
    for example in range(50):
        mask = mask_regions(boxes, example_generator(1, 0, example), probability=0.5, max_overlap=None)
        assert not (mask.is_hidden & ~mask.is_masked).any()


def test_the_mean_of_half_precision_features_is_taken_in_full():
    features = np.full((36, 3), 2500, np.float16)  # their sum is more than float16 can hold
    nothing = RegionMask(is_masked=np.zeros(36, bool), is_hidden=np.zeros(36, bool))
    np.testing.assert_array_equal(shown(features, nothing), np.full((37, 3), 2500))
