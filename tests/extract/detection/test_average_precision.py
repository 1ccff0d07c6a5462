"""AP50 by hand."""

import numpy as np
import pytest

from extract.detection.average_precision import Boxes, average_precision


def boxes(*rows):
    """Each row: x1, y1, x2, y2, label, score."""
    table = np.array(rows, float).reshape(len(rows), 6)
    return Boxes(boxes=table[:, :4], labels=table[:, 4].astype(int), scores=table[:, 5])


A, B, FAR = (0, 0, 10, 10), (20, 0, 30, 10), (50, 50, 60, 60)


def test_every_true_box_found_first_is_one():
    true = [boxes((*A, 1, 0), (*B, 1, 0))]
    found = [boxes((*FAR, 1, 0.1), (*A, 1, 0.9), (*B, 1, 0.8))]
    assert average_precision(found, true, labels=[1])[1] == pytest.approx(1)


def test_half_found_after_a_wrong_box_is_half_the_precision_at_half_the_recalls():
    """Recall 0.5 at precision 1/2: 51 of the 101 recalls reach it."""
    true = [boxes((*A, 1, 0), (*B, 1, 0))]
    found = [boxes((*FAR, 1, 0.9), (*A, 1, 0.8))]
    assert average_precision(found, true, labels=[1])[1] == pytest.approx(0.5 * 51 / 101)


def test_a_true_box_is_found_once():
    """Right, wrong, right: precision 1 up to recall 1/2, then 2/3."""
    true = [boxes((*A, 1, 0), (*B, 1, 0))]
    found = [boxes((*A, 1, 0.9), (*A, 1, 0.8), (*B, 1, 0.7))]
    assert average_precision(found, true, labels=[1])[1] == pytest.approx((51 + 50 * 2 / 3) / 101)


@pytest.mark.parametrize(("shift", "expected"), [(3, 1.0), (4, 0.0)])
def test_boxes_overlap_by_a_half_or_not_at_all(shift, expected):
    """70 of 130, and 60 of 140."""
    found = [boxes((shift, 0, 10 + shift, 10, 1, 0.9))]
    assert average_precision(found, [boxes((*A, 1, 0))], labels=[1])[1] == pytest.approx(expected)


def test_images_and_classes_are_kept_apart_and_scores_are_compared_across_images():
    true = [boxes((*A, 1, 0)), boxes((*A, 2, 0))]
    found = [boxes((*A, 2, 0.9)), boxes((*A, 2, 0.8), (*A, 1, 0.7))]
    assert average_precision(found, true, labels=[1, 2, 3]) == {1: 0.0, 2: pytest.approx(0.5), 3: None}


def test_of_a_class_an_image_has_a_hundred_boxes_at_most():
    """The right one is the 101st."""
    found = [boxes(*[(*FAR, 1, 0.9)] * 100, (*A, 1, 0.8))]
    assert average_precision(found, [boxes((*A, 1, 0))], labels=[1]) == {1: 0.0}


def test_nothing_is_printed(capsys):
    average_precision([boxes((*A, 1, 0.9))], [boxes((*A, 1, 0))], labels=[1])
    assert capsys.readouterr() == ("", "")


def test_a_class_that_is_never_found_is_zero():
    assert average_precision([boxes()], [boxes((*A, 1, 0))], labels=[1]) == {1: 0.0}
