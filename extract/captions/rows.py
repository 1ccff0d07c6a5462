"""One shard of the caption list as a table: python -m extract.captions.rows."""

import codecs
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from extract.command import run
from extract.tables import ROWS, write_table


def main(
    caption_list: Path,
    output: Path,
    split: Annotated[str, typer.Option()],
    first_row: Annotated[int, typer.Option(help="of the list, from 0")],
    num_rows: Annotated[int, typer.Option(help="of the shard")],
):
    """Write the rows of one shard of `caption_list`."""
    write_table(output, read_shard(caption_list, range(first_row, first_row + num_rows), split=split), ROWS)


def read_shard(caption_list: Path, numbers: range, *, split: str) -> list[dict]:
    """Rows (tables.ROWS) of the lines with these numbers.

    Raises: ValueError if the list is shorter than the settings say.
    """
    with caption_list.open("rb") as file:
        lines = list(islice(file, numbers.start, numbers.stop))
    if len(lines) < len(numbers):
        found = num_lines(caption_list)
        raise ValueError(
            f"{caption_list} has {found} rows, but source.splits.{split}.num_rows is {numbers.stop} or more; "
            f"set it to {found}"
        )
    return [read_line(line, key=f"{split}-{row:08d}") for row, line in zip(numbers, lines, strict=True)]


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
