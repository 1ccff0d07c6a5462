"""A folder of images as a shard, for extraction: python -m extract.download.folder FOLDER OUT_TAR OUT_TABLE.

An image's key is its file name without the suffix, as the tasks' annotations call it.
"""

import tarfile
from itertools import pairwise
from pathlib import Path

from tqdm import tqdm

from extract.command import run
from extract.download.shard_files import ShardTar, write_images_table
from extract.images.decoder import Decoders
from extract.tables import whole_file

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"}
MAX_PIXELS = 100_000_000  # width x height; the header alone may claim more


def main(folder: Path, tar: Path, table: Path) -> None:
    """Write every image below FOLDER to OUT_TAR; every file of an image is a row of OUT_TABLE."""
    write_images_table(table, pack_folder(folder, tar))


def pack_folder(folder: Path, output: Path) -> list[dict]:
    """Write the tar; give its rows of the images table, in ascending order of the keys.

    Raises: FileNotFoundError without an image; ValueError for two images of one name.
    """
    paths = sorted((path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES), key=by_key)
    if not paths:
        raise FileNotFoundError(f"no image in {folder}: expected files that end in {', '.join(sorted(SUFFIXES))}")
    for one, other in pairwise(paths):
        if one.stem == other.stem:
            raise ValueError(f"{one} and {other} have one name, which annotations could not tell apart; rename one")
    rows = []
    with (
        whole_file(output) as partial,
        tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as tar,
        Decoders(max_pixels=MAX_PIXELS, max_side=None) as decoders,
    ):
        shard = ShardTar(tar)
        for path in tqdm(paths, desc="images", unit="image"):
            row: dict = {"key": path.stem, "url": path.name, "caption": None}
            rows.append(row | shard.take(row, path.read_bytes, decoders))
    return rows


def by_key(path: Path) -> tuple[bytes, Path]:
    """Feature stores hold their keys in the order of their bytes."""
    return path.stem.encode(), path


if __name__ == "__main__":
    run(main)
