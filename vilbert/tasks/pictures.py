"""The pictures that a task's own table names: which features are theirs, and which of them are one picture."""

from pathlib import Path, PurePosixPath
from typing import NamedTuple

from extract.regions.store import RegionStore
from extract.tables import IMAGES, read_rows


class Picture(NamedTuple):
    """What a table's name for a picture leads to."""

    key: str  # of its features; where there are none, what became of it, which is no key
    identity: str  # the same for a picture under two names


class Pictures:
    """By the names of a table.

    Args:
        images: the images table of what was packed; None: the features are a store that was there already, whose keys
            are the names, with their suffix or without.
    """

    def __init__(self, store: RegionStore, images: Path | None):
        self._store = store
        rows = [] if images is None else read_rows(images, IMAGES)
        self._packed = {row["url"]: to_picture(row) for row in rows}
        self._are_packed = images is not None

    def __getitem__(self, file: str) -> Picture:
        if self._are_packed:
            return self._packed.get(file, Picture(f"{file}: not looked for", file))
        without_suffix = str(PurePosixPath(file).with_suffix("")) if file.strip("./") else file
        key = next((name for name in (file, without_suffix) if name in self._store), file)
        return Picture(key, key)


def to_picture(row: dict) -> Picture:
    """Of a row of the images table."""
    if row["image_key"] is None:
        return Picture(f"{row['url']}: {row['error_message']}, {row['detail']}", row["url"])
    return Picture(row["image_key"], row["sha256"])
