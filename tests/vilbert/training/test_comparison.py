import json

import pytest

from vilbert.training.comparison import compare, main


def write(folder, name, *evaluations):
    path = folder / name / "metrics.jsonl"
    path.parent.mkdir(parents=True)
    lines = [{"step": step, "eval/accuracy": value} for step, value in enumerate(evaluations)]
    path.write_text("".join(json.dumps(line) + "\n" for line in [{"step": 0, "loss": 3.0}, *lines]))
    return path


def test_a_row_is_a_metric_of_the_last_evaluation_over_the_seeds(tmp_path):
    paths = [
        write(tmp_path, "vqa/pretrained-1", 0.1, 0.8),
        write(tmp_path, "vqa/pretrained-2", 0.6),
        write(tmp_path, "vqa/new-1", 0.5),
        write(tmp_path, "vcr/new-1", 0.25),
    ]
    table = compare(paths).fillna("")
    assert table.to_dict("records") == [
        {
            "trained": "vqa",
            "metric": "accuracy",
            "pretrained": "0.700 (0.600 to 0.800) of 2",
            "new": "0.500 (0.500 to 0.500) of 1",
        },
        {"trained": "vcr", "metric": "accuracy", "pretrained": "", "new": "0.250 (0.250 to 0.250) of 1"},
    ]
    main(paths, tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_text().splitlines()[0] == "trained,metric,pretrained,new"


def test_a_training_without_an_evaluation_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="holds no evaluation"):
        compare([write(tmp_path, "vqa/two_stream-1")])
