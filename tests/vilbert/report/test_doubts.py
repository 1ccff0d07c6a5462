import pytest
from report_run import measure

from vilbert.report.doubts import ALIKE, doubts_of
from vilbert.report.numbers import measured


def doubts(*rows):
    return doubts_of({"measures": [measured("pretraining", row, file="f") for row in rows]})


def test_a_model_that_looks_is_not_doubted():
    assert doubts(measure("retrieval/recall_at_1", 0.59)) == []


@pytest.mark.parametrize(
    ("row", "doubt"),
    [
        (measure("recall_at_1", 0.6, num_examples=5), "measured on 5 examples, too few"),
        (measure("recall_at_10", 1.0, chance=1.0, rule=1.0), "recall at 10 cannot be missed, chance is 1"),
        (measure("accuracy/alignment", 0.52, chance=0.5), "alignment cannot be told from chance"),
        (measure("accuracy/alignment", 0.9, chance=0.5, rule=0.93), "a rule that learns nothing reaches more in align"),
        (measure(ALIKE, 0.5, chance=None, rule=None), "one image stands first for 50% of the captions"),
    ],
)
def test_what_is_wrong_is_said_once(row, doubt):
    (said,) = doubts(row)
    assert said.startswith("pretraining: ")
    assert doubt in said


def test_a_broken_trial_is_told_from_a_result():
    """51 photographs, 5 of them held out, whose captions all rank alike: R@10 is 1, and says nothing."""
    alone = {"chance": 0.2, "rule": 0.4, "num_examples": 5}
    said = doubts(
        measure("recall_at_1", 0.2, **alone),
        measure("recall_at_10", 1.0, **{**alone, "chance": 1.0}),
        measure(ALIKE, 1.0),
    )
    assert len(said) == 5
