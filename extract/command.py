"""What all commands have in common: how they end."""

import errno
import tarfile
from collections.abc import Callable

import typer


def run(main: Callable[..., None]) -> None:
    """Run a command on its arguments. What its user can mend ends it in one line in place of a traceback."""
    try:
        typer.run(main)
    except (ValueError, OSError, ImportError, tarfile.TarError) as error:
        raise SystemExit(f"error: {in_words(error)}") from error


def in_words(error: Exception) -> str:
    """The message, with the remedy where the system gave none."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{what}; make room and start the same command again, what is finished stays"
    return what
