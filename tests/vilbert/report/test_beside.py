import pytest
from report_run import make_report_run, measure, write

from vilbert.report.beside import beside
from vilbert.report.found import Found
from vilbert.report.numbers import gather


@pytest.fixture
def runs(tmp_path):
    first, second = (make_report_run(tmp_path / name) for name in ("first", "second"))
    write(second / "pretrain/baselines.json", [measure("retrieval/recall_at_1", 0.92), measure("accuracy/new", 0.5)])
    return [gather(Found(run)) for run in (first, second)]


def test_each_measure_of_either_run_is_a_row(runs):
    rows = {row["measure"]: row for row in beside(*runs)}
    recall = rows["retrieval/recall_at_1"]
    assert recall["1: first"] == "0.59 (0.492 to 0.681)"
    assert recall["2: second"].startswith("0.92 (")
    assert (recall["apart"], recall["rule"]) == ("yes", "0.25")
    assert (rows["accuracy/new"]["1: first"], rows["accuracy/new"]["apart"]) == ("", "")
    assert rows["accuracy"]["apart"] == ""


def test_the_cost_of_both_stands_last(runs):
    assert beside(*runs)[-1]["1: first"] == "12 s"


def test_two_runs_of_one_name_are_told_apart(runs):
    runs[0]["run"] = runs[1]["run"] = "chance"
    assert beside(*runs)[0].keys() >= {"1: chance", "2: chance", "chance"}


def test_what_differs_of_two_baselines_is_told_of_both(runs):
    runs[1]["measures"][0]["chance"] = 0.001
    assert beside(*runs)[0]["chance"] == "0.01 / 0.001"


def test_a_measure_that_is_no_number_is_empty(runs):
    runs[0]["measures"][0] |= {"value": None, "low": None, "high": None}
    assert (beside(*runs)[0]["1: first"], beside(*runs)[0]["apart"]) == ("", "")
