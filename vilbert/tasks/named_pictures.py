"""The pictures that a task's table names, for packing: python -m vilbert.tasks.named_pictures KIND TABLE OUT_LIST."""

import csv
from pathlib import Path

from extract.command import run
from extract.tables import whole_file
from vilbert.tasks.table import kind_named


def main(kind: str, table: Path, output: Path) -> None:
    """Write a csv with the column file."""
    with whole_file(output) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(["file"])
        writer.writerows([name] for name in kind_named(kind).pictures(table))


if __name__ == "__main__":
    run(main)
