import numpy as np
import pytest

from vilbert.retrieval.ranks import best_first, best_ranks, chance_summary, commonest_first, recalls

NAN = float("nan")


def only(column: int, *, num_columns: int) -> np.ndarray:
    return np.eye(1, num_columns, column, dtype=bool)


def test_the_best_of_several_right_ones_counts():
    scores, is_right = np.array([[5, 9, 7, 8, 6]]), np.array([[True, False, True, False, True]])
    assert best_ranks(scores, is_right).tolist() == [3]


def test_of_equal_scores_the_wrong_ones_stand_first():
    assert best_ranks(np.zeros((1, 7)), only(3, num_columns=7)).tolist() == [7]


def test_a_score_that_is_no_number_is_never_a_hit():
    scores = np.array([[NAN] * 7, [5, NAN, 3, 2, 1, 0, -1], [NAN, 5, 3, 2, 1, 0, -1]])
    assert best_ranks(scores, np.eye(3, 7, dtype=bool)[[0, 0, 0]]).tolist() == [7, 2, 7]


def test_one_right_score_that_is_no_number_spoils_no_other():
    scores, is_right = np.array([[NAN, 5, 3]]), np.array([[True, True, False]])
    assert best_ranks(scores, is_right).tolist() == [1]


@pytest.mark.parametrize("num_wrong_scores", [0, 3, 7])
def test_the_order_is_that_of_the_ranks(num_wrong_scores):
    generator = np.random.default_rng(2)
    scores = generator.integers(0, 5, (11, 7)).astype(float)
    scores[:, :num_wrong_scores] = NAN
    is_right = np.eye(11, 7, dtype=bool)
    is_right[7:] = generator.permuted(np.eye(4, 7, dtype=bool), axis=1)
    order = best_first(scores, is_right)
    assert (np.sort(order) == np.arange(7)).all()
    assert (np.take_along_axis(is_right, order, axis=1).argmax(axis=1) + 1 == best_ranks(scores, is_right)).all()


def test_recalls_count_ranks_up_to_their_limit():
    assert recalls(np.array([1, 5, 6, 11])) == {"recall_at_1": 0.25, "recall_at_5": 0.5, "recall_at_10": 0.75}


def test_chance_by_hand():
    """Of 4, one right one is first in 1 of 4, and one of two in 2 of 4; who has none never finds it."""
    found = chance_summary(np.array([1, 2, 0]), 4)
    assert found["recall_at_1"] == pytest.approx((1 / 4 + 2 / 4) / 3)
    assert found["recall_at_5"] == found["recall_at_10"] == pytest.approx(2 / 3)
    assert found["median_rank"] == 3  # (2/4 + 5/6) / 3 are found at 2, (3/4 + 1) / 3 at 3


def test_chance_is_the_mean_of_many_orders():
    generator = np.random.default_rng(5)
    is_right = np.zeros((7, 13), bool)
    for row, number in enumerate((1, 1, 2, 2, 3, 5, 7)):
        is_right[row, :number] = True
    drawn = [recalls(best_ranks(generator.random((7, 13)), is_right)) for _ in range(2000)]
    found = chance_summary(is_right.sum(axis=1), 13)
    for name in ("recall_at_1", "recall_at_5"):
        assert found[name] == pytest.approx(np.mean([one[name] for one in drawn]), abs=0.02)


@pytest.mark.parametrize(
    ("scores", "share"),
    [
        ([[0.1, 0.9, 0.2], [0.0, 0.7, 0.1], [0.5, 0.6, 0.1]], 1.0),  # whatever the caption says
        ([[0.9, 0.1, 0.2], [0.0, 0.7, 0.1], [0.5, 0.1, 0.6]], 1 / 3),
    ],
)
def test_how_often_the_commonest_image_stands_first(scores, share):
    assert commonest_first(np.array(scores)) == pytest.approx(share)
