import re

import pytest
import torch
from accelerate import Accelerator
from commands import run
from torch import nn

from vilbert.training.checkpoints import (
    CONTENTS,
    STAGING,
    checkpoints_in,
    drop_half_written,
    publish,
    restore_newest,
    write_checkpoint,
    write_contents,
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


def damage(checkpoint, name, kind):
    """What a kill, a copy or a disk may make of a file."""
    path = checkpoint / name
    content = path.read_bytes()
    path.unlink()
    if kind != "missing":
        path.write_bytes(content[: len(content) // 2] if kind == "cut" else b"")


@pytest.mark.parametrize("left", ["{}", "[]", "null", "\0" * 20])
def test_a_list_that_names_no_file_makes_no_checkpoint_whole(checkpoint, left):
    accelerator, _, path = checkpoint
    write_checkpoint(accelerator, path.parent, 5, num_kept=2)
    (path.with_name("checkpoint-5") / CONTENTS).write_text(left)
    assert restore_newest(accelerator, path.parent) == 3


@pytest.mark.parametrize("name", ["optimizer.bin", "pytorch_model.bin", "random_states_0.pkl", CONTENTS])
@pytest.mark.parametrize("kind", ["missing", "cut", "empty"])
def test_a_damaged_checkpoint_is_passed_over_with_a_line_for_the_whole_one_before_it(checkpoint, capsys, name, kind):
    accelerator, network, path = checkpoint
    before = network.weight.detach().clone()
    nn.init.zeros_(network.weight)
    write_checkpoint(accelerator, path.parent, 5, num_kept=2)
    damaged = path.with_name("checkpoint-5")
    damage(damaged, name, kind)
    assert restore_newest(accelerator, path.parent) == 3
    assert torch.equal(network.weight, before)
    assert not damaged.exists()  # or it would be counted as one of those that are kept
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{damaged} is damaged: ")
    assert name in line
    assert line.endswith("going on from checkpoint-3")


def test_a_single_bit_that_a_disk_changed_is_seen(checkpoint, capsys):
    accelerator, _, path = checkpoint
    write_checkpoint(accelerator, path.parent, 5, num_kept=2)
    weights = path.with_name("checkpoint-5") / "pytorch_model.bin"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    assert restore_newest(accelerator, path.parent) == 3
    assert re.search(
        rf"pytorch_model.bin has {len(content)} bytes, crc32 \w{{8}}, was written with {len(content)} bytes, crc32",
        capsys.readouterr().err,
    )


def test_the_empty_folder_that_a_kill_leaves_is_no_checkpoint(checkpoint, capsys):
    accelerator, _, path = checkpoint
    path.with_name("checkpoint-4").mkdir()
    assert restore_newest(accelerator, path.parent) == 3
    assert f"checkpoint-4 is damaged: it has no {CONTENTS}" in capsys.readouterr().err


def test_a_training_whose_checkpoints_are_all_damaged_does_not_begin_anew_by_itself(checkpoint):
    accelerator, _, path = checkpoint
    write_checkpoint(accelerator, path.parent, 5, num_kept=2)
    damage(path, "optimizer.bin", "missing")
    damage(path.with_name("checkpoint-5"), "pytorch_model.bin", "cut")
    expected = (
        rf"no checkpoint in {path.parent} is whole \(checkpoint-5: pytorch_model.bin has \d+ bytes, .*; "
        rf"checkpoint-3: optimizer.bin is missing\); to begin anew, `rm -r {path.parent}`"
    )
    with pytest.raises(ValueError, match=expected):
        restore_newest(accelerator, path.parent)
    assert [one.name for one in checkpoints_in(path.parent)] == ["checkpoint-3", "checkpoint-5"]


def test_what_another_version_of_a_library_wrote_is_named_with_what_to_do(checkpoint):
    """accelerate would go on with other random numbers, without a word."""
    accelerator, _, path = checkpoint
    damage(path, "random_states_0.pkl", "cut")
    write_contents(path)
    with pytest.raises(OSError, match=r"checkpoint-3 cannot be read: .*; go on from the one before with `rm -r .*-3`$"):
        restore_newest(accelerator, path.parent)


def test_a_full_disk_is_told_with_what_the_training_goes_on_from(checkpoint, largest_file):
    accelerator, _, path = checkpoint
    size = (path / "optimizer.bin").stat().st_size
    expected = r"step 5 could not be written to .*; make room and start again, which goes on from checkpoint-3$"
    with largest_file(size - 1), pytest.raises(OSError, match=expected):
        write_checkpoint(accelerator, path.parent, 5, num_kept=2)
    assert restore_newest(accelerator, path.parent) == 3


def test_a_checkpoint_of_spread_weights_is_refused_by_a_training_of_whole_ones(checkpoint):
    accelerator, _, path = checkpoint
    (path / "pytorch_model.bin").rename(path / "pytorch_model_fsdp.bin")
    write_contents(path)
    with pytest.raises(ValueError, match=r"checkpoint-3 was written with runtime.fsdp: true; set it back to go on"):
        restore_newest(accelerator, path.parent)


# Two processes of a training; each goes to the disk of its rank, if the nodes share none.
ON_NODES = """
import os, sys
from pathlib import Path
from accelerate import Accelerator
from extract.command import errors_in_one_line
from extract.hold import Hold
from vilbert.training.checkpoints import demand_shared
if sys.argv[1] == "apart":
    Path(os.environ["RANK"]).mkdir(exist_ok=True)
    os.chdir(os.environ["RANK"])
with errors_in_one_line():
    accelerator = Accelerator(cpu=True)
    held = Hold(Path("checkpoints")) if accelerator.is_main_process else None
    accelerator.wait_for_everyone()
    demand_shared(accelerator, Path("checkpoints"), patience=2)
    accelerator.wait_for_everyone()
accelerator.end_training()
"""


@pytest.mark.slow
@pytest.mark.parametrize(("disks", "is_well"), [("together", True), ("apart", False)])
def test_nodes_that_share_no_disk_are_told_so(tmp_path, disks, is_well):
    (tmp_path / "on_nodes.py").write_text(ON_NODES)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "on_nodes.py", disks]
    done = run(launch, cwd=tmp_path)
    assert (done.returncode == 0) == is_well, done.stderr
    said = re.findall(
        r"error: .* does not see checkpoints as the first node does; several nodes need a disk", done.stderr
    )
    assert bool(said) != is_well
