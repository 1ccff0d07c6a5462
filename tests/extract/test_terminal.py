import sys

from extract.terminal import bar, plain_table


def test_a_table_has_columns_of_one_width_and_none_that_is_empty():
    rows = [
        {"split": "val", "measure": "accuracy", "value": 0.123456, "rule": None, "num_examples": 7},
        {"split": "testA", "measure": "f1", "value": 1.0, "rule": None, "num_examples": 11},
    ]
    assert plain_table(rows).splitlines() == [
        "split  measure   value   num_examples",
        "val    accuracy  0.1235  7",
        "testA  f1        1       11",
    ]


def test_a_bar_in_a_file_is_lines_and_a_short_one_is_none(capsys):
    assert list(bar(range(3), desc="evaluating")) == [0, 1, 2]
    said = capsys.readouterr().err
    assert "evaluating: 100%" in said
    assert "\r" not in said
    assert list(bar(range(3), desc="evaluating", is_passing=True)) == [0, 1, 2]
    assert list(bar(range(3), desc="evaluating", is_shown=False)) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_a_bar_in_a_terminal_is_written_over(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    list(bar(range(3), desc="evaluating"))
    assert capsys.readouterr().err.count("\r") > 0
