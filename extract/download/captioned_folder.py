"""A folder of pictures with a csv of captions by the same door as downloads.

python -m extract.download.captioned_folder
"""

import time
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from extract.captions.csv_lists import CsvRow, picture_path, read_captions
from extract.command import run
from extract.download.shard_files import failure_columns, new_shard, read_picture, write_imported
from extract.plain_files import in_text
from extract.reasons import DownloadFailure, DownloadReason


def main(
    captions: Path,
    pictures: Path,
    rows: Path,
    tar: Path,
    table: Path,
    stats: Path,
    split: Annotated[str, typer.Option()],
    first_row: Annotated[int, typer.Option(help="of the csv, from 0")],
    num_rows: Annotated[int, typer.Option(help="of the shard")],
    max_pixels: Annotated[int, typer.Option(help="width x height of a picture")],
    max_side: Annotated[int | None, typer.Option(help="pixels; larger pictures are stored smaller")] = None,
) -> None:
    """Take one shard's rows of CAPTIONS, and their files below PICTURES, as the rows and images of the shard."""
    start_time = time.time()
    numbers = range(first_row, first_row + num_rows)
    image_rows = import_folder(captions, pictures, tar, numbers, split=split, max_pixels=max_pixels, max_side=max_side)
    write_imported(rows, table, stats, image_rows, start_time=start_time)


def import_folder(
    captions: Path,
    pictures: Path,
    output: Path,
    numbers: range,
    *,
    split: str,
    max_pixels: int,
    max_side: int | None,
) -> list[dict]:
    """Write the tar of a shard, the rows of the csv with these numbers, and give its rows of the images table.

    Raises: ValueError if the csv is shorter than the settings say.
    """
    listed = read_captions(captions)
    if len(listed) < numbers.stop:
        raise ValueError(
            f"{captions} has {len(listed)} rows, but source.splits.{split}.num_rows is {numbers.stop} or more; "
            "make the lists anew with `vilbert caption-csv`"
        )
    first_keys: dict[CsvRow, str] = {}
    for number, listed_row in enumerate(listed):
        first_keys.setdefault(listed_row, f"{split}-{number:08d}")
    outcomes: dict[str, dict] = {}  # by file
    image_rows = []
    with new_shard(output, max_pixels=max_pixels, max_side=max_side) as take:
        for number in tqdm(numbers, desc="captions", unit="row"):
            file, caption = listed[number]
            row = {"key": f"{split}-{number:08d}", "url": file, "caption": caption}
            if failure := row_failure(row, first_key=first_keys[listed[number]]):
                image_rows.append(row | failure_columns(failure))
                continue
            if file not in outcomes:
                outcomes[file] = take(row, partial(read_named, pictures, file))
            image_rows.append(row | outcomes[file])
    return image_rows


def row_failure(row: dict, *, first_key: str) -> DownloadFailure | None:
    """Why the picture of a row is not looked for."""
    if row["caption"] is None:
        return DownloadFailure(DownloadReason.CAPTION_DROPPED, "too few or too many fields")
    if row["key"] != first_key:
        return DownloadFailure(DownloadReason.DUPLICATE_ROW, f"the same file and caption as {first_key}")
    return None


def read_named(pictures: Path, file: str) -> bytes:
    """Raises: DownloadFailure for a file that is not there, or may not be read."""
    if (path := picture_path(pictures, file)) is None:
        raise DownloadFailure(DownloadReason.OUTSIDE_FOLDER, f"{file} is not in {in_text(str(pictures))}")
    return read_picture(path)


if __name__ == "__main__":
    run(main)
