"""A shard's images as img2dataset leaves them: a tar, a table and a file of statistics.

Source: img2dataset 1.47, writer and logger: key.jpg, key.txt, key.json in NNNNN.tar; NNNNN.parquet; NNNNN_stats.json.
"""

import io
import json
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from extract.images.decoder import Decoders
from extract.images.decoding import ImageFile
from extract.plain_files import in_text, plain_status
from extract.reasons import DownloadFailure, DownloadReason, too_many_bytes
from extract.tables import IMAGES, ROWS, whole_file, write_table

Read = Callable[[], bytes]  # raises DownloadFailure where there is nothing to read
MAX_BYTES = 1 << 28  # of an image that was there already: 89 million pixels that are not compressed


class ShardTar:
    """Adds images to a tar that is the same bytes for the same images."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar

    def add(self, row: dict, image: ImageFile) -> None:
        """`row` is the image's row of the images table."""
        self._member(f"{row['key']}.jpg", image.data)
        self._member(f"{row['key']}.txt", (row["caption"] or "").encode())
        self._member(f"{row['key']}.json", json.dumps({**row, "sha256": image.sha256}, sort_keys=True).encode())

    def _member(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        self._tar.addfile(member, io.BytesIO(data))


@contextmanager
def new_shard(path: Path, *, max_pixels: int, max_side: int | None) -> Iterator[Callable[[dict, Read], dict]]:
    """For images that are there already: the file is there when the block has ended, whole, and not if it failed.

    Gives a function of an image's row and of what reads it. It adds the image, if it is one, and gives the columns of
    the images table that say what became of it.
    """
    with (
        whole_file(path) as unfinished,
        tarfile.open(unfinished, "w", format=tarfile.PAX_FORMAT) as tar,  # for keys of any length and script
        Decoders(max_pixels=max_pixels, max_side=max_side) as decoders,
    ):
        yield partial(take_image, ShardTar(tar), decoders)


def take_image(shard: ShardTar, decoders: Decoders, row: dict, read: Read) -> dict:
    try:
        image = decoders.prepare(read())
    except DownloadFailure as failure:
        return failure_columns(failure)
    columns = {**image_columns(image), "image_key": row["key"]}
    shard.add(row | columns, image)
    return columns


def read_picture(path: Path) -> bytes:
    """Raises: DownloadFailure where there is no file, or one that may not be read."""
    try:
        if (size := plain_status(path).st_size) > MAX_BYTES:
            raise too_many_bytes(f"{size}, at most {MAX_BYTES}")
        return path.read_bytes()
    except OSError as error:
        raise DownloadFailure(DownloadReason.NO_FILE, f"{in_text(str(path))}: {error.strerror}") from error


def image_columns(image: ImageFile) -> dict:
    """The columns of the images table that an image fills."""
    return {
        "status": "success",
        "width": image.width,
        "height": image.height,
        "original_width": image.original_width,
        "original_height": image.original_height,
        "exif": image.exif,
        "sha256": image.sha256,
    }


def failure_columns(failure: DownloadFailure) -> dict:
    """The columns of the images table that a failure fills."""
    return {"status": failure.reason.status, "error_message": str(failure.reason), "detail": failure.detail}


def write_imported(rows: Path, table: Path, stats: Path, image_rows: list[dict], *, start_time: float) -> None:
    """Write the tables and the statistics of a shard whose images were there already, and print the counts."""
    write_table(rows, [{name: row[name] for name in ROWS.names} for row in image_rows], ROWS)
    write_images_table(table, image_rows)
    write_stats(stats, image_rows, start_time=start_time, end_time=time.time())
    reasons = Counter(row.get("error_message") or "success" for row in image_rows)
    print(", ".join(f"{count} {reason}" for reason, count in reasons.most_common()))


def write_images_table(path: Path, rows: list[dict]) -> None:
    """Write the rows of a shard, one a row of the caption list."""
    write_table(path, rows, IMAGES)


def write_stats(path: Path, rows: list[dict], *, start_time: float, end_time: float) -> None:
    """Counts by status and reason, and the seconds that it took."""
    statuses = Counter(row["status"] for row in rows)
    stats = {
        "count": len(rows),
        "successes": statuses["success"],
        "failed_to_download": statuses["failed_to_download"],
        "failed_to_resize": statuses["failed_to_resize"],
        "skipped": statuses["skipped"],
        "duration": end_time - start_time,
        "start_time": start_time,
        "end_time": end_time,
        "status_dict": dict(sorted(Counter(row.get("error_message") or "success" for row in rows).items())),
    }
    with whole_file(path) as unfinished:
        unfinished.write_text(json.dumps(stats, indent=1))
