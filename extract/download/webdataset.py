"""Published webdataset shards by the same door as downloads.

python -m extract.download.webdataset TAR OUT_ROWS OUT_TAR ..
"""

import tarfile
import time
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from extract.command import run
from extract.download.shard_files import new_shard, write_imported
from extract.download.tar_samples import read_samples


def main(
    source: Path,
    rows: Path,
    tar: Path,
    table: Path,
    stats: Path,
    split: Annotated[str, typer.Option()],
    first_row: Annotated[int, typer.Option(help="of the split, from 0")],
    max_rows: Annotated[int, typer.Option(help="samples that the tar may hold")],
    max_pixels: Annotated[int, typer.Option(help="width x height of an image")],
    max_side: Annotated[int | None, typer.Option(help="pixels; larger images are stored smaller")] = None,
) -> None:
    """Take the samples of one published tar as the rows and images of one shard."""
    start_time = time.time()
    image_rows = import_tar(
        source, tar, split=split, first_row=first_row, max_rows=max_rows, max_pixels=max_pixels, max_side=max_side
    )
    write_imported(rows, table, stats, image_rows, start_time=start_time)


def import_tar(
    source: Path,
    output: Path,
    *,
    split: str,
    first_row: int,
    max_rows: int,
    max_pixels: int,
    max_side: int | None,
) -> list[dict]:
    """Write the tar of a shard and give its rows of the images table.

    Raises: ValueError for a tar that is not whole, or holds more samples than a shard has rows: two shards would share
        keys.
    """
    image_rows: list[dict] = []
    samples = read_samples(source, max_samples=max_rows)
    try:
        with new_shard(output, max_pixels=max_pixels, max_side=max_side) as take:
            for index, sample in enumerate(tqdm(samples, desc="samples", unit="sample")):
                row: dict = {"key": f"{split}-{first_row + index:08d}", "url": sample.url, "caption": sample.caption}
                row |= take(row, sample.read)
                image_rows.append(row)
    except tarfile.TarError as error:
        raise ValueError(
            f"{source} is no whole tar: {error}; remove it to have it fetched again; compressed ones are not read"
        ) from error
    return image_rows


if __name__ == "__main__":
    run(main)
