"""Features that others extracted, as a feature store: vilbert import-features FORMAT SOURCE STORE.

A first pass notes where each image's row stands, a second reads the rows in the order of their keys, so that the
features of a few images at a time are in memory. Every row of the source is a row of the table beside the store.
"""

from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from tqdm import tqdm

from extract.command import run
from extract.published.formats import FeatureFormat, Row, RowError, open_source
from extract.published.regions import BoxSource, Expected, KnownClasses, known_classes, to_regions
from extract.regions.store import MAX_KEY_BYTES, RegionStoreWriter
from extract.tables import IMPORTED, write_table

MAX_DIGITS = 18  # of an image's number


def main(
    feature_format: Annotated[FeatureFormat, typer.Argument(metavar="FORMAT", help="whose features they are")],
    source: Annotated[Path, typer.Argument(help="their file, or the folder of npy or npz files")],
    store: Annotated[Path, typer.Argument(help="to write, .lmdb; manifest and table are .json and .parquet beside it")],
    feature_size: Annotated[int, typer.Option(min=1, help="width of a region's feature")] = 2048,
    num_classes: Annotated[int, typer.Option(min=2, max=1 << 16, help="with the background")] = 1601,
    num_attributes: Annotated[int, typer.Option(min=1, max=1 << 16, help="where the source tells attributes")] = 400,
    box_source: Annotated[
        BoxSource, typer.Option(help="what the boxes are; 'given' keeps their order, as annotations number them")
    ] = "proposal",
    image_key: Annotated[
        str | None, typer.Option(help="key from an image's number, as COCO_{image_id:012d}; none: its id")
    ] = None,
) -> None:
    """Write the rows of SOURCE that are whole to STORE, and what became of each to the table beside it."""
    expected = Expected(
        feature_size=feature_size, num_classes=num_classes, num_attributes=num_attributes, box_source=box_source
    )
    table = store.with_suffix(".parquet")
    if store.suffix != ".lmdb" or store.exists():
        raise ValueError(f"{store} is there already or no .lmdb; name a store that is new")
    rows = import_features(feature_format, source, store, expected=expected, image_key=image_key)
    write_table(table, rows, IMPORTED)
    reasons = Counter(row.get("reason", "imported") for row in rows)
    print(f"{len(rows)} rows: " + ", ".join(f"{count} {reason}" for reason, count in reasons.most_common()))
    if not reasons["imported"]:
        raise ValueError(f"no row of {source} is whole {feature_format}; {table} says why")


def import_features(
    feature_format: FeatureFormat, path: Path, store: Path, *, expected: Expected, image_key: str | None
) -> list[dict]:
    """Write the store, unless no row is whole; give the rows of tables.IMPORTED, in the order of the keys.

    Raises: FileNotFoundError; ValueError for a source of another kind, or an `image_key` that names no image.
    """
    check_pattern(image_key)
    source = open_source(feature_format, path)
    keyed = sorted(((key_of(row, image_key), row) for row in source.rows()), key=lambda pair: pair[0].encode())
    table: list[dict] = []
    writer: RegionStoreWriter | None = None
    latest: Imported | None = None
    with ExitStack() as stack:
        for key, row in tqdm(keyed, desc="images", unit="image"):
            table.append(entry := {"key": key, "row": row.number, "num_regions": 0})
            try:
                check_row(key, row, image_key=image_key, latest=latest)
                fields = source.fields(row)
                regions = to_regions(fields, expected=expected)
                imported = Imported(key, row.number, known_classes(fields), regions.attribute_ids is not None)
                if latest is not None and imported.told != latest.told:
                    raise RowError("other_classes", f"known: {imported.told}, of the images before {latest.told}")
            except RowError as bad:
                entry |= {"reason": bad.reason, "detail": bad.detail}
                continue
            if writer is None:
                writer = open_writer(store, feature_format, expected=expected, like=imported)
                stack.enter_context(writer)
            writer.put(key, regions)
            entry["num_regions"] = len(regions)
            latest = imported
    return table


class Imported(NamedTuple):
    """A row that has become a record."""

    key: str
    number: int
    known: KnownClasses
    has_attributes: bool

    @property
    def told(self) -> str:
        """What the row says of its regions' classes and attributes."""
        return f"{self.known}, attributes" if self.has_attributes else self.known


def check_pattern(image_key: str | None) -> None:
    """Raises: ValueError for a pattern that does not tell images apart."""
    try:
        is_usable = image_key is None or image_key.format(image_id=1) != image_key.format(image_id=2)
    except (ValueError, LookupError, AttributeError):
        is_usable = False
    if not is_usable:
        raise ValueError(f"image key '{image_key}' names no image, expected {{image_id}} or {{image_id:012d}} in it")


def key_of(row: Row, image_key: str | None) -> str:
    """The key of a row's record; the id itself where it is not numbered as the pattern wants."""
    return row.image_id if image_key is None or not is_number(row) else image_key.format(image_id=int(row.image_id))


def is_number(row: Row) -> bool:
    """Whether the id of a row is one that data sets number their images by."""
    return row.image_id.isdecimal() and len(row.image_id) <= MAX_DIGITS


def check_row(key: str, row: Row, *, image_key: str | None, latest: Imported | None) -> None:
    """Raises: RowError if the row cannot have a record of its own, whatever its features."""
    if image_key is not None and not is_number(row):
        raise RowError("bad_key", f"'{key[:50]}' is no number, as '{image_key}' wants it")
    if not 1 <= len(key.encode()) <= MAX_KEY_BYTES or "\N{REPLACEMENT CHARACTER}" in key:
        raise RowError("bad_key", f"'{key[:50]}' has {len(key.encode())} bytes or is no UTF-8")
    if latest is not None and key == latest.key:
        raise RowError("duplicate", f"row {latest.number} has this image")


def open_writer(store: Path, feature_format: FeatureFormat, *, expected: Expected, like: Imported) -> RegionStoreWriter:
    """The manifest says what the source does not: weights and selection are unknown, classes may be."""
    return RegionStoreWriter(
        store,
        classes=("background", *map(str, range(1, expected.num_classes))) if like.known != "none" else (),
        feature_size=expected.feature_size,
        num_classes_kept=1 if like.known == "likeliest" else None,
        attributes=tuple(map(str, range(1, expected.num_attributes + 1))) if like.has_attributes else (),
        box_source=expected.box_source,
        detector={"sha256": None, "imported_from": str(feature_format), "known_classes": like.known},
        selection={},
    )


if __name__ == "__main__":
    run(main)
