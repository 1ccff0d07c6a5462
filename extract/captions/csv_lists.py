"""A csv of your own captions as the lists of a run: vilbert caption-csv CAPTIONS PICTURES OUT_DIR.

The csv has a header with the columns file and caption, and a row a caption.
"""

import csv
import random
from collections.abc import Iterable
from pathlib import Path
from shlex import quote
from typing import Annotated, NamedTuple

import typer
import yaml

from extract.command import run
from extract.csv_rows import NumberedRow, read_csv_rows
from extract.plain_files import is_plain_file
from extract.tables import whole_file

COLUMNS = ("file", "caption")


class CsvRow(NamedTuple):
    """One row. A malformed one has no caption, and is itself what stands under file."""

    file: str
    caption: str | None


class Record(NamedTuple):
    """A row and where it stands."""

    line: int  # that it begins in, from 1
    num_lines: int  # more than one where quotes hold line breaks
    row: CsvRow


def main(
    captions: Annotated[Path, typer.Argument(help="csv with the columns file and caption, and a row a caption")],
    pictures: Annotated[Path, typer.Argument(help="folder that the files are named in")],
    out_dir: Annotated[Path, typer.Argument(help="folder to write the lists into")],
    held_out: Annotated[float, typer.Option(min=0, max=1, help="share of the pictures for validation")] = 0.1,
    seed: Annotated[int, typer.Option(help="of which pictures these are")] = 1,
) -> None:
    """Write OUT_DIR/train.csv, val.csv and source.yaml, which names them and PICTURES, the folder of the files."""
    records = read_records(captions)
    rows = [record.row for record in records]
    if all(row.caption is None for row in rows):
        example = f", such as line {records[0].line}: '{rows[0].file}'" if rows else ""
        raise ValueError(f"of {len(rows)} rows of {captions} none has as many fields as its first line{example}")
    missing = missing_files(rows, pictures)
    splits = hold_out(rows, share=held_out, seed=seed)
    for name, part in splits.items():
        write_captions(out_dir / f"{name}.csv", part)
        print(f"{name}: {len({row.file for row in part})} pictures, {len(part)} captions")
    source = {
        "kind": "folder",
        "pictures": str(pictures),
        "splits": {name: {"url": str(out_dir / f"{name}.csv"), "num_rows": len(part)} for name, part in splits.items()},
    }
    with whole_file(out_dir / "source.yaml") as partial:
        partial.write_text(yaml.safe_dump({"source": source}, sort_keys=False, allow_unicode=True), encoding="utf-8")
    if malformed := [record for record in records if record.row.caption is None]:
        line, _, row = malformed[0]
        faults = "with too few or too many fields, or a quote that is not closed"
        print(f"{len(malformed)} {faults}, which will be dropped, such as line {line}: '{row.file}'")
    if long := [record for record in records if record.num_lines > 1]:
        line, num_lines, _ = max(long, key=lambda record: record.num_lines)
        print(f"{len(long)} of several lines, such as that of lines {line} to {line + num_lines - 1}: is a quote open?")
    if missing:
        print(f"{len(missing)} without a file in {pictures}, which will be dropped, such as '{missing[0]}'")
    configs = "workflow/configs/conceptual_captions.yaml workflow/configs/own_data.yaml"
    print(f"next: snakemake --configfile {configs} {quote(str(out_dir / 'source.yaml'))} -- all")


def read_captions(path: Path) -> list[CsvRow]:
    """The rows in their order, as `read_records`."""
    return [record.row for record in read_records(path)]


def read_records(path: Path) -> list[Record]:
    """The rows in their order. Bytes that are not UTF-8 become U+FFFD, which a caption rule drops by.

    Raises: FileNotFoundError; ValueError if a column is missing.
    """
    return [Record(row.line, row.num_lines, to_row(row)) for row in read_csv_rows(path, COLUMNS)]


def to_row(row: NumberedRow) -> CsvRow:
    """A row of any csv as one of captions."""
    if row.values is None or not row.values["file"]:
        return CsvRow(row.text, None)
    return CsvRow(row.values["file"], row.values["caption"])


def write_captions(path: Path, rows: Iterable[CsvRow]) -> None:
    """A csv that `read_captions` gives `rows` of."""
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)  # else a \r in a field would end its row
        writer.writerow(COLUMNS)
        writer.writerows((row.file,) if row.caption is None else row for row in rows)


def picture_path(pictures: Path, file: str) -> Path | None:
    """Where a file that a csv names lies. Null: it leaves the folder by `..`, or by an absolute path to elsewhere."""
    path = pictures / file
    is_below = path.absolute().is_relative_to(pictures.absolute())
    return path if is_below and ".." not in Path(file).parts else None


def missing_files(rows: Iterable[CsvRow], pictures: Path) -> list[str]:
    """The files that are not there, or outside the folder, each once.

    Raises: FileNotFoundError if none is there.
    """
    files = list(dict.fromkeys(row.file for row in rows if row.caption is not None))
    missing = [file for file in files if (path := picture_path(pictures, file)) is None or not is_plain_file(path)]
    if len(missing) == len(files):
        example = f", such as {pictures / missing[0]}" if missing else ""
        raise FileNotFoundError(
            f"none of the {len(files)} files that the captions name is in {pictures}{example}; name them from there on"
        )
    return missing


def hold_out(rows: list[CsvRow], *, share: float, seed: int) -> dict[str, list[CsvRow]]:
    """The rows by split: all captions of a picture in one, behind each other, as one shard then stores it once.

    Raises: ValueError if a split would be empty.
    """
    by_file: dict[str, list[CsvRow]] = {}
    for row in rows:
        by_file.setdefault(row.file, []).append(row)
    pictures = sorted({row.file for row in rows if row.caption is not None})
    num_held_out = round(share * len(pictures))
    if not 0 < num_held_out < len(pictures):
        raise ValueError(
            f"--held-out {share} of {len(pictures)} pictures leaves a split without any; give another share"
        )
    held_out = set(random.Random(seed).sample(pictures, num_held_out))
    return {
        name: [row for file, part in by_file.items() if (file in held_out) == is_held_out for row in part]
        for name, is_held_out in (("train", False), ("val", True))
    }


if __name__ == "__main__":
    run(main)
