"""Checkpoints that are whole or not taken up: a crash while one is written leaves the one before.

Each lists its files with their checksums, so that what was lost or changed on a disk since is seen.
"""

import json
import os
import pickle
import platform
import shutil
import sys
import time
import zlib
from pathlib import Path
from shlex import quote

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from accelerate.utils.other import load
from safetensors import SafetensorError
from torch.distributed.checkpoint.api import CheckpointException

from extract.hold import holder_of
from vilbert.training.folder import CHECKPOINT

# torch.save raises RuntimeError on a full disk; torch's checkpoints of spread weights, what is no Exception
UNWRITTEN = (OSError, RuntimeError, SafetensorError, CheckpointException)
UNREADABLE = (*UNWRITTEN, EOFError, KeyError, pickle.UnpicklingError)
STAGING = "staging"  # where a checkpoint lies while it is written
CONTENTS = "contents.json"  # of a checkpoint: size and checksum of each of its files, by path
CHUNK = 1 << 24  # bytes that are read at once


def checkpoints_in(folder: Path) -> list[Path]:
    """Checkpoints, oldest first."""
    found = [path for path in folder.glob(f"{CHECKPOINT}*") if path.name.removeprefix(CHECKPOINT).isdigit()]
    return sorted(found, key=step_of)


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix(CHECKPOINT))


def write_checkpoint(accelerator: Accelerator, folder: Path, step: int, *, num_kept: int) -> None:
    """Weights, optimizer and random states of all processes: into staging, then into place.

    Raises: OSError if they cannot be written; the checkpoint before stays.
    """
    try:
        staged = folder / STAGING / f"{CHECKPOINT}{step}"
        accelerator.save_state(staged, safe_serialization=False)  # it has tied weights
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            publish(folder, step, num_kept=num_kept)
    except UNWRITTEN as error:
        before = [path.name for path in checkpoints_in(folder)[-1:]]
        raise OSError(
            f"the checkpoint of step {step} could not be written to {folder}: {error}; make room and start again, "
            f"which goes on from {before[0] if before else 'the beginning'}"
        ) from error
    accelerator.wait_for_everyone()


def restore_newest(accelerator: Accelerator, folder: Path) -> int:
    """Take up the newest whole checkpoint, if there is one; gives the steps that were taken until then, or 0.

    Raises: ValueError if there are checkpoints, but none is whole, or if its weights are spread and those of this
        training are not, or the other way round; OSError if it cannot be read.
    """
    found = [newest_whole(folder) if accelerator.is_main_process else None]
    newest = broadcast_object_list(found)[0]
    if newest is None:
        return 0
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


def demand_shared(accelerator: Accelerator, folder: Path, *, patience: int = 60) -> None:
    """Look whether every process sees the folder that the first one holds.

    Args:
        patience: seconds until a shared disk shows on one node what another wrote.
    Raises: OSError in a process whose node does not.
    """
    holder = broadcast_object_list([holder_of(folder)])[0]
    for _ in range(patience):
        if holder_of(folder) == holder:
            return
        time.sleep(1)
    raise OSError(
        f"{platform.node()} does not see {folder} as the first node does; several nodes need a disk that they share: "
        "start with `snakemake --directory` and a folder on one, or set nodes_per_training to 1"
    )


def newest_whole(folder: Path) -> Path | None:
    """The newest checkpoint that has all that was written; damaged ones after it are told and removed, as their steps
    are taken again. None: there is no checkpoint at all.

    Raises: ValueError if all are damaged, of which none is removed.
    """
    flaws: dict[Path, str] = {}
    for checkpoint in reversed(checkpoints_in(folder)):
        flaw = flaw_of(checkpoint)
        if flaw is None:
            for damaged, its_flaw in flaws.items():
                print(f"{damaged} is damaged: {its_flaw}; going on from {checkpoint.name}", file=sys.stderr)
                shutil.rmtree(damaged)
            return checkpoint
        flaws[checkpoint] = flaw
    if flaws:
        told = "; ".join(f"{path.name}: {flaw}" for path, flaw in flaws.items())
        raise ValueError(f"no checkpoint in {folder} is whole ({told}); to begin anew, `rm -r {quote(str(folder))}`")
    return None


def flaw_of(checkpoint: Path) -> str | None:
    """What a checkpoint lacks of what was written; None: nothing."""
    try:
        contents = json.loads((checkpoint / CONTENTS).read_text())
    except FileNotFoundError:
        return f"it has no {CONTENTS}"
    except ValueError:
        contents = None
    if not isinstance(contents, dict) or not contents:
        return f"{CONTENTS} is not as it was written"
    for name, written in contents.items():
        if not (checkpoint / name).is_file():
            return f"{name} is missing"
        if (found := summed(checkpoint / name)) != written:
            return f"{name} has {found}, was written with {written}"
    return None


def write_contents(checkpoint: Path) -> None:
    """The list that `flaw_of` goes by."""
    paths = sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != CONTENTS)
    contents = {str(path.relative_to(checkpoint)): summed(path) for path in paths}
    (checkpoint / CONTENTS).write_text(json.dumps(contents, indent=1))


def summed(path: Path) -> str:
    """A file's size, and its CRC-32, which takes a tenth of the time of a cryptographic digest."""
    size, checksum = 0, 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            size, checksum = size + len(chunk), zlib.crc32(chunk, checksum)
    return f"{size} bytes, crc32 {checksum:08x}"


def demand_random_state(checkpoint: Path, accelerator: Accelerator) -> None:
    """accelerate leaves out one that cannot be read without a word; of processes that the checkpoint had not, there is
    none.

    Raises: OSError, or what such a file makes of itself.
    """
    path = checkpoint / f"random_states_{accelerator.process_index}.pkl"
    if accelerator.is_main_process or path.exists():
        load(path)


def publish(folder: Path, step: int, *, num_kept: int) -> None:
    """Move the checkpoint of a step from staging into `folder`, then drop the oldest.

    Its bytes are on the disk before its name is, so that not even a power cut leaves half of one.
    """
    staged, target = folder / STAGING / f"{CHECKPOINT}{step}", folder / f"{CHECKPOINT}{step}"
    write_contents(staged)
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
