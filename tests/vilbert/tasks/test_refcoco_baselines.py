import pytest
from seen_classes import BOTTOM_LEFT, BOTTOM_RIGHT, TOP_LEFT, store_of

from vilbert.tasks.held_out import HeldOut
from vilbert.tasks.refcoco import Expression, RefCocoDataset
from vilbert.tasks.refcoco_baselines import RefCocoBaselines, looks_of

LEARNT = [Expression("1", "a", "train", "it", BOTTOM_RIGHT)]
HELD_OUT = [
    Expression("2", "b", "val", "the red circle", TOP_LEFT),
    Expression("3", "b", "val", "the blue square", BOTTOM_LEFT),
    Expression("4", "b", "val", "it", BOTTOM_RIGHT),
    Expression("5", "b", "val", "the red circle", (0, 0, 4, 4)),
]


def measured(drawn, path, **changed):
    images = {
        "a": [(TOP_LEFT, 1), (BOTTOM_RIGHT, 2)],
        "b": [(TOP_LEFT, 1), (BOTTOM_LEFT, 2), (BOTTOM_RIGHT, 1)],
    }
    store = store_of(path, images, **changed)
    learnt, held_out = (
        RefCocoDataset(expressions, store, drawn.processor, truth=None, max_tokens=13)
        for expressions in (LEARNT, HELD_OUT)
    )
    return RefCocoBaselines(learnt).of(HeldOut(held_out, num_examples=4, unseen=[{"annotation": "6"}]))


def test_values_by_hand(drawn, tmp_path):
    """Of five rows one has no features, one no candidate. A blue square was meant, where the image is right and low."""
    found = measured(drawn, tmp_path / "store.lmdb")
    assert found.chance["accuracy"] == pytest.approx((1 / 3 + 1 / 3 + 1 / 3) / 5)
    assert found.blind == {}
    assert found.no_text["accuracy"] == pytest.approx(1 / 5)
    assert found.rule["accuracy"] == pytest.approx(2 / 5)
    assert found.ceiling["accuracy"] == pytest.approx(3 / 5)
    assert (found.num_examples, found.num_dropped) == (5, 1)


def test_without_classes_the_place_is_what_is_left_and_there_is_no_rule(drawn, tmp_path):
    found = measured(drawn, tmp_path / "store.lmdb", classes=())
    assert found.rule == {}
    assert found.no_text["accuracy"] == pytest.approx(1 / 5)


def test_looks_are_class_size_and_place(tmp_path):
    store = store_of(tmp_path / "store.lmdb", {"a": [((0, 0, 4, 4), 2), ((20, 40, 60, 64), 1)]})
    assert looks_of(store["a"]) == [
        ("class 1", "size 0", "place 0 0"),
        ("class 0", "size 3", "place 1 2"),
    ]
