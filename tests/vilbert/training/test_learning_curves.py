import json

import pytest
from matplotlib.figure import Figure

from vilbert.training.learning_curves import curve, draw_levels, main

LINES = [
    {"step": 5, "loss/alignment": 0.7, "samples_per_second": 11.0},
    {"step": 7, "eval/loss/alignment": 0.6, "eval/accuracy/alignment": 0.5},
    {"step": 10, "loss/alignment": 0.4, "samples_per_second": 13.0},
]


def test_a_curve_has_the_steps_that_know_the_metric():
    assert curve(LINES, "loss/alignment") == ([5, 10], [0.7, 0.4])
    assert curve(LINES, "eval/loss/alignment") == ([7], [0.6])
    assert curve(LINES, "nothing") == ([], [])


def test_the_picture_of_a_training_that_still_runs_can_be_drawn(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES))
    main(tmp_path / "metrics.jsonl", tmp_path / "curves.svg")
    assert (tmp_path / "curves.svg").read_text().startswith("<?xml")


def test_the_rule_and_chance_of_a_measure_are_level_lines():
    axes = Figure().add_subplot()
    row = {"measure": "accuracy/alignment", "rule": 0.75, "chance": 0.5}
    draw_levels(axes, [row, row | {"measure": "another"}], "accuracy/alignment", color="red")
    assert [(line.get_ydata()[0], line.get_linestyle()) for line in axes.lines] == [(0.75, "--"), (0.5, ":")]
    draw_levels(axes, [row | {"rule": None}], "accuracy/alignment", color="red")
    assert len(axes.lines) == 3


def test_a_file_without_a_line_is_named(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(ValueError, match=r"metrics.jsonl holds no line of metrics yet"):
        main(tmp_path / "metrics.jsonl", tmp_path / "curves.svg")
