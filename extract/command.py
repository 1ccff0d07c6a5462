"""How every command ends where something is wrong: in one line that its user can act on."""

import errno
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer


def run(main: Callable[..., None]) -> None:
    """Run a command on the arguments that it was called with."""
    with errors_in_one_line():
        typer.run(main)


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Ends the command with a line in place of a traceback, for what its user can mend."""
    try:
        yield
    except (ValueError, OSError, ImportError, FloatingPointError, tarfile.TarError) as error:
        raise SystemExit(f"error: {in_words(error)}") from error


def in_words(error: Exception) -> str:
    """The message, with the remedy where it is the system's own."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{what}; make room and start the same command again, what is finished stays"
    return what
