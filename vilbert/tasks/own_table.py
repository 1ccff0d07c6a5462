"""A task's own table: a csv with a row an example, the column `file`, and those of the task.

The column `split` says train, val or test; without it a share of the pictures is held out. `id` names a row in the
predictions; without it, its line does.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from reprlib import repr as shown
from typing import NamedTuple

from extract.csv_rows import read_csv_rows
from vilbert.settings import OwnTaskSettings
from vilbert.tasks.reading import Dropped, Reading
from vilbert.tasks.task import ExampleOfSplit, TaskSource

SPLITS = ("train", "val", "test")
HELD_OUT = ("val", "test")
UNDECODABLE = "\N{REPLACEMENT CHARACTER}"


class OwnRow(NamedTuple):
    """A row that names a picture, in one split."""

    annotation: str
    image_key: str
    split: str
    values: dict[str, str]  # by column


def named_pictures(table: Path) -> list[str]:
    """The files that a csv names, each once, in their order."""
    rows = read_csv_rows(table, ["file"])
    return list(dict.fromkeys(row.values["file"] for row in rows if row.values is not None and row.values["file"]))


def read_own_table(
    source: TaskSource, settings: OwnTaskSettings, columns: Sequence[str], *, optional: Sequence[str] = ()
) -> Reading[OwnRow]:
    """The rows of the task's csv; a picture that is held out, under whatever name, is not trained on.

    Args:
        columns: of the task, that the csv has to have.
        optional: those that are read where they are there.
    Raises: FileNotFoundError; ValueError if a column is missing, no row can be used, or a split would be empty.
    """
    path = source.annotations / settings.table
    kept: list[OwnRow] = []
    dropped: list[Dropped] = []
    identity_of: dict[str, str] = {}  # by annotation
    for line, _, values, text in read_csv_rows(path, ["file", *columns]):
        name = f"line {line}"
        if values is None:
            dropped.append(Dropped(name, "malformed_row", shown(text)))
            continue
        name = values.get("id") or name
        if unreadable := [one for one in ("file", *columns, *optional) if UNDECODABLE in values.get(one, "")]:
            dropped.append(Dropped(name, "undecodable_bytes", f"{unreadable[0]}; save the csv as UTF-8"))
        elif not values["file"]:
            dropped.append(Dropped(name, "no_file", shown(text)))
        elif values.get("split", "train") not in SPLITS:
            dropped.append(Dropped(name, "unknown_split", f"{shown(values['split'])}, expected {', '.join(SPLITS)}"))
        elif name in identity_of:
            dropped.append(Dropped(name, "duplicate_id", name))
        else:
            picture = source.picture(values["file"])
            identity_of[name] = picture.identity
            kept.append(OwnRow(name, picture.key, values.get("split", ""), values))
    if not kept:
        first = f"; the first: {', '.join(dropped[0])}" if dropped else ""
        raise ValueError(f"{path} has no row that can be used{first}")
    if not any(row.split for row in kept):
        held_out = hold_out({identity_of[row.annotation] for row in kept}, settings.held_out, path=path)
        kept = [row._replace(split="val" if identity_of[row.annotation] in held_out else "train") for row in kept]
    measured = {identity_of[row.annotation]: row for row in kept if row.split in HELD_OUT}
    learnt = []
    for row in kept:
        if row.split == "train" and (other := measured.get(identity_of[row.annotation])):
            dropped.append(Dropped(row.annotation, "held_out_picture", f"that of {other.annotation}, in {other.split}"))
        else:
            learnt.append(row)
    return Reading(learnt, dropped)


def hold_out(identities: set[str], share: float, *, path: Path) -> set[str]:
    """A share of the pictures that stays when others come: those whose digests are smallest.

    Raises: ValueError if that leaves a split without any.
    """
    order = sorted(identities, key=lambda one: hashlib.sha256(one.encode()).digest())
    num_held_out = max(1, round(share * len(order))) if share else 0
    if not 0 < num_held_out < len(order):
        raise ValueError(
            f"{path} names {len(order)} pictures, of which {share} is to be held out: a split would have none; give "
            "another held_out, or a column split"
        )
    return set(order[:num_held_out])


def parts_of(cell: str, separator: str | None) -> tuple[str, ...]:
    """The labels or answers in a cell, as often as they stand there."""
    parts = [cell] if separator is None else cell.split(separator)
    return tuple(part.strip() for part in parts if part.strip())


def has_to_say(rows: Sequence[OwnRow], column: str) -> set[str]:
    """The splits whose rows have to say in a column what is right: a test set, if one of its rows does."""
    return {"train", "val", *(row.split for row in rows if row.values[column])}


def splits_of(examples: Sequence[ExampleOfSplit]) -> list[str]:
    """Those that a table has to have, and a test set if there is one."""
    return ["train", "val", *(["test"] if any(example.split == "test" for example in examples) else [])]
