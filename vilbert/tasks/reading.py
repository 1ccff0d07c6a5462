"""What all tasks' files have in common: how they are read, and what becomes of a row that cannot be used."""

import csv
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from reprlib import repr as shown
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from transformers import PreTrainedTokenizerBase

from extract.regions.store import RegionStore
from vilbert.batches.padding import Tokens


class Dropped(NamedTuple):
    """An annotation that is not used, and why."""

    annotation: str  # its id
    reason: str
    detail: str  # the value that is wrong


class Example(Protocol):
    """An annotation that speaks of one image."""

    @property
    def annotation(self) -> str: ...

    @property
    def image_key(self) -> str: ...


ExampleT = TypeVar("ExampleT", bound=Example)


class Reading(NamedTuple, Generic[ExampleT]):
    """What a file holds."""

    examples: list[ExampleT]
    dropped: list[Dropped]


def read_json(path: Path) -> Any:
    """In UTF-8, with a byte order mark or without, UTF-16 or UTF-32.

    Raises: FileNotFoundError; ValueError for a file that was cut off or is something else.
    """
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no whole JSON file ({error}); fetch it again") from error


def read_lines(path: Path) -> list[str]:
    """In UTF-8, with a byte order mark or without.

    Raises: FileNotFoundError; ValueError for a file that is no text.
    """
    try:
        return path.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text ({error}); fetch it again") from error


def demand_fields(rows: Any, fields: Sequence[str], *, source: str) -> list[dict]:
    """The rows of a list, each of which has these fields.

    Raises: ValueError that names the first row that has not.
    """
    if not isinstance(rows, list):
        raise ValueError(f"{source} are no list")
    for number, row in enumerate(rows):
        missing = [field for field in fields if not isinstance(row, dict) or field not in row]
        if missing:
            raise ValueError(f"{source}: row {number} has no '{missing[0]}', expected {', '.join(fields)}")
    return rows


def text_in(row: dict, field: str) -> str:
    """A field's text without blanks around it; a number is one as it is written, and 2.0 is 2.

    Raises: ValueError for anything else.
    """
    return text_of(row[field], name=field)


def text_of(value: Any, *, name: str) -> str:
    """The same of a value, by its name."""
    number = whole_number(value)
    if number is not None or (isinstance(value, float) and math.isfinite(value)):
        return str(value if number is None else number)
    if not isinstance(value, str):
        raise ValueError(f"{name} is {shown(value)}, expected a text")
    try:
        value.encode()
    except UnicodeEncodeError as error:  # a half of a pair, which JSON may hold
        raise ValueError(f"{name} is {shown(value)}, which is no Unicode: {error.reason}") from error
    return value.strip()


def whole_number(value: Any) -> int | None:
    """A number without a fraction, such as 2 or 2.0; None: it is something else."""
    is_whole = isinstance(value, int | float) and not isinstance(value, bool) and value % 1 == 0
    return int(value) if is_whole else None


def by_id(rows: Sequence[dict], *, source: str) -> dict[Any, dict]:
    """Rows by their `id`.

    Raises: ValueError if two have one, or for one that is neither a number nor a text.
    """
    found: dict[Any, dict] = {}
    for number, row in enumerate(rows):
        try:
            text_in(row, "id")
        except ValueError as error:
            raise ValueError(f"{source}: row {number}: {error}") from error
        if found.setdefault(row["id"], row) is not row:
            raise ValueError(f"{source}: id {row['id']} stands twice")
    return found


def with_features(reading: Reading[ExampleT], store: RegionStore, *, is_held_out: bool = False) -> Reading[ExampleT]:
    """Examples whose image is in the store; the others are dropped. An annotation that stands twice is kept once.

    Args:
        is_held_out: those that are not in the store are told as dropped, but kept: they count as wrong.
    Raises: ValueError if no example has features.
    """
    kept: list[ExampleT] = []
    dropped = list(reading.dropped)
    found: set[str] = set()
    for example in reading.examples:
        if example.annotation in found:
            dropped.append(Dropped(example.annotation, "duplicate_id", example.annotation))
            continue
        found.add(example.annotation)
        has_features = example.image_key in store
        if not has_features:
            dropped.append(Dropped(example.annotation, "no_features", example.image_key))
        if has_features or is_held_out:
            kept.append(example)
    if not any(example.image_key in store for example in kept):
        why = f"the first because of '{dropped[0].reason}', {dropped[0].detail}" if dropped else "the files are empty"
        raise ValueError(f"none of {len(dropped)} annotations can be used, {why}")
    return Reading(kept, dropped)


def apart(examples: Iterable[ExampleT], store: RegionStore) -> tuple[list[ExampleT], list[ExampleT]]:
    """Examples whose image is in the store, and the others."""
    seen: list[ExampleT] = []
    unseen: list[ExampleT] = []
    for example in examples:
        (seen if example.image_key in store else unseen).append(example)
    return seen, unseen


def write_dropped(path: Path, rows: Iterable[Dropped]) -> None:
    """A csv with a row for each annotation that is not used."""
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow(Dropped._fields)
        writer.writerows(rows)


def encode_texts(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    pairs: Sequence[str] | None = None,
    *,
    max_tokens: int,
) -> list[Tokens]:
    """Texts, or pairs of texts, as ids with [CLS] and [SEP]; what is too long is cut and keeps its [SEP]."""
    encoded = tokenizer(
        list(texts),
        list(pairs) if pairs is not None else None,
        truncation=True,
        max_length=max_tokens,
        return_token_type_ids=True,
    )
    return [
        Tokens(np.asarray(ids), np.asarray(types))
        for ids, types in zip(encoded["input_ids"], encoded["token_type_ids"], strict=True)
    ]
