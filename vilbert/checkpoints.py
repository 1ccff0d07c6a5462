"""Checkpoints that are whole or not there: a crash while one is written leaves the one before."""

import json
import shutil
from pathlib import Path

PREFIX = "checkpoint-"


def checkpoints_in(folder: Path) -> list[Path]:
    """Whole checkpoints, oldest first."""
    found = [path for path in folder.glob(f"{PREFIX}*") if path.name.removeprefix(PREFIX).isdigit()]
    return sorted(found, key=step_of)


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix(PREFIX))


def publish(staged: Path, folder: Path, *, num_kept: int) -> None:
    """Move a checkpoint that was written elsewhere on the same disk into `folder`, then drop the oldest."""
    target = folder / staged.name
    if target.exists():
        shutil.rmtree(target)
    staged.rename(target)
    for old in checkpoints_in(folder)[:-num_kept]:
        shutil.rmtree(old)


def claim(folder: Path, identity: dict) -> None:
    """Note that the checkpoints of `folder` are of the training that `identity` describes.

    Raises: ValueError if they are of another, with the first value that differs.
    """
    note = folder / "training.json"
    folder.mkdir(parents=True, exist_ok=True)
    identity = json.loads(json.dumps(identity))
    if note.exists() and checkpoints_in(folder):
        before = flat(json.loads(note.read_text()))
        now = flat(identity)
        for name in sorted(before.keys() | now.keys()):
            if before.get(name) != now.get(name):
                raise ValueError(
                    f"the checkpoints in {folder} are of another training: {name} was {before.get(name)}, "
                    f"is {now.get(name)}; set it back, or remove the folder to start anew"
                )
    note.write_text(json.dumps(identity, indent=1, sort_keys=True))


def flat(tree: dict, prefix: str = "") -> dict:
    """Leaves of nested dicts by dotted path."""
    leaves: dict = {}
    for name, value in tree.items():
        leaves |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return leaves
