"""What the files and folders that settings name hold, as tables that are inputs of rules.

Snakemake knows a folder by one time and a large file by its own, which say nothing of what is in them. Here every file
is looked at whenever Snakemake parses: by name, size and time, and by sha256 where one of these is new. A table changes
when what is in the files does, so a file that was only touched re-runs nothing. This is no job, as what follows a job
that is planned is planned too, whatever that job will find.

The input of a rule is the table's sha256, in a file of its own. Of small files Snakemake compares what they hold, of
larger ones, such as a table of many pictures, the time alone: an edit that was undone would run all of it again.
"""

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from extract.plain_files import files_below, plain_status

MANY_BYTES = 1 << 30  # that take a while to read


class Seen(NamedTuple):
    """A file when it was last read."""

    size: int  # bytes
    time_ns: int
    sha256: str


class Contents:
    """The tables of one run, in a folder of their own."""

    def __init__(self, folder: Path, *, looks: bool) -> None:
        """`looks`: false in the processes that Snakemake starts for its jobs; they take the tables that are there."""
        self.folder, self.looks = folder, looks
        self._done: set[Path] = set()

    def of(self, setting: str, path: str | Path) -> str:
        """The input for a file, or for all below a folder; where there is nothing, the path, which is missed."""
        path = Path(path)
        if not path.exists():
            return str(path)
        return self._table(setting, path, lambda: [path] if path.is_file() else files_below(path))

    def of_rows(self, setting: str, rows: list, folder: Path, files: Iterable[Path]) -> str:
        """The input for some rows, and for the files below a folder that they name."""
        return self._table(setting, folder, lambda: files, rows=rows)

    def _table(self, name: str, root: Path, find: Callable[[], Iterable[Path]], *, rows: list | None = None) -> str:
        mark = self.folder / f"{name}.sha256"
        if not self.looks or mark in self._done:
            return str(mark)
        self._done.add(mark)
        memory = mark.with_suffix(".seen.json")
        now = look(sorted(set(find())), remembered(memory), name=name)
        lines = [json.dumps(row) for row in rows or []]
        lines += [json.dumps([os.path.relpath(path, root), seen.size, seen.sha256]) for path, seen in now.items()]
        table = "".join(f"{line}\n" for line in lines)
        write_if_other(mark.with_suffix(".jsonl"), table)
        write_if_other(mark, f"{hashlib.sha256(table.encode()).hexdigest()}\n")
        write_if_other(memory, json.dumps(now))
        return str(mark)


def remembered(memory: Path) -> dict[str, Seen]:
    """The files as they were, by path; none where that is not known, or its file is damaged."""
    try:
        return {path: Seen(*fields) for path, fields in json.loads(memory.read_text()).items()}
    except (FileNotFoundError, ValueError, TypeError, AttributeError):
        return {}


def look(files: list[Path], before: dict[str, Seen], *, name: str) -> dict[str, Seen]:
    """The files that are there, by path; those that are as they were `before` are not read."""
    now: dict[str, Seen] = {}
    new: list[tuple[Path, os.stat_result]] = []
    for path in files:
        try:
            status = plain_status(path)
        except OSError:
            continue  # a link to nowhere, a queue, or what a csv names and nobody has: its row is dropped with a reason
        known = before.get(str(path))
        if known is not None and (known.size, known.time_ns) == (status.st_size, status.st_mtime_ns):
            now[str(path)] = known
        else:
            new.append((path, status))
    if (num_bytes := sum(status.st_size for _, status in new)) > MANY_BYTES:
        print(f"{name}: reading {len(new)} files, {num_bytes / 1e9:.1f} GB, that are new", file=sys.stderr)
    for path, status in new:
        now[str(path)] = Seen(status.st_size, status.st_mtime_ns, digest(path))
    return dict(sorted(now.items()))


def digest(path: Path) -> str:
    """The sha256 of a file; of one that may not be read, that."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"unread: {error.strerror}"


def write_if_other(path: Path, text: str) -> None:
    """Write a file, whole; one that holds this text already keeps its time."""
    if path.exists() and path.read_text() == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(text)
    partial.replace(path)
