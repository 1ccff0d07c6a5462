from report_run import comparisons, make_report_run

from vilbert.report.found import Found
from vilbert.report.numbers import gather
from vilbert.report.tables import beside_published, cost, findings, of_both, own_cells, published


def rows_of(table):
    return [dict(zip(table.names, row, strict=True)) for row in table.rows]


def test_a_training_that_the_paper_has_as_well_is_one_row():
    rows = rows_of(beside_published("data", comparisons()["cells"]))
    whole = next(row for row in rows if row["trained"] == "100 % of the images")
    assert (whole["Lu et al., %"], whole["here, %"], whole["seeds"], whole["ceiling"]) == ("70.55", 66.0, 2, 100.0)
    half = next(row for row in rows if row["trained"] == "50 % of the images")
    assert (half["Lu et al., %"], half["here, %"], half["seeds"]) == ("70.30 *", None, None)
    assert {row["measured"] for row in rows} == {"vqa"}


def test_shares_stand_in_percent_as_the_papers_do():
    cells = [
        {**cell, "what": "vcr", "measure": "both", "mean": 0.5, "ceiling": 1.0} for cell in comparisons()["cells"][:2]
    ]
    rows = [row for row in rows_of(beside_published("data", cells)) if row["measure"] == "both"]
    whole = next(row for row in rows if row["trained"] == "100 % of the images")
    assert (whole["Lu et al., %"], whole["here, %"], whole["ceiling"]) == ("54.04", 50.0, 100.0)


def test_a_table_that_the_paper_has_not_is_ours_alone():
    (row,) = rows_of(beside_published("text_init", comparisons()["cells"]))
    assert row["Lu et al., %"] is None


def test_a_run_that_compared_nothing_stands_beside_the_paper_with_its_own_model(tmp_path):
    numbers = gather(Found(make_report_run(tmp_path / "r")))
    beside = beside_published("architecture", own_cells(numbers))
    assert {row["trained"]: row["Lu et al., %"] for row in rows_of(beside)}[
        "single stream, not pretrained"
    ] == "65.90 *"
    (row,) = rows_of(of_both(beside))
    assert (row["trained"], row["Lu et al., %"], row["here, %"]) == ("two streams", "70.55", 66.0)


def test_the_paper_is_quoted_by_what_is_known_of_it():
    """Table 2's six layers are the model of table 1: confirmed are the same numbers."""
    six = {(one["what"], one["measure"]): one for one in published("depth") if one["cell"] == "depth 6"}
    whole = {(one["what"], one["measure"]): one for one in published("architecture") if one["cell"] == "two streams"}
    assert {key: one["percent"] for key, one in six.items()} == {key: whole[key]["percent"] for key in six}
    assert six["zero_shot_retrieval", "image_recall_at_1"]["percent"] == "31.86"


def test_what_was_best_before_and_test_sets_stand_beside_what_is_measured_here(tmp_path):
    beside = rows_of(beside_published("architecture", own_cells(gather(Found(make_report_run(tmp_path / "r"))))))
    of_vqa = [(row["trained"], row["measure"], row["Lu et al., %"]) for row in beside if row["measured"] == "vqa"]
    assert of_vqa[:2] == [
        ("best before (DFAF)", "accuracy", "70.22 *"),
        ("best before (DFAF)", "accuracy on test-std", "70.34"),
    ]
    assert ("two streams", "accuracy on test-std", "70.92") in of_vqa


def test_costs_are_summed_and_of_memory_the_most_is_told():
    stage = {"rule": "a", "jobs": 2, "seconds": 3.5, "CPU seconds": 3.0, "longest job": 2.0, "peak memory (MB)": 70}
    table = cost([{**stage, "on disk (MB)": 1.5}, {**stage, "rule": "b", "peak memory (MB)": 90, "on disk (MB)": ""}])
    assert table.rows[-1] == ["all", 4, 7.0, 6.0, "", 90, 1.5]


def test_one_seed_leaves_no_interval():
    one = comparisons()
    one["findings"][0] |= {"interval": [None, None], "num_seeds": 1, "seeds_to_decide": None}
    (row,) = findings(one["findings"]).rows
    assert row[4] == ""


def test_a_run_without_stages_or_comparisons_has_empty_tables():
    assert cost([]).rows == findings([]).rows == []
