import pytest
from seen_classes import BOTTOM_RIGHT, TOP_LEFT, store_of

from vilbert.tasks.held_out import HeldOut
from vilbert.tasks.vqa import Question, VqaDataset
from vilbert.tasks.vqa_baselines import VqaBaselines, commonest_answer, worth_of_answers

ANSWERS = ["yes", "no", "red"]
LEARNT = [
    Question("1", "a", "Is there a red circle?", ("yes",) * 10),
    Question("2", "a", "Is there a blue square?", ("no",) * 10),
    Question("3", "a", "What color?", ("red",) * 10),
]
HELD_OUT = [
    Question("4", "a", "Is there a blue square?", ("yes",) * 10),
    Question("5", "a", "What color is it?", ("green",) * 10),
    Question("6", "b", "What color?", ("red",) * 4 + ("yes",) * 6),
]


def make(drawn, store, questions):
    return VqaDataset(questions, store, drawn.processor, answers=ANSWERS, max_tokens=13)


def measured(drawn, path, **changed):
    images = {"a": [(TOP_LEFT, 1), (BOTTOM_RIGHT, 2)], "b": [(TOP_LEFT, 1)]}
    store = store_of(path, images, **changed)
    counted = VqaBaselines(make(drawn, store, LEARNT))
    return counted.of(HeldOut(make(drawn, store, HELD_OUT), num_examples=3, unseen=[{"question_id": 7}]))


def test_values_by_hand(drawn, tmp_path):
    """Of four rows one has no features. 'blue square' stood with no; the detector sees it; nobody lists green."""
    found = measured(drawn, tmp_path / "store.lmdb")
    assert found.chance["accuracy"] == pytest.approx((100 / 3 + 0 + 200 / 3) / 4)
    assert found.blind["accuracy"] == pytest.approx((0 + 0 + 100) / 4)
    assert found.no_text["accuracy"] == pytest.approx((100 + 0 + 100) / 4)
    assert found.rule["accuracy"] == pytest.approx((100 + 0 + 100) / 4)
    assert found.ceiling["accuracy"] == pytest.approx((100 + 0 + 100) / 4)
    assert (found.num_examples, found.num_dropped) == (4, 1)


def test_a_store_without_classes_has_no_rule(drawn, tmp_path):
    found = measured(drawn, tmp_path / "store.lmdb", classes=())
    assert found.rule == {}
    assert found.blind["accuracy"] == pytest.approx(25)


def test_the_commonest_answer_is_the_one_that_most_people_gave(drawn, tmp_path):
    store = store_of(tmp_path / "store.lmdb", {"a": [(TOP_LEFT, 1)]})
    more = [*LEARNT, Question("8", "a", "Why?", ("red",) + ("blue",) * 9)]
    assert commonest_answer(make(drawn, store, LEARNT)) == "yes"
    assert commonest_answer(make(drawn, store, more)) == "red"


def test_an_answer_is_worth_what_the_official_measure_says_of_it():
    """Where all agree, words are compared as they stand, so that a list of normalised answers misses 'Yes'."""
    assert worth_of_answers(["cat"] + ["A dog."] * 9, {"cat", "dog", "bird"}) == {"cat": 30, "dog": 100}
    assert worth_of_answers(["Yes"] * 10, {"yes"}) == {"yes": 0}
    assert worth_of_answers(["Yes"] * 10, {"no"}) == {}
