import pytest
from seen_classes import BOTTOM_RIGHT, TOP_LEFT, store_of

from vilbert.tasks.held_out import HeldOut
from vilbert.tasks.vcr import VcrDataset, VcrQuestion
from vilbert.tasks.vcr_baselines import SAID_BEFORE, VcrBaselines, words_of


def question(number, image, answers, rationales, labels):
    return VcrQuestion(number, image, "what is it ?", answers, rationales, *labels)


LEARNT = [question("1", "a", ("words", "good", "words", "words"), ("words", "words", "because", "words"), (1, 2))]
HELD_OUT = [
    question(
        "2",
        "b",
        ("a blue square", "a red circle", "good", "words"),
        ("because", "words", "a blue square", "words"),
        (1, 2),
    ),
    question(
        "3", "a", ("good", "a red circle", "words", "words"), ("because", "a blue square", "words", "words"), (0, 1)
    ),
]


def measured(drawn, path, **changed):
    store = store_of(path, {"a": [(TOP_LEFT, 1), (BOTTOM_RIGHT, 2)], "b": [(TOP_LEFT, 1)]}, **changed)
    learnt, held_out = (
        VcrDataset(questions, store, drawn.processor, given=None, max_tokens=31) for questions in (LEARNT, HELD_OUT)
    )
    return VcrBaselines(learnt).of(HeldOut(held_out, num_examples=2, unseen=[{"annot_id": "4"}]))


def test_values_by_hand(drawn, tmp_path):
    """Of three rows one has no features. Right choices were 'good' at place 1 and 'because' at place 2."""
    found = measured(drawn, tmp_path / "store.lmdb")
    third = pytest.approx(1 / 3)
    assert found.chance == {"answer": 0.25 * 2 / 3, "rationale": 0.25 * 2 / 3, "both": 0.0625 * 2 / 3}
    assert found.blind == {"answer": third, "rationale": 0, "both": 0}
    assert found.no_text == {"answer": third, "rationale": third, "both": third}
    assert found.rule == {"answer": third, "rationale": pytest.approx(2 / 3), "both": third}
    assert found.ceiling == dict.fromkeys(("answer", "rationale", "both"), 2 / 3)
    assert (found.num_examples, found.num_dropped) == (3, 1)


def test_a_store_without_classes_has_no_rule(drawn, tmp_path):
    assert measured(drawn, tmp_path / "store.lmdb", classes=()).rule == {}


def test_what_is_asked_with_leaves_a_mark_on_the_choice():
    assert words_of("The dog , it sits .", asked="Where is the dog ?") == [
        "the",
        "dog",
        "it",
        "sits",
        SAID_BEFORE,
        SAID_BEFORE,
    ]
