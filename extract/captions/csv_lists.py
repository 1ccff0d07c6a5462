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
from extract.tables import whole_file

COLUMNS = ("file", "caption")
DELIMITERS = ",;\t"  # spreadsheets of some countries write the second one


class CsvRow(NamedTuple):
    """One row. A malformed one has no caption, and is itself what stands under file."""

    file: str
    caption: str | None


def main(
    captions: Annotated[Path, typer.Argument(help="csv with the columns file and caption, and a row a caption")],
    pictures: Annotated[Path, typer.Argument(help="folder that the files are named in")],
    out_dir: Annotated[Path, typer.Argument(help="folder to write the lists into")],
    held_out: Annotated[float, typer.Option(min=0, max=1, help="share of the pictures for validation")] = 0.1,
    seed: Annotated[int, typer.Option(help="of which pictures these are")] = 1,
) -> None:
    """Write OUT_DIR/train.csv, val.csv and source.yaml, which names them and PICTURES, the folder of the files."""
    rows = read_captions(captions)
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
    if malformed := [row.file for row in rows if row.caption is None]:
        print(f"{len(malformed)} with too few or too many fields, which will be dropped, such as '{malformed[0]}'")
    if missing:
        print(f"{len(missing)} without a file in {pictures}, which will be dropped, such as '{missing[0]}'")
    configs = "workflow/configs/conceptual_captions.yaml workflow/configs/own_data.yaml"
    print(f"next: snakemake --configfile {configs} {quote(str(out_dir / 'source.yaml'))} -- all")


def read_captions(path: Path) -> list[CsvRow]:
    """The rows in their order. Bytes that are not UTF-8 become U+FFFD, which a caption rule drops by.

    Raises: FileNotFoundError; ValueError if a column is missing, or a quote is left open.
    """
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        first_line = file.readline()
        file.seek(0)
        reader = csv.reader(file, delimiter=max(DELIMITERS, key=first_line.count))
        try:
            lines = [fields for fields in reader if fields]
        except csv.Error as error:
            raise ValueError(f"{path}, line {reader.line_num}: {error}; is a quote left open?") from error
    header = [name.strip() for name in lines[0]] if lines else []
    if missing := [name for name in COLUMNS if name not in header]:
        raise ValueError(f"{path} has the columns {header}, expected {' and '.join(missing)} in its first line")
    places = [header.index(name) for name in COLUMNS]
    return [to_row(fields, places=places, num_columns=len(header)) for fields in lines[1:]]


def to_row(fields: list[str], *, places: list[int], num_columns: int) -> CsvRow:
    """The fields of a line as a row."""
    file, caption = (fields[place].strip() for place in places) if len(fields) == num_columns else ("", None)
    return CsvRow(file, caption) if file else CsvRow(",".join(fields), None)


def write_captions(path: Path, rows: Iterable[CsvRow]) -> None:
    """A csv that `read_captions` gives `rows` of."""
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows((row.file,) if row.caption is None else row for row in rows)


def missing_files(rows: Iterable[CsvRow], pictures: Path) -> list[str]:
    """The files that are not there, each once.

    Raises: FileNotFoundError if none is there.
    """
    files = list(dict.fromkeys(row.file for row in rows if row.caption is not None))
    missing = [file for file in files if not (pictures / file).is_file()]
    if len(missing) == len(files):
        example = f", such as {pictures / missing[0]}" if missing else ""
        raise FileNotFoundError(f"none of the {len(files)} files that the captions name is in {pictures}{example}")
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
