"""What a command shows in the terminal: a bar while it works, and a table of what came of it.

Imported while Snakemake parses: nothing heavy is imported.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tqdm import tqdm

SECONDS_A_LINE = 30  # of a bar that goes into a file


class Lines:
    """stderr where it is a file: a progress bar is a line each time, in place of one that is written over."""

    def write(self, text: str) -> None:
        sys.stderr.write(text.replace("\r", "\n"))

    def flush(self) -> None:
        sys.stderr.flush()


def bar(
    iterable: Iterable | None = None,
    *,
    desc: str | None = None,
    unit: str = "it",
    total: int | None = None,
    initial: int = 0,
    is_shown: bool = True,
    is_passing: bool = False,
) -> Any:
    """A tqdm on stderr, which moves in a terminal, and in a file is a line now and then.

    Args:
        is_passing: what takes less than a second has none, and in a terminal it goes when it is full.
    """
    is_terminal = sys.stderr.isatty()
    interval = 0.5 if is_terminal else SECONDS_A_LINE
    return tqdm(
        iterable,
        desc=desc,
        unit=unit,
        total=total,
        initial=initial,
        file=sys.stderr if is_terminal else Lines(),
        disable=not is_shown,
        mininterval=interval,
        maxinterval=interval,
        delay=1 if is_passing else 0,
        leave=not (is_passing and is_terminal),
    )


def plain_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A line of names and one for each row, in columns; those that hold nothing in any row are left out.

    Args:
        rows: alike in their columns; at least one.
    """
    names = [name for name in rows[0] if any(row[name] not in (None, "") for row in rows)]
    lines = [names, *([cell(row[name]) for name in names] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def cell(value: Any) -> str:
    """A number by four digits; '' where there is none."""
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
