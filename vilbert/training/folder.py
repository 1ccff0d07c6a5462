"""The folder of a training: of which one it is, whether that has ended, and what it left.

A training is its identity: the settings that matter and the version of the code (`vilbert.settings`), its data by
digest, and of which regions they are (`vilbert.model.origin`). Snakemake deletes the outputs of a rule before it runs
it again, so what has ended is kept here as well, by links to the same bytes. Imported while Snakemake parses, so
nothing heavy is imported here.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from typing import Any

from extract.hold import Hold

NOTE = "training.json"
RESULT = "result"  # what it left
CHECKPOINT = "checkpoint-"  # before the number of a step


class TrainingFolder:
    """Where one training keeps what a killed one goes on from, and what it left when it has ended."""

    def __init__(self, path: Path, identity: dict[str, Any], *, earlier: Path) -> None:
        """`earlier`: where a training goes that has ended when another begins; of a run, beside its trainings."""
        self.path, self.earlier = path, earlier
        self.identity: dict[str, Any] = json.loads(json.dumps(identity))
        self._held: Hold | None = None

    @property
    def has_ended(self) -> bool:
        """Whether this very training did, and left something."""
        note = read_note(self.path)
        return has_ended(note) and note["identity"] == self.identity and (self.path / RESULT).is_dir()

    @property
    def dtype(self) -> Any:
        """What this very training multiplies in, once that has been kept; None before."""
        note = read_note(self.path)
        return note.get("dtype") if note and note["identity"] == self.identity else None

    def keep_dtype(self, dtype: str) -> None:
        """For the next process that goes on with it."""
        write_note(self.path, read_note(self.path) | {"dtype": dtype})

    @property
    def provenance(self) -> dict[str, Any]:
        """What a model is made of, and by which commit, for the record."""
        return self.identity | {"commit": commit()}

    def claim(self, *, num_earlier_kept: int) -> None:
        """Begin, or go on; another training that has ended is set aside first. No other process may, until `let_go`.

        Raises: ValueError if another is unfinished, with all that differs, or if a process is at it.
        """
        self._held = Hold(self.path)
        note = read_note(self.path)
        if note and note["identity"] != self.identity:
            if has_ended(note):
                set_aside(self.path, earlier=self.earlier, num_kept=num_earlier_kept)
                self.let_go()
                self._held = Hold(self.path)
            elif has_checkpoints(self.path):
                self.let_go()
                raise ValueError(refusal(self.path, differences(note["identity"], self.identity)))
        before = note if note and note["identity"] == self.identity else {}
        kept = {"begun": before.get("begun") or now(), "dtype": before.get("dtype")}
        write_note(self.path, {"identity": self.identity, "commit": commit(), **kept, "ended": None})

    def demand(self) -> None:
        """Before each thing that is written to the folder, by the process that claimed it.

        Raises: ValueError if another has come in since, where the disk has no locks.
        """
        if self._held is not None:
            self._held.demand()

    def end(self, outputs: Iterable[Path]) -> None:
        """Keep what the training left, note that it has ended, and let its folder go.

        Raises: ValueError if it is another process's by now.
        """
        self.demand()
        partial = self.path / f".{RESULT}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        for output in outputs:
            link(output, partial / output.name)
        shutil.rmtree(self.path / RESULT, ignore_errors=True)
        partial.rename(self.path / RESULT)
        write_note(self.path, read_note(self.path) | {"ended": now()})
        self.let_go()

    def let_go(self) -> None:
        """Let other processes have the folder, as the end of this one does."""
        if self._held is not None:
            self._held.let_go()

    def give(self, outputs: Iterable[Path]) -> None:
        """Put what an ended training left where it is asked for."""
        for output in outputs:
            link(self.path / RESULT / output.name, output)


def read_note(folder: Path) -> dict[str, Any]:
    """What stands in a training's folder; {} where none began. A note of before 2026-11-28 is an identity alone.

    Raises: ValueError for a damaged one.
    """
    path = folder / NOTE
    if not path.exists():
        return {}
    try:
        note = json.loads(path.read_text())
        if not isinstance(note, dict):
            raise ValueError(f"it holds a {type(note).__name__}")
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged ({error}): to go on from the checkpoints beside it with the settings as they are, "
            f"`rm {quote(str(path))}`; to begin anew, `rm -r {quote(str(folder))}`"
        ) from error
    return note if "identity" in note else {"identity": note, "ended": None}


def write_note(folder: Path, note: dict[str, Any]) -> None:
    partial = folder / f".{NOTE}.partial"
    partial.write_text(json.dumps(note, indent=1, sort_keys=True))
    partial.replace(folder / NOTE)


def has_ended(note: dict[str, Any]) -> bool:
    return bool(note and note["ended"])


def has_checkpoints(folder: Path) -> bool:
    return any(path.name.removeprefix(CHECKPOINT).isdigit() for path in folder.glob(f"{CHECKPOINT}*"))


def set_aside(folder: Path, *, earlier: Path, num_kept: int) -> Path:
    """Move a training's folder to `earlier/<date>-<name>`, where the newest of its name are kept; gives that path."""
    name = name_of(folder, earlier)
    target = earlier / f"{datetime.now(UTC):%Y-%m-%d-%H%M%S-%f}-{name}"
    earlier.mkdir(parents=True, exist_ok=True)
    shutil.move(folder, target)
    kept = sorted(path for path in earlier.iterdir() if path.name.split("-", maxsplit=5)[-1] == name)
    for old in kept[: max(0, len(kept) - num_kept)]:
        shutil.rmtree(old)
    return target


def adopt(folder: Path, outputs: Iterable[Path]) -> None:
    """Keep what a training left whose folder somebody removed: as that of one that has ended, of unknown identity."""
    found = [output for output in outputs if output.exists()]
    if found and not read_note(folder) and not has_checkpoints(folder):
        for output in found:
            link(output, folder / RESULT / output.name)
        write_note(folder, {"identity": {}, "commit": None, "begun": None, "ended": now()})


def force_aside(folder: Path, *, earlier: Path, num_kept: int) -> Path:
    """The same of a folder that nobody has claimed.

    Raises: ValueError if a process is at it.
    """
    held = Hold(folder)
    try:
        return set_aside(folder, earlier=earlier, num_kept=num_kept)
    finally:
        held.let_go()


def name_of(folder: Path, earlier: Path) -> str:
    """'finetune-vqa' of results/<run>/finetune/vqa/checkpoints, where `earlier` is results/<run>/earlier."""
    training = folder.parent
    within = training.relative_to(earlier.parent) if training.is_relative_to(earlier.parent) else training
    return "-".join(within.parts) if within.parts and not within.is_absolute() else training.name


def refusal(folder: Path, reasons: Iterable[str]) -> str:
    """Why a training does not begin, and the ways out."""
    return (
        f"the training in {folder} is unfinished and would be another: {'; '.join(reasons)}; "
        "to go on with it, set that back and start the same command again; "
        f"to set it aside and begin anew, write `snakemake --forcerun={quote(str(folder.parent / 'model'))}` "
        f"and the rest of the command; to give it up, `rm -r {quote(str(folder))}`"
    )


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What is not the same in two identities: 'model.dropout was 0, is 0.1'."""
    old, new = flat(before), flat(now)
    names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    return [f"{name} was {old.get(name)}, is {new.get(name)}" for name in names]


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Leaves of nested dicts by dotted path."""
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        leaves |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return leaves


def link(source: Path, target: Path) -> None:
    """The same files at another place too; copies where the file system has no links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target, copy_function=_link_file)
    else:
        target.unlink(missing_ok=True)
        _link_file(source, target)


def _link_file(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def commit() -> str | None:
    """Of the checkout that this file lies in, for the record; null where it lies in none."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(git, capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return done.stdout.strip() or None


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
