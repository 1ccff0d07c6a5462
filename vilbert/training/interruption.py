"""A scheduler's word that it is about to kill: SIGTERM, some seconds before SIGKILL."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self


class Interruption:
    """While it is open, the first SIGTERM is noted in place of ending the process."""

    def __init__(self) -> None:
        self.is_asked = False
        self._last_words: str | None = None

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._before)

    @contextmanager
    def at_once(self, last_words: str) -> Iterator[None]:
        """What is done inside may be left at any point.

        Raises: SystemExit if SIGTERM came, or comes.
        """
        self._last_words = last_words
        try:
            if self.is_asked:
                raise SystemExit(last_words)
            yield
        finally:
            self._last_words = None

    def _note(self, *_: object) -> None:
        self.is_asked = True
        signal.signal(signal.SIGTERM, self._before)
        if self._last_words is not None:
            raise SystemExit(self._last_words)
