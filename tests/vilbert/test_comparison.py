import json

import pytest

from vilbert.comparison import compare, main


def write(folder, name, *evaluations):
    path = folder / name / "metrics.jsonl"
    path.parent.mkdir()
    lines = [{"step": step, "eval/accuracy": value} for step, value in enumerate(evaluations)]
    path.write_text("".join(json.dumps(line) + "\n" for line in [{"step": 0, "loss": 3.0}, *lines]))
    return path


def test_a_row_is_the_mean_over_the_seeds_of_the_last_evaluation(tmp_path):
    paths = [
        write(tmp_path, "two_stream-1", 0.1, 0.8),
        write(tmp_path, "two_stream-2", 0.6),
        write(tmp_path, "single_stream-1", 0.5),
    ]
    table = compare(paths)
    assert table.to_dict("records") == [
        {"compared": "two_stream", "num_seeds": 2, "accuracy": "0.700 (0.600 to 0.800)"},
        {"compared": "single_stream", "num_seeds": 1, "accuracy": "0.500 (0.500 to 0.500)"},
    ]
    main(paths, tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_text().splitlines()[0] == "compared,num_seeds,accuracy"


def test_a_training_without_an_evaluation_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="holds no evaluation"):
        compare([write(tmp_path, "two_stream-1")])
