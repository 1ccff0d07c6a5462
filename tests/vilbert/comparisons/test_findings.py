from vilbert.comparisons.findings import findings
from vilbert.comparisons.plan import Cell, Plan

ALL = ("vqa", "retrieval", "zero_shot_retrieval", "pretraining")


def cell(table: str, label: str, *, what=ALL, architecture="two_stream", depth=6, share=1.0) -> Cell:
    folders = {name: {"1": f"{label}/{name}"} for name in what}
    return Cell(
        table=table,
        label=label,
        name=label,
        architecture=architecture,
        depth=depth,
        share=share,
        folders=folders,
    )


def found(*cells: Cell) -> list[tuple[int, str, str, str]]:
    """Table, better, worse and what, in order."""
    plan = Plan(own_depth=6, cells=list(cells))
    return [(one.table, one.better.label, one.worse.label, one.what) for one in findings(plan)]


def test_pretraining_helps_each_task_and_two_streams_beat_one_with_it_and_without():
    both = [("two", "two_stream"), ("one", "single_stream")]
    cells = [
        cell("architecture", f"{label} {share}", architecture=name, share=share)
        for label, name in both
        for share in (1, 0)
    ]
    assert found(*cells) == [
        (1, "two 1", "two 0", "vqa"),
        (1, "two 1", "two 0", "retrieval"),
        (1, "two 1", "two 0", "zero_shot_retrieval"),
        (1, "one 1", "one 0", "vqa"),  # the paper has no retrieval of a single stream
        (1, "two 1", "one 1", "vqa"),
        (1, "two 0", "one 0", "vqa"),
    ]


def test_tasks_gain_up_to_the_own_depth_and_retrieval_without_training_beyond():
    assert found(*(cell("depth", str(depth), depth=depth) for depth in (8, 4, 6))) == [
        (2, "6", "4", "zero_shot_retrieval"),
        (2, "6", "4", "vqa"),
        (2, "6", "4", "retrieval"),
        (2, "8", "6", "zero_shot_retrieval"),
    ]


def test_each_share_of_the_data_gains_on_the_one_before():
    cells = [cell("data", f"{share}", share=share, what=("vqa",)) for share in (0.5, 1, 0)]
    assert found(*cells) == [(3, "0.5", "0", "vqa"), (3, "1", "0.5", "vqa")]


def test_what_only_one_of_two_is_measured_by_tells_of_nothing():
    assert found(cell("data", "all"), cell("data", "none", share=0, what=())) == []


def test_texts_that_streams_start_from_are_no_finding_of_the_paper():
    assert found(cell("text_init", "none"), cell("text_init", "bert")) == []


def test_a_finding_is_a_sentence():
    cells = [cell("data", "all"), cell("data", "half", share=0.5)]
    sentences = [one.sentence for one in findings(Plan(own_depth=6, cells=cells))]
    assert sentences[0] == "VQA gains from 50 to 100 % of the images"
    assert sentences[2] == "Retrieval without training gains from 50 to 100 % of the images"
