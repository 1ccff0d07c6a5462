import pytest
import torch
from accelerate import Accelerator
from torch import nn

from vilbert.training.checkpoints import (
    STAGING,
    checkpoints_in,
    drop_half_written,
    publish,
    restore_newest,
    write_checkpoint,
)


def stage(folder, step):
    path = folder / STAGING / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "weights").write_text(f"of step {step}")


def test_checkpoints_stand_in_the_order_of_their_steps(tmp_path):
    for step in (9, 100, 20):
        stage(tmp_path, step)
        publish(tmp_path, step, num_kept=5)
    assert [path.name for path in checkpoints_in(tmp_path)] == ["checkpoint-9", "checkpoint-20", "checkpoint-100"]


def test_the_newest_are_kept(tmp_path):
    for step in (1, 2, 13):
        stage(tmp_path, step)
        publish(tmp_path, step, num_kept=2)
    assert [path.name for path in checkpoints_in(tmp_path)] == ["checkpoint-2", "checkpoint-13"]
    assert (tmp_path / "checkpoint-13/weights").read_text() == "of step 13"


def test_what_a_crash_left_half_written_is_no_checkpoint(tmp_path):
    stage(tmp_path, 7)
    publish(tmp_path, 7, num_kept=2)
    stage(tmp_path, 11)
    assert [path.name for path in checkpoints_in(tmp_path)] == ["checkpoint-7"]
    drop_half_written(tmp_path)
    assert not (tmp_path / STAGING).exists()


def test_a_step_that_is_taken_again_replaces_its_checkpoint(tmp_path):
    for _ in range(2):
        stage(tmp_path, 3)
        publish(tmp_path, 3, num_kept=2)
    assert len(checkpoints_in(tmp_path)) == 1


@pytest.fixture
def checkpoint(tmp_path):
    """A function that gives an accelerator with a network, and the folder of its checkpoint of step 3."""
    accelerator = Accelerator(cpu=True)
    network, _ = accelerator.prepare(*make_network())
    write_checkpoint(accelerator, tmp_path, 3, num_kept=2)
    yield accelerator, network, tmp_path / "checkpoint-3"
    accelerator.free_memory()


def make_network():
    network = nn.Linear(3, 2)
    return network, torch.optim.AdamW(network.parameters())


def test_a_checkpoint_is_taken_up(checkpoint):
    accelerator, network, path = checkpoint
    before, drawn = network.weight.detach().clone(), torch.rand(1)
    nn.init.zeros_(network.weight)
    assert restore_newest(accelerator, path.parent) == 3
    assert torch.equal(network.weight, before)
    assert torch.equal(torch.rand(1), drawn)


@pytest.mark.parametrize("name", ["optimizer.bin", "pytorch_model.bin", "random_states_0.pkl"])
@pytest.mark.parametrize("damage", ["missing", "cut", "empty"])
def test_a_checkpoint_that_lacks_something_is_named_and_the_one_before_it(checkpoint, name, damage):
    accelerator, _, path = checkpoint
    content = (path / name).read_bytes()
    (path / name).unlink()
    if damage != "missing":
        (path / name).write_bytes(content[: len(content) // 2] if damage == "cut" else b"")
    with pytest.raises(OSError, match=r"checkpoint-3 cannot be read: .*; go on from the one before with `rm -r .*-3`$"):
        restore_newest(accelerator, path.parent)


def test_a_checkpoint_of_spread_weights_is_refused_by_a_training_of_whole_ones(checkpoint):
    accelerator, _, path = checkpoint
    (path / "pytorch_model.bin").rename(path / "pytorch_model_fsdp.bin")
    with pytest.raises(ValueError, match=r"checkpoint-3 was written with runtime.fsdp: true; set it back to go on"):
        restore_newest(accelerator, path.parent)
