import pytest
from report_run import measure

from vilbert.report.doubts import doubts_of
from vilbert.report.numbers import measured
from vilbert.retrieval.ranks import ALIKE


def doubts(*rows):
    return doubts_of({"measures": [measured("pretraining", row, file="f") for row in rows], "trainings": []})


def test_a_model_that_looks_is_not_doubted():
    assert doubts(measure("retrieval/recall_at_1", 0.59)) == []


@pytest.mark.parametrize(
    ("row", "doubt"),
    [
        (measure("recall_at_1", 0.6, num_examples=5), "measured on 5 examples, too few"),
        (measure("recall_at_10", 1.0, chance=1.0, rule=1.0), "recall at 10 cannot be missed, chance is 1"),
        (measure("accuracy/alignment", 0.52, chance=0.5), "alignment cannot be told from chance"),
        (measure("accuracy/alignment", 0.9, chance=0.5, rule=0.93), "a rule that learns nothing reaches more in align"),
        (
            measure("accuracy", 0.36, num_examples=1000, chance=0.02, blind=0.44),
            "who sees the words alone reaches more",
        ),
        (
            measure("accuracy", 0.36, num_examples=1000, chance=0.02, no_text=0.44),
            "who sees the image alone reaches more",
        ),
        (measure("accuracy", float("nan")), "accuracy is no number"),
        (measure("words_look", None, num_examples=0), None),
        (measure(ALIKE, 0.5, chance=None, rule=None), "one image stands first for 50% of the captions"),
    ],
)
def test_what_is_wrong_is_said_once(row, doubt):
    said = doubts(row)
    assert len(said) == (doubt is not None)
    assert all(one.startswith("pretraining: ") and doubt in one for one in said)


def test_what_is_older_than_the_pretraining_beside_it_is_doubted():
    dates = {"pretrain/model": "2026-02-01", "finetune/vqa/model": "2026-01-31", "finetune/vcr/model": "2026-02-02"}
    trainings = [{"model": model, "ended": ended} for model, ended in dates.items()]
    (said,) = doubts_of({"measures": [], "trainings": [*trainings, {"model": "search/model", "ended": None}]})
    assert said.startswith("finetune/vqa/model: older than pretrain/model")


def test_a_broken_trial_is_told_from_a_result():
    """51 photographs, 5 of them held out, whose captions all rank alike: R@10 is 1, and says nothing."""
    alone = {"chance": 0.2, "rule": 0.4, "num_examples": 5}
    said = doubts(
        measure("recall_at_1", 0.2, **alone),
        measure("recall_at_10", 1.0, **{**alone, "chance": 1.0}),
        measure(ALIKE, 1.0),
    )
    assert len(said) == 5
