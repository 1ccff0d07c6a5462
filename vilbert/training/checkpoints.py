"""Checkpoints that are whole or not there: a crash while one is written leaves the one before."""

import json
import os
import shutil
from pathlib import Path

PREFIX = "checkpoint-"
STAGING = "staging"  # where a checkpoint lies while it is written


def checkpoints_in(folder: Path) -> list[Path]:
    """Whole checkpoints, oldest first."""
    found = [path for path in folder.glob(f"{PREFIX}*") if path.name.removeprefix(PREFIX).isdigit()]
    return sorted(found, key=step_of)


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix(PREFIX))


def publish(folder: Path, step: int, *, num_kept: int) -> None:
    """Move the checkpoint of a step from staging into `folder`, then drop the oldest.

    Its bytes are on the disk before its name is, so that not even a power cut leaves half of one.
    """
    staged, target = folder / STAGING / f"{PREFIX}{step}", folder / f"{PREFIX}{step}"
    for path in sorted(staged.rglob("*"), reverse=True):
        _sync(path)
    if target.exists():
        shutil.rmtree(target)
    staged.rename(target)
    _sync(folder)
    for old in checkpoints_in(folder)[:-num_kept]:
        shutil.rmtree(old)


def discard_staged(folder: Path) -> None:
    """Remove what a crash left half written."""
    shutil.rmtree(folder / STAGING, ignore_errors=True)


def claim(folder: Path, identity: dict) -> None:
    """Note that the checkpoints of `folder` are of the training that `identity` describes.

    Raises: ValueError if they are of another, with the first value that differs.
    """
    note = folder / "training.json"
    folder.mkdir(parents=True, exist_ok=True)
    identity = json.loads(json.dumps(identity))
    if note.exists() and checkpoints_in(folder):
        before, now = flat(json.loads(note.read_text())), flat(identity)
        for name in sorted(before.keys() | now.keys()):
            if before.get(name) != now.get(name):
                raise ValueError(
                    f"the checkpoints in {folder} are of another training: {name} was {before.get(name)}, "
                    f"is {now.get(name)}; set it back, or start anew with `rm -r {folder}`"
                )
    partial = note.with_suffix(".partial")
    partial.write_text(json.dumps(identity, indent=1, sort_keys=True))
    partial.replace(note)


def flat(tree: dict, prefix: str = "") -> dict:
    """Leaves of nested dicts by dotted path."""
    leaves: dict = {}
    for name, value in tree.items():
        leaves |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return leaves


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
