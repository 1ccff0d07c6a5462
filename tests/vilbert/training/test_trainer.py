import json

import pytest
import torch

from vilbert.model.modeling_tasks import VilbertTaskOutput
from vilbert.model.modeling_vilbert import VilbertPreTrainingOutput
from vilbert.training.trainer import MetricsFile, added, is_multiple, losses_of, read_metrics


class State:
    is_world_process_zero = True

    def __init__(self, step):
        self.global_step = step


def log(file, step, **metrics):
    file.on_log(None, State(step), None, logs=metrics)


def test_a_resume_drops_the_lines_of_steps_that_it_takes_again(tmp_path):
    file = MetricsFile(tmp_path / "metrics.jsonl")
    for step in (5, 10, 15):
        log(file, step, loss=step / 10, epoch=0.1)
    file.on_train_begin(None, State(10), None)
    log(file, 15, loss=7.0)
    assert read_metrics(tmp_path / "metrics.jsonl") == [
        {"step": 5, "loss": 0.5},
        {"step": 10, "loss": 1.0},
        {"step": 15, "loss": 7.0},
    ]


def test_a_line_that_was_cut_off_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps({"step": 1}) + '\n{"step": 2, "lo')
    assert read_metrics(path) == [{"step": 1}]


def test_a_model_with_one_loss_has_it_by_the_name_loss():
    loss, named = torch.tensor(3.0), {"alignment": torch.tensor(5.0)}
    assert losses_of(VilbertTaskOutput(loss=loss)) == {"loss": loss}
    assert losses_of(VilbertPreTrainingOutput(loss=loss, losses=named)) == named


def test_sums_go_by_name():
    first = added({}, {"a": torch.tensor(2.0)})
    assert added(first, {"a": torch.tensor(3.0)}) == {"a": torch.tensor(5.0)}


@pytest.mark.parametrize(("step", "interval", "expected"), [(14, 7, True), (15, 7, False), (14, None, False)])
def test_intervals(step, interval, expected):
    assert is_multiple(step, interval) is expected
