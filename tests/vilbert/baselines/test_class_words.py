import numpy as np
import pytest

from extract.cleaning.relatedness import relatedness
from vilbert.baselines.class_words import class_names, fits

CLASSES = ("background", "dog", "red ball", "cat")


def test_each_score_is_the_log_of_the_relatedness():
    texts = ["a dog with a red ball", "two cats", "a dog", "the sky", "dogs , a cat and a red ball"]
    names = class_names(CLASSES, texts)
    generator = np.random.default_rng(3)
    images = [generator.dirichlet(np.ones(4), count) for count in (2, 7, 5)]
    mentions = [names.mentions(text) for text in texts]
    scores = fits(mentions, images)
    assert scores.shape == (5, 3)
    for row in (0, 1, 2, 4):
        expected = [np.log(relatedness(mentions[row], image)) for image in images]
        np.testing.assert_allclose(scores[row], expected, rtol=1e-5)
    assert np.isneginf(scores[3]).all()


def test_a_word_of_every_text_tells_less_than_a_rare_one():
    names = class_names(CLASSES, ["a dog", "a dog and a cat", "the dog"])
    weights = {mention.phrase: mention.weight for mention in names.mentions("a dog and a cat")}
    assert weights == {"dog": pytest.approx(np.log(1 + 4 / 4)), "cat": pytest.approx(np.log(1 + 4 / 2))}


def test_texts_that_name_nothing_at_all_fit_nothing():
    assert np.isneginf(fits([[], []], [np.ones((2, 4)), np.ones((3, 4))])).all()
