import json
import time

import pytest
import torch
from accelerate import Accelerator

from vilbert.training.feed import Step
from vilbert.training.metrics import Clock, Meter, MetricsLog, added, run_id
from vilbert.training.metrics_file import last_evaluation, read_metrics


@pytest.fixture(scope="module")
def accelerator():
    return Accelerator(cpu=True)


def make_log(accelerator, folder, *, steps_done):
    (folder / "training.json").write_text("{}")
    return MetricsLog(accelerator, folder, trackers=(), steps_done=steps_done, num_steps=20)


def test_a_resume_drops_the_lines_of_steps_that_it_takes_again(accelerator, tmp_path):
    with make_log(accelerator, tmp_path, steps_done=0) as log:
        for step in (5, 10, 15):
            log.write(step, {"loss": step / 10})
    with make_log(accelerator, tmp_path, steps_done=10) as log:
        log.write(15, {"loss": 7.0})
    assert log.lines() == [{"step": 5, "loss": 0.5}, {"step": 10, "loss": 1.0}, {"step": 15, "loss": 7.0}]


def test_a_line_that_was_cut_off_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps({"step": 1}) + '\n{"step": 2, "lo')
    assert read_metrics(path) == [{"step": 1}]


def test_a_full_disk_is_told_with_the_file(accelerator, tmp_path, largest_file):
    with (
        make_log(accelerator, tmp_path, steps_done=0) as log,
        largest_file(5),
        pytest.raises(OSError, match=rf"File too large: '{tmp_path}/metrics\.jsonl'"),
    ):
        log.write(1, {"loss": 0.5})


@pytest.mark.parametrize("text", ["garbage\n", '{"a": 1}\n', '{"step": 1}\n{"st\n{"step": 3}\n', '{"step": 1}\n[2]\n'])
def test_what_no_training_wrote_is_named(tmp_path, text):
    path = tmp_path / "metrics.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"line \d of .*metrics.jsonl is .*, expected the metrics of a step, as JSON"):
        read_metrics(path)


def test_a_line_of_bytes_that_are_no_text_is_named(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n\xff\xfe\n{"step": 3}\n')
    with pytest.raises(ValueError, match=r"line 2 of .*metrics\.jsonl is "):
        read_metrics(path)


def test_a_kill_within_the_first_line_leaves_a_training_that_goes_on(accelerator, tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"st')
    with make_log(accelerator, tmp_path, steps_done=7) as log:
        assert log.lacks_evaluation_of(7)


def test_a_kill_before_the_first_line_leaves_a_training_that_goes_on(accelerator, tmp_path):
    """Where evaluations are more frequent than lines, a checkpoint comes before any."""
    with make_log(accelerator, tmp_path, steps_done=7) as log:
        assert log.lacks_evaluation_of(7)
        assert log.lines() == []


def test_an_evaluation_that_a_kill_cut_short_is_missed(accelerator, tmp_path):
    with make_log(accelerator, tmp_path, steps_done=0) as log:
        log.write(5, {"loss": 1.0})
        assert log.lacks_evaluation_of(5)
        log.write(5, {"eval/accuracy": 1.0})
        assert not log.lacks_evaluation_of(5)


def test_all_starts_of_a_training_have_one_id(tmp_path):
    (tmp_path / "training.json").write_text('{"seed": 1}')
    first = run_id(tmp_path)
    assert first == run_id(tmp_path)
    (tmp_path / "training.json").write_text('{"seed": 2}')
    assert run_id(tmp_path) != first


def test_sums_go_by_name():
    first = added({}, {"a": torch.tensor(2.0)})
    assert added(first, {"a": torch.tensor(3.0)}) == {"a": torch.tensor(5.0)}


def make_meter(accelerator, folder):
    return Meter(
        accelerator,
        {"alignment": 1, "masked_token": 3},
        count_flops=lambda batch: torch.tensor(7e12),
        peak_tflops=11,
        checkpoints=folder,
    )


def make_step(number, *, num_masked=1):
    """Two micro-batches of 3 texts of 5 tokens and 2 regions, one token padding in each."""
    mask = torch.ones(3, 5, dtype=torch.int64)
    mask[0, 4] = 0
    batch = {"attention_mask": mask, "visual_attention_mask": torch.ones(3, 2, dtype=torch.int64)}
    counts = {"alignment": torch.tensor(3), "masked_token": torch.tensor(num_masked)}
    return Step(number, [batch, batch], [batch, batch], [counts, counts])


def test_a_line_has_the_mean_losses_and_the_rate_of_work(accelerator, tmp_path):
    meter = make_meter(accelerator, tmp_path)
    time.sleep(0.05)
    for number, value in ((1, 12.0), (2, 30.0)):
        losses = {"alignment": torch.tensor(value), "masked_token": torch.tensor(2.0)}
        meter.add(make_step(number), losses=losses, gradient_norm=torch.tensor(value))
    line = meter.line()
    assert (line["loss"], line["loss/alignment"], line["loss/masked_token"]) == (6.5, 3.5, 1.0)
    assert line["padding_share"] == pytest.approx(1 / 21)
    seconds = 12 / line["samples_per_second"]
    assert seconds >= 0.05
    assert line["tokens_per_second"] == pytest.approx(56 / seconds)
    assert line["tflops_per_device"] == pytest.approx(28 / seconds)
    assert line["model_flops_utilisation"] == pytest.approx(28 / seconds / 11)


def test_a_second_line_begins_anew(accelerator, tmp_path):
    meter = make_meter(accelerator, tmp_path)
    for number, value in ((1, 2.0), (2, 5.0)):
        losses = {"alignment": torch.tensor(6 * value), "masked_token": torch.tensor(0.0)}
        meter.add(make_step(number), losses=losses, gradient_norm=torch.tensor(value))
        assert meter.line()["loss"] == value


def test_a_logged_loss_is_a_mean_over_items_not_over_steps(accelerator, tmp_path):
    meter = make_meter(accelerator, tmp_path)
    for num_masked, value in ((1, 2.0), (4, 30.0)):  # twice as many, as there are two micro-batches
        losses = {"alignment": torch.tensor(0.0), "masked_token": torch.tensor(value)}
        meter.add(make_step(1, num_masked=num_masked), losses=losses, gradient_norm=torch.tensor(1.0))
    assert meter.line()["loss/masked_token"] == 32 / 10


def test_a_loss_without_items_is_logged_as_0(accelerator, tmp_path):
    meter = make_meter(accelerator, tmp_path)
    losses = {"alignment": torch.tensor(6.0), "masked_token": torch.tensor(0.0)}
    meter.add(make_step(1, num_masked=0), losses=losses, gradient_norm=torch.tensor(1.0))
    assert meter.line()["loss/masked_token"] == 0


def test_what_is_done_in_a_pause_counts_in_no_rate(accelerator, tmp_path):
    meter = make_meter(accelerator, tmp_path)
    losses = {"alignment": torch.tensor(0.0), "masked_token": torch.tensor(0.0)}
    meter.add(make_step(1), losses=losses, gradient_norm=torch.tensor(1.0))
    start = time.monotonic()
    with meter.paused():
        time.sleep(0.2)
    line = meter.line()
    assert 6 / line["samples_per_second"] <= time.monotonic() - start - 0.2 + 0.1


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("read", ["line", "demand_finite"])
def test_a_loss_that_is_not_finite_is_named_with_its_step(accelerator, tmp_path, value, read):
    meter = make_meter(accelerator, tmp_path)
    losses = {"alignment": torch.tensor(1.0), "masked_token": torch.tensor(value)}
    meter.add(make_step(17), losses=losses, gradient_norm=torch.tensor(1.0))
    with pytest.raises(FloatingPointError, match=rf"masked_token is {value} at step 17.*rm -r {tmp_path}"):
        getattr(meter, read)()


def test_a_gradient_that_is_not_finite_is_found_though_it_was_not_the_last(accelerator, tmp_path):
    """Its step has spoilt the weights, whose losses nobody has seen yet."""
    meter = make_meter(accelerator, tmp_path)
    losses = {"alignment": torch.tensor(1.0), "masked_token": torch.tensor(1.0)}
    for number, norm in ((3, float("nan")), (4, 1.0)):
        meter.add(make_step(number), losses=losses, gradient_norm=torch.tensor(norm))
    with pytest.raises(FloatingPointError, match="the norm of the gradient is nan at step 4"):
        meter.demand_finite()


def test_a_line_has_the_norm_of_the_last_gradient(accelerator, tmp_path):
    meter = make_meter(accelerator, tmp_path)
    losses = {"alignment": torch.tensor(1.0), "masked_token": torch.tensor(1.0)}
    for norm in (3.0, 7.0):
        meter.add(make_step(1), losses=losses, gradient_norm=torch.tensor(norm))
    assert meter.line()["grad_norm"] == 7.0


def test_a_clock_without_minutes_is_never_over():
    assert not Clock(None).is_over()
    assert Clock(1e-9).is_over()


def test_the_last_evaluation_is_named_without_its_prefix(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [{"step": 1, "eval/accuracy": 0.1}, {"step": 2, "eval/accuracy": 0.8}, {"step": 2, "loss": 1.0}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert last_evaluation(path) == {"accuracy": 0.8}


def test_a_training_without_an_evaluation_is_an_error(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 3.0}\n')
    with pytest.raises(ValueError, match="holds no evaluation"):
        last_evaluation(tmp_path / "metrics.jsonl")
