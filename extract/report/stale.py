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

# Folders of a run that have a folder a split, with a file or folder a shard.
BY_SHARD = (
    *("rows", "captions", "images", "checks", "features", "pairs", "published", "journals"),
    *("search/embeddings", "contents/source", "times/*"),
)
SHARD = re.compile(r"\d{5}(?!\d)")  # at the beginning of a name
PARTIAL = re.compile(r"\.(.+)\.\d+\.partial")  # what `whole_file` calls a file until that is whole


def main(
    results: Annotated[Path, typer.Argument(help="folder of a run")],
    shards: Annotated[list[str], typer.Argument(help="of the run, as split/shard")],
    removes: Annotated[bool, typer.Option("--remove", help="remove them")] = False,
    fetched: Annotated[Path | None, typer.Option(help="a file elsewhere that a rule of the run fetches")] = None,
) -> None:
    """Print what is stale in the folder RESULTS of a run whose SHARDS these are; no job of it may be running."""
    found = sorted({*stale_in(results, set(shards)), *(partials_of(fetched) if fetched else [])})
    for path in found:
        print(path)
        if removes:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    print(f"{len(found)} {'removed' if removes else 'that no rule would make'}")


def stale_in(results: Path, shards: Set[str]) -> Iterator[Path]:
    """Files and folders of other shards than these, and what killed jobs left half written; the outermost ones."""
    others = {path for stage in BY_SHARD for path in results.glob(f"{stage}/*/*") if is_of_another_shard(path, shards)}
    yield from others
    for path in {*results.rglob(".*.partial"), *results.glob("*/*/.*.partial")}:  # the second: in linked folders too
        is_kept = "earlier" in path.relative_to(results).parts
        if PARTIAL.fullmatch(path.name) and not is_kept and others.isdisjoint(path.parents):
            yield path


def partials_of(file: Path) -> list[Path]:
    """What killed jobs left of a file."""
    beside = file.parent.iterdir() if file.parent.is_dir() else []
    return [path for path in beside if (name := PARTIAL.fullmatch(path.name)) and name[1] == file.name]


def is_of_another_shard(path: Path, shards: Set[str]) -> bool:
    """Whether a path is named as a shard is, below its split, and the run has no such shard."""
    shard = SHARD.match(path.name)
    return shard is not None and f"{path.parent.name}/{shard[0]}" not in shards


if __name__ == "__main__":
    run(main)
