"""What the trainings' commands have in common."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Ends the command with a line in place of a traceback, for what its user can mend."""
    try:
        yield
    except (ValueError, OSError, FloatingPointError) as error:
        raise SystemExit(f"error: {error}") from error


def is_first_process() -> bool:
    """Whether this process of a training writes what all have in common."""
    return os.environ.get("RANK", "0") == "0"
