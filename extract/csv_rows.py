"""The rows of a csv as spreadsheets write them, each with its line; a bad one takes no other along."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

DELIMITERS = ",;\t"  # spreadsheets of some countries write the second one


class NumberedRow(NamedTuple):
    """A row and where it stands."""

    line: int  # that it begins in, from 1
    num_lines: int  # more than one where quotes hold line breaks
    values: dict[str, str] | None  # by column, without blanks around them; None: too few or too many fields
    text: str  # all of it, of whatever kind


def read_csv_rows(path: Path, columns: Sequence[str]) -> list[NumberedRow]:
    """The rows in their order, without those that are empty. Bytes that are not UTF-8 become U+FFFD.

    Args:
        columns: that the header has to have; it may have more.
    Raises: FileNotFoundError; ValueError if a column is missing, or stands twice.
    """
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        lines = file.readlines()
    delimiter = max(DELIMITERS, key=lines[0].count) if lines else ","
    found = (part for part in split_lines(lines, delimiter) if part[2])
    _, _, first = next(found, (1, 1, []))
    header = [name.strip() for name in first]
    if missing := [name for name in columns if name not in header]:
        raise ValueError(f"{path} has the columns {header}, expected {' and '.join(missing)} in its first line")
    if twice := [name for name in columns if header.count(name) > 1]:
        raise ValueError(f"{path} has two columns '{twice[0]}', expected one")
    rows = []
    for line, num_lines, fields in found:
        is_whole = len(fields) == len(header)
        values = {name: field.strip() for name, field in zip(header, fields, strict=True)} if is_whole else None
        rows.append(NumberedRow(line, num_lines, values, ",".join(fields)))
    return rows


def split_lines(lines: list[str], delimiter: str) -> Iterator[tuple[int, int, list[str]]]:
    """Where each row begins, its number of lines, and its fields.

    A line with a quote that nothing closes, or behind which the field goes on, is a field of its own: quotes swallow no
    rows behind it.
    """
    start = 0
    while start < len(lines):
        reader = csv.reader((lines[number] for number in range(start, len(lines))), delimiter=delimiter, strict=True)
        num_read = 0
        try:
            for fields in reader:
                yield start + num_read + 1, reader.line_num - num_read, fields
                num_read = reader.line_num
        except csv.Error:
            yield start + num_read + 1, 1, [lines[start + num_read].rstrip("\r\n")]
            num_read += 1
        start += num_read
