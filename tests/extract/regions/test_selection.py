"""The selection rule, against hand-made cases, a plain version of the rule, and an independent implementation."""

from pathlib import Path

import numpy as np
import pytest

from extract.regions.selection import select_regions
from extract.settings import SelectionSettings

GOLDEN = Path(__file__).parent / "data" / "selection_golden.npz"


def settings(*, threshold=0.2, min_regions=10, max_regions=36, nms_iou=0.3):
    return SelectionSettings(threshold=threshold, min_regions=min_regions, max_regions=max_regions, nms_iou=nms_iou)


def apart(count):
    """Boxes that do not touch."""
    return np.array([[20 * i, 0, 20 * i + 10, 10] for i in range(count)], np.float32).reshape(count, 4)


def with_background(scores):
    scores = np.asarray(scores, np.float32)
    return np.concatenate([1 - scores.sum(axis=1, keepdims=True), scores], axis=1)


def plain_rule(boxes, class_probs, *, rule):
    """The rule word by word: every class, every box."""
    best = np.zeros(len(boxes), np.float32)
    for probs in class_probs[:, 1:].T:
        kept = []
        for box in np.argsort(-probs, kind="stable"):
            if all(overlap(boxes[box], boxes[other]) <= rule.nms_iou for other in kept):
                kept.append(box)
                best[box] = max(best[box], probs[box])
    number = min(max((best >= rule.threshold).sum(), rule.min_regions), rule.max_regions)
    chosen = np.argsort(-best, kind="stable")[:number]
    return chosen, best[chosen]


def overlap(box, other):
    box, other = box.astype(float), other.astype(float)
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    shared = max(width, 0) * max(height, 0)
    return shared / ((box[2:] - box[:2]).prod() + (other[2:] - other[:2]).prod() - shared)


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize(("min_regions", "max_regions"), [(10, 36), (36, 36), (10, 100), (3, 5)])
def test_it_chooses_what_the_reference_chooses(offset, min_regions, max_regions):
    golden = np.load(GOLDEN)
    rule = settings(min_regions=min_regions, max_regions=max_regions)
    selection = select_regions(golden["boxes"], golden["class_probs"], settings=rule, corner_offset=offset)
    expected = golden[f"keep_off{offset}_{min_regions}_{max_regions}"]
    scores = golden[f"max_conf_off{offset}"]
    confident = expected[scores[expected] >= 0.2]
    np.testing.assert_array_equal(selection.indices, expected[np.lexsort((expected, -scores[expected]))])
    np.testing.assert_array_equal(selection.scores, scores[selection.indices])
    assert selection.num_confident == len(confident)
    assert not selection.is_short


@pytest.mark.parametrize("offset", [0, 1])
def test_without_a_threshold_every_score_is_the_reference_s(offset):
    golden = np.load(GOLDEN)
    rule = settings(threshold=0, min_regions=60, max_regions=60)
    selection = select_regions(golden["boxes"], golden["class_probs"], settings=rule, corner_offset=offset)
    np.testing.assert_array_equal(golden[f"max_conf_off{offset}"][selection.indices], selection.scores)
    assert len(selection.indices) == 60


@pytest.mark.parametrize("seed", range(23))
def test_leaving_early_changes_nothing(seed):
    generator = np.random.default_rng(seed)
    num_proposals, num_classes = int(generator.integers(1, 97)), int(generator.integers(2, 53))
    corners = generator.uniform(0, 60, (num_proposals, 2))
    boxes = np.concatenate([corners, corners + generator.uniform(5, 40, corners.shape)], axis=1).astype(np.float32)
    logits = generator.normal(size=(num_proposals, num_classes)) * generator.choice([1, 3, 6])
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    probs = probs.round(2).astype(np.float32)  # many ties
    rule = settings(min_regions=int(generator.integers(1, 12)), max_regions=int(generator.integers(12, 40)))
    selection = select_regions(boxes, probs, settings=rule)
    indices, scores = plain_rule(boxes, probs, rule=rule)
    np.testing.assert_array_equal(selection.indices, indices)
    np.testing.assert_array_equal(selection.scores, scores)


def test_of_two_boxes_of_a_class_the_better_survives_and_the_other_keeps_its_second_class():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [50, 0, 60, 10]], np.float32)
    probs = with_background([[0.6, 0.1], [0.7, 0.25], [0.3, 0.0]])
    selection = select_regions(boxes, probs, settings=settings(min_regions=1))
    np.testing.assert_array_equal(selection.indices, [1, 2])
    np.testing.assert_allclose(selection.scores, [0.7, 0.3])


def test_the_background_is_no_class():
    selection = select_regions(apart(3), with_background([[0.1], [0.3], [0.0]]), settings=settings(min_regions=1))
    np.testing.assert_array_equal(selection.indices, [1])


def test_a_score_at_the_threshold_is_confident():
    selection = select_regions(
        apart(2), with_background([[0.25], [0.2]]), settings=settings(threshold=0.25, min_regions=1)
    )
    np.testing.assert_array_equal(selection.indices, [0])
    assert selection.num_confident == 1


def test_too_few_confident_boxes_are_filled_up_with_the_best_of_the_rest():
    selection = select_regions(
        apart(5), with_background([[0.1], [0.05], [0.9], [0.15], [0.0]]), settings=settings(min_regions=3)
    )
    np.testing.assert_array_equal(selection.indices, [2, 3, 0])
    assert (selection.num_confident, selection.is_short) == (1, False)


def test_too_many_confident_boxes_are_cut_by_score():
    scores = np.linspace(0.3, 0.9, 41)[:, None]
    selection = select_regions(apart(41), with_background(scores), settings=settings())
    np.testing.assert_array_equal(selection.indices, np.arange(40, 4, -1))
    assert selection.num_confident == 36


def test_of_equal_scores_the_earlier_proposal_comes_first():
    selection = select_regions(apart(47), with_background(np.full((47, 1), 0.5)), settings=settings())
    np.testing.assert_array_equal(selection.indices, np.arange(36))


def test_fewer_proposals_than_asked_for_are_all_taken_and_said():
    selection = select_regions(apart(3), with_background([[0.3], [0.1], [0.5]]), settings=settings())
    np.testing.assert_array_equal(selection.indices, [2, 0, 1])
    assert (selection.num_confident, selection.is_short) == (2, True)


def test_no_proposals_are_no_regions():
    selection = select_regions(apart(0), np.zeros((0, 7), np.float32), settings=settings())
    assert (len(selection.indices), len(selection.scores), selection.num_confident) == (0, 0, 0)
    assert selection.is_short
