"""The pictures that a csv names as a shard: python -m extract.download.named_pictures LIST FOLDER OUT_TAR OUT_TABLE.

A picture's key is its path from the folder on: two of one name in two folders are two pictures.
"""

import hashlib
import os
from functools import partial
from pathlib import Path

from tqdm import tqdm

from extract.captions.csv_lists import picture_path
from extract.command import run
from extract.csv_rows import read_csv_rows
from extract.download.captioned_folder import read_named
from extract.download.folder import MAX_PIXELS
from extract.download.shard_files import new_shard, write_images_table
from extract.plain_files import in_text

MAX_KEY_BYTES = 255  # of a picture's path as its key; LMDB takes 511, a member of a tar has a suffix behind it


def main(names: Path, folder: Path, tar: Path, table: Path) -> None:
    """Write each picture that the column file of LIST names once to OUT_TAR; each name is a row of OUT_TABLE."""
    files = [row.values["file"] for row in read_csv_rows(names, ["file"]) if row.values is not None]
    write_images_table(table, pack_named(list(dict.fromkeys(files)), folder, tar))


def pack_named(files: list[str], folder: Path, output: Path) -> list[dict]:
    """Write the tar, in ascending order of the keys; give the rows of the images table, `url` being a name.

    Raises: FileNotFoundError if no picture is there.
    """
    outcomes: dict[str, dict] = {}  # by key
    rows = []
    with new_shard(output, max_pixels=MAX_PIXELS, max_side=None) as take:
        for key, file in tqdm(sorted((key_of(file, folder), file) for file in files), desc="pictures", unit="picture"):
            row = {"key": key, "url": file, "caption": None}
            if key not in outcomes:
                outcomes[key] = take(row, partial(read_named, folder, file))
            rows.append(row | outcomes[key])
        if not any(row["status"] == "success" for row in rows):
            why = f"; '{rows[0]['url']}': {rows[0]['error_message']}" if rows else ""
            raise FileNotFoundError(f"none of the {len(rows)} pictures that are named is in {folder}{why}")
    return rows


def key_of(file: str, folder: Path) -> str:
    """The path from the folder on; of a very long one, and of one that leaves the folder, the sha256 of its name."""
    path = picture_path(folder, file)
    key = "" if path is None else in_text(os.path.relpath(path.absolute(), folder.absolute()))
    is_key = 0 < len(key.encode()) <= MAX_KEY_BYTES
    return key if is_key else hashlib.sha256(os.fsencode(file)).hexdigest()


if __name__ == "__main__":
    run(main)
