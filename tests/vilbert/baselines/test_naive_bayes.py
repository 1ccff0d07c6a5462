import numpy as np
import pytest

from vilbert.baselines.naive_bayes import NaiveBayes


@pytest.fixture
def counted():
    """Three words, two classes: 0 has 'red dog', 1 has half a 'red' and 'red cat'."""
    counts = NaiveBayes(2)
    counts.add(["red", "dog"], {0: 1})
    counts.add(["red"], {1: 0.5})
    counts.add(["red", "cat"], {1: 1})
    return counts


def test_scores_by_hand(counted):
    """A tenth is added to every count: of the texts, and of the three words."""
    expected = [1.1 * (1.1 / 2.3), 1.6 * (0.1 / 2.8)]
    np.testing.assert_allclose(np.exp(counted.scores(["dog"])), expected, rtol=1e-5)
    expected = [1.1 * (1.1 / 2.3) * (0.1 / 2.3), 1.6 * (1.6 / 2.8) * (1.1 / 2.8)]
    np.testing.assert_allclose(np.exp(counted.scores(["red", "cat"])), expected, rtol=1e-5)


def test_a_word_that_was_never_seen_says_nothing(counted):
    np.testing.assert_array_equal(counted.scores(["bird"]), counted.scores([]))


def test_nothing_counted_is_no_preference():
    assert len(set(NaiveBayes(3).scores(["red"]).tolist())) == 1


def test_a_text_of_several_classes_counts_for_each():
    counts = NaiveBayes(3)
    counts.add(["red"], {0: 0.3, 2: 0.9})
    assert counts.scores(["red"]).argmax() == 2
    assert counts.scores(["red"]).argmin() == 1
