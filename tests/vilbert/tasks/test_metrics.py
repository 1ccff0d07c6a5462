import json

import numpy as np
import pytest
from places import REAL

from vilbert.tasks.metrics import normalised_answer, retrieval_metrics, vqa_accuracy, without_punctuation

DATA = REAL / "vqa/golden_evaluator.json"


@pytest.fixture(scope="module")
def golden() -> dict:
    if not DATA.is_file():
        pytest.skip(f"no outputs of the official evaluator at {DATA}")
    return json.loads(DATA.read_text())


def test_every_answer_is_normalised_as_by_the_official_evaluator(golden):
    assert len(golden["normalise"]) > 50
    for case in golden["normalise"]:
        assert without_punctuation(case["in"].strip()) == case["after_punct"], case
        assert normalised_answer(case["in"]) == case["out"], case


def test_every_accuracy_is_the_official_evaluators(golden):
    for case in golden["accuracy"]:
        assert vqa_accuracy(case["pred"], case["gt"]) == case["accuracy"], case


@pytest.mark.parametrize(("agreeing", "expected"), [(0, 0.0), (1, 30.0), (2, 60.0), (3, 90.0), (4, 100.0), (9, 100.0)])
def test_accuracy_by_hand(agreeing, expected):
    """One who agrees is left out once in ten: (9 x 1/3 + 0) / 10 and so on."""
    assert vqa_accuracy("cat", ["cat"] * agreeing + ["dog"] * (10 - agreeing)) == expected


def test_unanimous_answers_are_compared_as_they_stand():
    assert vqa_accuracy("Yes", ["yes"] * 10) == 0
    assert vqa_accuracy("Yes", ["yes"] * 9 + ["no"]) == 100


def test_words_get_their_apostrophe_back():
    assert normalised_answer("The dog didnt") == "dog didn't"
    assert normalised_answer("two, I couldnt've") == "2 i couldn't've"


def test_recalls_by_hand():
    """Four captions of three images; the second caption's own image stands third, the others' first."""
    scores = np.array([[9, 1, 2], [3, 2, 1], [1, 8, 2], [0, 1, 7]], float)
    metrics = retrieval_metrics(scores, [0, 2, 1, 2], ["a", "b", "c", "d"])
    assert metrics["image_recall_at_1"] == 0.75
    assert metrics["image_recall_at_5"] == 1
    assert metrics["image_median_rank"] == 1
    assert metrics["text_recall_at_1"] == 1


def test_all_images_of_one_text_are_right():
    scores = np.array([[1, 3, 5], [1, 3, 5]], float)
    apart = retrieval_metrics(scores, [1, 2], ["a dog", "a cat"])
    together = retrieval_metrics(scores, [1, 2], ["a dog", "a dog"])
    assert apart["image_recall_at_1"] == 0.5
    assert together["image_recall_at_1"] == 1
    assert together["text_recall_at_1"] == 1


def test_an_image_without_a_caption_is_a_wrong_one_and_asks_for_none():
    scores = np.array([[9, 5, 3], [9, 5, 7]], float)
    metrics = retrieval_metrics(scores, [1, 2], ["a dog", "a cat"])
    assert metrics["image_recall_at_1"] == 0
    assert metrics["image_median_rank"] == 2
    assert metrics["text_median_rank"] == 1.5
