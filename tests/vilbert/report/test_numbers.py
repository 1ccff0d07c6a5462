import json

import pytest
from report_run import make_report_run, measure, write

from vilbert.report.doubts import doubts_of
from vilbert.report.found import Found
from vilbert.report.numbers import gather


@pytest.fixture
def run(tmp_path):
    return make_report_run(tmp_path / "r")


def measures_of(numbers):
    return {(row["what"], row["measure"]): row for row in numbers["measures"]}


def test_measures_stand_with_their_baselines_their_interval_and_their_file(run):
    row = measures_of(gather(Found(run)))["pretraining", "retrieval/recall_at_1"]
    assert (row["value"], row["rule"], row["chance"], row["ceiling"]) == (0.59, 0.25, 0.01, 1.0)
    assert (row["low"], row["high"]) == pytest.approx((0.4920, 0.6813), abs=1e-4)  # Wilson, 59 of 100
    assert row["file"] == "pretrain/baselines.json"


def test_percent_stays_percent(run):
    row = measures_of(gather(Found(run)))["vqa", "accuracy"]
    assert row["scale"] == 100
    assert (row["low"], row["high"]) == pytest.approx((56.28, 74.54), abs=0.01)


def test_a_rank_is_no_share(run):
    write(run / "pretrain/baselines.json", [measure("image_median_rank", 3.0, ceiling=1.0)])
    row = measures_of(gather(Found(run)))["pretraining", "image_median_rank"]
    assert (row["scale"], row["low"], row["high"]) == (None, None, None)


def test_probes_are_measures(run):
    (run / "report/probes.csv").write_text(
        "kind,accuracy,chance,blind,rule,num_examples,num_dropped\ncolour,0.75,0.5,,0.7,200,1\n"
    )
    row = measures_of(gather(Found(run)))["probes", "colour"]
    assert (row["value"], row["blind"], row["rule"], row["ceiling"], row["num_dropped"]) == (0.75, None, 0.7, 1.0, 1)


def test_what_it_cost_and_was_made_from_is_among_them(run):
    numbers = gather(Found(run))
    assert [(stage["rule"], stage["seconds"], stage["CPU seconds"]) for stage in numbers["stages"]] == [
        ("pretrain", 12.5, 20.0)
    ]
    (training,) = numbers["trainings"]
    assert training["model"] == "pretrain/model"
    assert training["made_of"]["pretraining"]["seed"] == 7
    assert json.loads(json.dumps(numbers)) == numbers


def test_how_often_one_image_stands_first_is_read_from_what_was_found(run):
    found = [
        {"annotation": "1", "images": ["a", "b"]},
        {"annotation": "2", "images": ["a"]},
        {"annotation": "3", "images": ["b"]},
    ]
    write(run / "finetune/vqa/predictions/val.json", found)
    row = measures_of(gather(Found(run)))["vqa", "commonest_first"]
    assert (row["value"], row["num_examples"], row["scale"]) == (2 / 3, 3, None)


def test_retrieval_without_training_tells_it_itself(run):
    (run / "zero_shot_retrieval").mkdir(exist_ok=True)
    write(run / "zero_shot_retrieval/metrics.json", {"num_images": 5, "num_captions": 25, "commonest_first": 0.8})
    numbers = gather(Found(run))
    row = measures_of(numbers)["zero_shot_retrieval", "commonest_first"]
    assert (row["value"], row["num_examples"], row["scale"]) == (0.8, 25, None)
    (doubt,) = [one for one in doubts_of(numbers) if "ranks alike" in one]
    assert doubt.startswith("zero shot retrieval: one image stands first for 80% of the captions")
    write(run / "zero_shot_retrieval/metrics.json", {"num_images": 5, "image_recall_at_1": 0.2})
    assert not gather(Found(run))["unread"], "what an earlier version wrote is no damage"


def test_what_is_no_share_has_no_interval(run):
    write(run / "pretrain/baselines.json", [measure("auroc", 0.8)])
    assert measures_of(gather(Found(run)))["pretraining", "auroc"]["low"] is None


def test_an_empty_folder_has_nothing_and_nothing_is_wrong(tmp_path):
    numbers = gather(Found(tmp_path))
    assert numbers["measures"] == numbers["trainings"] == numbers["stages"] == numbers["unread"] == []
    assert numbers["detector"] is None


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("pretrain/baselines.json", '[{"split": "val", "meas'),
        ("pretrain/baselines.json", '[{"split": "val"}]'),
        ("pretrain/baselines.json", "7"),
        ("report/probes.csv", "kind,accuracy\ncolour"),
        ("report/examples/attention/measures.json", "[{}]"),
        ("detector/metrics.json", '{"ap50": 3}'),
        ("pretrain/model/provenance.json", "{"),
        ("times/pretrain.tsv", "s\tmax_rss\nx\ty\n"),
        ("report/comparisons.json", "["),
        (
            "pretrain/baselines.json",
            '[{"measure": "a", "value": "x", "num_examples": 3, "ceiling": 1, "split": "val"}]',
        ),
    ],
)
def test_a_damaged_file_is_named_and_the_rest_is_there(run, file, content):
    (run / file).parent.mkdir(parents=True, exist_ok=True)
    (run / file).write_text(content)
    numbers = gather(Found(run))
    (unread,) = numbers["unread"]
    assert file.startswith(unread["file"])
    assert unread["why"]
    assert ("vqa", "accuracy") in measures_of(numbers)
