"""What ends a pretraining, and what it leaves: before the first step, and in the middle."""

import resource
import signal
import subprocess
import sys
import time

import pytest
import torch
from commands import ONE_THREAD, failure, succeed

from vilbert.training.checkpoints import checkpoints_in
from vilbert.training.folder import read_note, write_note
from vilbert.training.metrics_file import read_metrics

pytestmark = pytest.mark.slow


def test_another_feature_width_is_an_error_before_the_first_step(world, tmp_path):
    message = failure(world.command(tmp_path, model={"visual_feature_size": 19}))
    assert message.startswith("error: the stores hold features of 17 numbers, model.visual_feature_size is 19")


def test_a_tracker_that_is_not_installed_is_an_error_before_the_first_step(world, tmp_path):
    message = failure(world.command(tmp_path, runtime={"trackers": ["tensorboard", "trackio"]}))
    assert message == "error: runtime.trackers names trackio, which is not installed; pip install trackio"


def test_weights_cannot_be_spread_where_there_is_no_gpu(world, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    message = failure(world.command(tmp_path, runtime={"fsdp": True}))
    assert message.startswith("error: runtime.fsdp is true, but there is no GPU")


def test_an_unfinished_training_of_other_settings_is_refused_and_stays(world, tmp_path):
    succeed(world.command(tmp_path, settings={"optimizer": {"num_epochs": 1}}))
    write_note(tmp_path / "checkpoints", read_note(tmp_path / "checkpoints") | {"ended": None})  # as if it was killed
    before = checkpoints_in(tmp_path / "checkpoints")
    message = failure(world.command(tmp_path, settings={"optimizer": {"num_epochs": 1, "learning_rate": 0.002}}))
    assert "pretraining.optimizer.learning_rate was 0.003, is 0.002" in message
    assert checkpoints_in(tmp_path / "checkpoints") == before


def test_a_loss_that_is_not_finite_stops_the_training_before_its_checkpoint(world, tmp_path):
    message = failure(world.command(tmp_path, settings={"optimizer": {"learning_rate": 1e30, "warmup_share": 0}}))
    assert "is nan at step" in message
    assert "lower learning_rate" in message
    step = int(message.split("at step ")[1].split(";")[0])
    assert all(int(path.name.split("-")[1]) < step for path in checkpoints_in(tmp_path / "checkpoints"))


def test_a_full_disk_stops_the_training_and_leaves_the_checkpoint_before(world, tmp_path):
    """The size that a file may have stands in for the disk: the second training's optimizer state is beyond it."""
    succeed(world.command(tmp_path, settings={"optimizer": {"num_epochs": 1}}))
    good = checkpoints_in(tmp_path / "checkpoints")[-1]
    content = {path.name: path.read_bytes() for path in good.iterdir()}
    for path in checkpoints_in(tmp_path / "checkpoints")[:-1]:
        assert path != good
    limit = (good / "optimizer.bin").stat().st_size - 1
    (tmp_path / "checkpoints/training.json").unlink()
    message = failure(
        world.command(tmp_path, settings={"optimizer": {"num_epochs": 2}}),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert "could not be written" in message
    assert "make room and start again" in message
    assert {path.name: path.read_bytes() for path in good.iterdir()} == content


def test_a_second_process_of_a_training_is_refused_until_the_first_is_killed(world, tmp_path):
    """As by `snakemake --unlock` after a Snakemake that was killed: its training lives on."""
    command = world.command(tmp_path, settings={"optimizer": {"num_epochs": 300}}, runtime={"num_workers": 2})
    first = subprocess.Popen([sys.executable, *command], stderr=subprocess.DEVNULL, env=ONE_THREAD)
    lines, deadline = tmp_path / "checkpoints/metrics.jsonl", time.monotonic() + 120
    while not (lines.exists() and len(read_metrics(lines)) > 5) and time.monotonic() < deadline:
        time.sleep(0.02)
    try:
        expected = f"error: another process is writing to {tmp_path}/checkpoints; wait until it has ended, or end it"
        assert failure(command).startswith(expected)
        assert first.poll() is None
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    second = subprocess.Popen([sys.executable, *command], stderr=subprocess.PIPE, text=True, env=ONE_THREAD)
    num_lines = len(read_metrics(lines))
    while len(read_metrics(lines)) < num_lines + 5 and second.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    second.terminate()
    assert "SIGTERM" in second.communicate(timeout=60)[1]
    steps = [line["step"] for line in read_metrics(lines) if "loss" in line]
    assert steps == list(range(1, len(steps) + 1))


def test_a_training_writes_no_more_once_another_process_has_come_in(world, tmp_path):
    """As on a disk without locks, where the later one only leaves its name."""
    command = world.command(tmp_path, settings={"optimizer": {"num_epochs": 300}})
    process = subprocess.Popen([sys.executable, *command], stderr=subprocess.PIPE, text=True, env=ONE_THREAD)
    lines, deadline = tmp_path / "checkpoints/metrics.jsonl", time.monotonic() + 120
    while not (lines.exists() and len(read_metrics(lines)) > 5) and time.monotonic() < deadline:
        time.sleep(0.02)
    (tmp_path / "checkpoints/.held").write_text("process 7 on another")
    num_lines = len(read_metrics(lines))
    error = process.communicate(timeout=60)[1].strip().splitlines()[-1]
    taken = f"another process has taken {tmp_path}/checkpoints (process 7 on another)"
    assert error == f"error: {taken}; let that one go on"
    assert len(read_metrics(lines)) <= num_lines + 1
    assert process.returncode == 1
