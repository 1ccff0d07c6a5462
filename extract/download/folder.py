"""A folder of images as a shard, for extraction: python -m extract.download.folder FOLDER OUT_TAR OUT_TABLE.

An image's key is its file name without the suffix, as the tasks' annotations call it.
"""

from functools import partial
from itertools import pairwise
from pathlib import Path

from tqdm import tqdm

from extract.command import run
from extract.download.shard_files import failure_columns, new_shard, read_picture, write_images_table
from extract.images.decoding import SUFFIXES
from extract.plain_files import files_below, in_text
from extract.reasons import DownloadFailure, DownloadReason

MAX_PIXELS = 100_000_000  # width x height; the header alone may claim more


def main(folder: Path, tar: Path, table: Path) -> None:
    """Write every image below FOLDER to OUT_TAR; every file of the folder is a row of OUT_TABLE."""
    write_images_table(table, pack_folder(folder, tar))


def pack_folder(folder: Path, output: Path) -> list[dict]:
    """Write the tar; give the rows of the images table: the images in ascending order of the keys, then other files.

    Raises: FileNotFoundError without an image; ValueError for two images of one name.
    """
    files = files_below(folder)
    images = sorted((path for path in files if path.suffix.lower() in SUFFIXES), key=by_key)
    if not images:
        raise FileNotFoundError(f"no image in {folder}: expected files that end in {', '.join(sorted(SUFFIXES))}")
    for one, other in pairwise(images):
        if one.stem == other.stem:
            raise ValueError(f"{one} and {other} have one name, which annotations could not tell apart; rename one")
    rows = []
    with new_shard(output, max_pixels=MAX_PIXELS, max_side=None) as take:
        for path in tqdm(images, desc="images", unit="image"):
            row: dict = {"key": key_of(path), "url": in_text(path.name), "caption": None}
            rows.append(row | take(row, partial(read_picture, path)))
    others = [path for path in files if path.suffix.lower() not in SUFFIXES]
    return rows + [no_image(in_text(str(path.relative_to(folder)))) for path in others]


def key_of(path: Path) -> str:
    return in_text(path.stem)


def by_key(path: Path) -> tuple[bytes, Path]:
    """Feature stores hold their keys in the order of their bytes."""
    return key_of(path).encode(), path


def no_image(name: str) -> dict:
    """The row of a file that is not looked into."""
    failure = DownloadFailure(DownloadReason.NOT_AN_IMAGE, f"expected one of {', '.join(sorted(SUFFIXES))}")
    return {"key": name, "url": name, "caption": None} | failure_columns(failure)


if __name__ == "__main__":
    run(main)
