"""Tables on disk: one Parquet schema a stage, written whole or not at all, and the same bytes for the same rows."""

import errno
import json
import re
import secrets
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

KEY = pa.field("key", pa.string(), nullable=False)  # '{split}-{row:08d}', the row of the caption list
REASON = pa.field("reason", pa.string())  # which rule dropped it; null: kept
DETAIL = pa.field("detail", pa.string())  # the value that the rule objected to

ROWS = pa.schema([KEY, ("url", pa.string()), ("caption", pa.string())])
CAPTIONS = pa.schema([KEY, ("caption", pa.string()), REASON, DETAIL])
# As img2dataset writes it, with error_message a code of extract/reasons.py; then `image_key`, the first row of
# the shard with the same url, under which the tar has the image (null: it has none), and the value behind the code.
IMAGES = pa.schema(
    [
        KEY,
        ("url", pa.string()),
        ("caption", pa.string()),
        ("status", pa.string()),
        ("error_message", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("original_width", pa.int32()),
        ("original_height", pa.int32()),
        ("exif", pa.string()),
        ("sha256", pa.string()),
        ("image_key", pa.string()),
        DETAIL,
    ]
)
# One row an image that arrived.
IMAGE_CHECKS = pa.schema(
    [
        KEY,
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("contrast", pa.float32()),  # standard deviation of the grey values, 0 to 255
        ("sha256", pa.string()),
        ("url", pa.string()),
        ("perceptual_hash", pa.uint64()),
        REASON,
        DETAIL,
    ]
)
DUPLICATES = pa.schema([KEY, ("duplicate_of", pa.string()), ("distance", pa.int32()), REASON])
# One row an image that arrived.
REGION_COUNTS = pa.schema([KEY, ("num_regions", pa.int32()), ("num_confident", pa.int32()), REASON, DETAIL])
# One row a row of features that others extracted, with its number in their order.
IMPORTED = pa.schema([KEY, ("row", pa.int64()), ("num_regions", pa.int32()), REASON, DETAIL])
# One row a row of the caption list.
PAIRS = pa.schema(
    [
        KEY,
        ("image_key", pa.string()),
        ("caption", pa.string()),
        ("num_regions", pa.int32()),
        ("relatedness", pa.float32()),  # 0 to 1; null where nothing in the caption can be judged
        ("stage", pa.string()),  # which stage dropped it; null: kept
        REASON,
        DETAIL,
    ]
)

DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; it becomes `path` if the block ends well and vanishes if not.

    Raises: ValueError if another process began to write `path` meanwhile: that one has the say.
    """
    partial = begin_partial(path)
    try:
        with naming(path):
            yield partial
        try:
            partial.replace(path)
        except FileNotFoundError as error:
            raise ValueError(f"another process began to write {path} meanwhile; let that one go on") from error
    finally:
        partial.unlink(missing_ok=True)


def begin_partial(path: Path) -> Path:
    """A name beside `path` that no process on any machine has had. What a killed one left of `path` goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    leftover = re.compile(rf"\.{re.escape(path.name)}\.[0-9]+\.partial")
    for other in path.parent.iterdir():
        if leftover.fullmatch(other.name):
            other.unlink(missing_ok=True)
    return path.with_name(f".{path.name}.{secrets.randbelow(1 << 32)}.partial")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Names the file in what the system says of a disk that is full or broken."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_ERRORS and error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Names a file of the run, and the way out, in what a reader says of one that is cut off or damaged.

    Raises: ValueError for such a one.
    """
    try:
        yield
    except (ValueError, OSError, tarfile.TarError) as error:
        if isinstance(error, FileNotFoundError) or getattr(error, "errno", None):  # such as one that may not be read
            raise
        told = " ".join(str(error).split())  # Arrow and pydantic write several lines
        raise ValueError(f"{path} is damaged ({told}); remove it and start the same command again") from error


def read_json(path: Path) -> Any:
    """What a JSON file of the run holds.

    Raises: FileNotFoundError; ValueError for one that is cut off or damaged.
    """
    with reading(path):
        return json.loads(path.read_bytes())


def read_table(
    path: Path,
    *,
    columns: Sequence[str] | None = None,
    schema: pa.Schema | None = None,
    filters: pc.Expression | None = None,
) -> pa.Table:
    """A table of the run.

    Raises: FileNotFoundError; ValueError for one that is cut off or damaged.
    """
    with reading(path):
        return pq.read_table(path, columns=columns, schema=schema, filters=filters)


def write_table(path: Path, rows: list[dict], schema: pa.Schema) -> None:
    """Write `rows` (dicts with the schema's names) to `path`; a missing name is null, an unknown one an error."""
    for row in rows[:1]:
        if unknown := set(row) - set(schema.names):
            raise ValueError(f"columns {sorted(unknown)} are not in the schema of {path}")
    with whole_file(path) as partial:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), partial, compression="zstd")


def read_rows(path: Path, schema: pa.Schema) -> list[dict]:
    """The rows of a table, as dicts.

    Raises: ValueError if the file's columns are not those of `schema`, or if it is damaged.
    """
    table = read_table(path)
    if missing := set(schema.names) - set(table.schema.names):
        raise ValueError(f"{path} lacks the columns {sorted(missing)}; make it anew with `snakemake -R` of its rule")
    return table.select(schema.names).to_pylist()
