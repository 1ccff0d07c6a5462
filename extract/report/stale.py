"""What is left of shards that a run has no more, and of jobs that were killed: python -m extract.report.stale.

Another `rows_per_shard`, fewer rows or a split less leave files that no rule makes; nothing reads them, but they take
room and look like results.
"""

import re
import shutil
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Annotated

import typer

from extract.command import run

SHARD = re.compile(r"\d{5}(?!\d)")  # at the beginning of a name, in the folder of a split
PARTIAL = re.compile(r"\..*\.partial")
NOT_BY_SHARD = {"checkpoints", "earlier", "tasks", "world", "lists"}  # folders of a run that hold no shards


def main(
    results: Annotated[Path, typer.Argument(help="folder of a run")],
    shards: Annotated[list[str], typer.Argument(help="of the run, as split/shard")],
    removes: Annotated[bool, typer.Option("--remove", help="remove them")] = False,
) -> None:
    """Print what is stale in the folder RESULTS of a run whose SHARDS these are; no job of it may be running."""
    found = list(stale_in(results, set(shards)))
    for path in found:
        print(path)
        if removes:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    print(f"{len(found)} {'removed' if removes else 'that no rule would make'}")


def stale_in(folder: Path, shards: Set[str]) -> Iterator[Path]:
    """Files and folders of other shards than these, and what killed jobs left half written; the outermost ones."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if PARTIAL.fullmatch(path.name) or is_of_another_shard(path, shards):
            yield path
        elif path.is_dir() and path.name not in NOT_BY_SHARD:
            yield from stale_in(path, shards)


def is_of_another_shard(path: Path, shards: Set[str]) -> bool:
    """Whether a path is named as a shard is, below its split, and the run has no such shard."""
    shard = SHARD.match(path.name)
    return shard is not None and f"{path.parent.name}/{shard[0]}" not in shards


if __name__ == "__main__":
    run(main)
