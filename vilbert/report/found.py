"""The files of a run, as far as they are there and whole."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

DAMAGE = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OSError,
)  # what readers raise of a file that is not as meant


class Found:
    """A run's folder.

    What is damaged, cut off or not as its reader means it is kept in `unread`, with the reason: one such file costs a
    part and not the page.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self.unread: list[dict[str, str]] = []

    def of(self, path: str, read: Callable[[Path], Any], *, missing: Any) -> Any:
        """What `read` makes of a path below the run, or `missing`."""
        if not (self.run / path).exists():
            return missing
        try:
            return read(self.run / path)
        except DAMAGE as error:
            said = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            self.unread.append({"file": path, "why": said})
            return missing
