"""One shard of the caption list as a table: python -m extract.captions.rows."""

import codecs
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from extract.command import run
from extract.settings import SourceSettings
from extract.tables import ROWS, write_table


def main(
    caption_list: Path,
    output: Path,
    split: Annotated[str, typer.Option()],
    shard: Annotated[int, typer.Option()],
    settings: Annotated[SourceSettings, typer.Option(parser=SourceSettings.model_validate_json)],
):
    """Write the rows of one shard of `caption_list`."""
    write_table(output, read_shard(caption_list, split=split, shard=shard, settings=settings), ROWS)


def read_shard(caption_list: Path, *, split: str, shard: int, settings: SourceSettings) -> list[dict]:
    """Rows (tables.ROWS) of shard `shard`; of a longer list, the first `num_rows` lines count.

    Raises: ValueError if the list is shorter than the settings say.
    """
    numbers = shard_range(settings, split=split, shard=shard)
    with caption_list.open("rb") as file:
        lines = list(islice(file, numbers.start, numbers.stop))
    if len(lines) < len(numbers):
        found, num_rows = num_lines(caption_list), settings.splits[split].num_rows
        raise ValueError(
            f"{caption_list} has {found} rows, but source.splits.{split}.num_rows is {num_rows}; set it to {found}"
        )
    return [read_line(line, key=f"{split}-{row:08d}") for row, line in zip(numbers, lines, strict=True)]


def shard_range(settings: SourceSettings, *, split: str, shard: int) -> range:
    """Numbers of the rows of a shard.

    Raises: ValueError if there is no such split, or no row of it in the shard.
    """
    if split not in settings.splits:
        raise ValueError(f"split '{split}' is not in source.splits, which has {sorted(settings.splits)}")
    num_rows = settings.splits[split].num_rows
    first = shard * settings.rows_per_shard
    if first >= num_rows:
        raise ValueError(f"shard {shard} of {split} begins at row {first}, but source.splits.{split} has {num_rows}")
    return range(first, min(first + settings.rows_per_shard, num_rows))


def read_line(line: bytes, *, key: str) -> dict:
    """One line as a row; one that is not `caption TAB url` has no caption and keeps the whole line as its url.

    Bytes that are not UTF-8 become U+FFFD, which a caption rule drops by.
    """
    text = line.removeprefix(codecs.BOM_UTF8).rstrip(b"\r\n").decode("utf-8", errors="replace")
    fields = text.split("\t")
    if len(fields) != 2 or not fields[1].strip():
        return {"key": key, "url": text, "caption": None}
    return {"key": key, "url": fields[1].strip(), "caption": fields[0]}


def num_lines(path: Path) -> int:
    """Lines of a file, the last one too where it does not end in a newline."""
    with path.open("rb") as file:
        return sum(1 for _ in file)


if __name__ == "__main__":
    run(main)
