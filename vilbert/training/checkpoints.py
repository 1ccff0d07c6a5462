"""Checkpoints that are whole or not there: a crash while one is written leaves the one before."""

import os
import pickle
import shutil
from pathlib import Path
from shlex import quote

from accelerate import Accelerator
from accelerate.utils.other import load
from safetensors import SafetensorError
from torch.distributed.checkpoint.api import CheckpointException

from vilbert.training.folder import CHECKPOINT

# torch.save raises RuntimeError on a full disk; torch's checkpoints of spread weights, what is no Exception
UNWRITTEN = (OSError, RuntimeError, SafetensorError, CheckpointException)
UNREADABLE = (*UNWRITTEN, EOFError, KeyError, pickle.UnpicklingError)
STAGING = "staging"  # where a checkpoint lies while it is written


def checkpoints_in(folder: Path) -> list[Path]:
    """Whole checkpoints, oldest first."""
    found = [path for path in folder.glob(f"{CHECKPOINT}*") if path.name.removeprefix(CHECKPOINT).isdigit()]
    return sorted(found, key=step_of)


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix(CHECKPOINT))


def write_checkpoint(accelerator: Accelerator, folder: Path, step: int, *, num_kept: int) -> None:
    """Weights, optimizer and random states of all processes: into staging, then into place.

    Raises: OSError if they cannot be written; the checkpoint before is whole.
    """
    try:
        staged = folder / STAGING / f"{CHECKPOINT}{step}"
        accelerator.save_state(staged, safe_serialization=False)  # it has tied weights
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            publish(folder, step, num_kept=num_kept)
    except UNWRITTEN as error:
        raise OSError(
            f"the checkpoint of step {step} could not be written to {folder}: {error}; "
            "the one before is whole: make room and start again"
        ) from error
    accelerator.wait_for_everyone()


def restore_newest(accelerator: Accelerator, folder: Path) -> int:
    """Take up the newest checkpoint, if there is one; gives the steps that were taken until then, or 0.

    Raises: OSError if it cannot be read; ValueError if its weights are spread and those of this training are not, or
        the other way round.
    """
    found = checkpoints_in(folder)
    if not found:
        return 0
    newest = found[-1]
    is_spread = any(newest.glob("pytorch_model_fsdp*"))
    if is_spread != accelerator.is_fsdp2:
        raise ValueError(f"{newest} was written with runtime.fsdp: {str(is_spread).lower()}; set it back to go on")
    try:
        demand_random_state(newest, accelerator)
        accelerator.load_state(newest)
    except UNREADABLE as error:
        raise OSError(
            f"the checkpoint {newest} cannot be read: {error}; "
            f"go on from the one before with `rm -r {quote(str(newest))}`"
        ) from error
    return step_of(newest)


def demand_random_state(checkpoint: Path, accelerator: Accelerator) -> None:
    """accelerate leaves out a damaged one without a word; of processes that the checkpoint had not, there is none.

    Raises: OSError, or what a damaged file makes of itself.
    """
    path = checkpoint / f"random_states_{accelerator.process_index}.pkl"
    if accelerator.is_main_process or path.exists():
        load(path)


def publish(folder: Path, step: int, *, num_kept: int) -> None:
    """Move the checkpoint of a step from staging into `folder`, then drop the oldest.

    Its bytes are on the disk before its name is, so that not even a power cut leaves half of one.
    """
    staged, target = folder / STAGING / f"{CHECKPOINT}{step}", folder / f"{CHECKPOINT}{step}"
    for path in sorted([staged, *staged.rglob("*")], reverse=True):
        _sync(path)
    if target.exists():
        shutil.rmtree(target)
    staged.rename(target)
    _sync(folder)
    for old in checkpoints_in(folder)[:-num_kept]:
        shutil.rmtree(old.rename(folder / STAGING / old.name))  # half of one is none


def drop_half_written(folder: Path) -> None:
    """What a crash left in staging is no checkpoint."""
    shutil.rmtree(folder / STAGING, ignore_errors=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
