"""Folders and files as people have them: linked, called anything, and not all of them files that can be read."""

import errno
import os
import stat
from pathlib import Path


def files_below(folder: Path) -> list[Path]:
    """All that is no folder below a folder, through links to folders too, each folder once; in order of their paths.

    Raises: OSError for a folder that may not be read.
    """
    found: list[Path] = []
    entered: set[str] = set()
    for here, folders, names in os.walk(folder, followlinks=True, onerror=_raise):
        folders.sort()
        if (real := os.path.realpath(here)) in entered:
            folders.clear()
            continue
        entered.add(real)
        found += [Path(here, name) for name in names]
    return sorted(found)


def plain_status(path: Path) -> os.stat_result:
    """Size and times of a file, or of the one that a link names.

    Raises: OSError where there is none, or a folder, or a queue or device, of which reading might never end.
    """
    try:
        status = path.stat()
    except ValueError as error:  # a NUL, which no path of a system can hold
        raise OSError(errno.EINVAL, str(error), str(path)) from error
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "neither a file nor a link to one", str(path))
    return status


def is_plain_file(path: Path) -> bool:
    """Whether there is a file that can be read."""
    try:
        plain_status(path)
    except OSError:
        return False
    return True


def in_text(name: str) -> str:
    """A file's name where only text can stand: bytes of it that are not UTF-8 are read as Latin-1."""
    try:
        return os.fsencode(name).decode()
    except UnicodeDecodeError:
        return os.fsencode(name).decode("latin-1")


def _raise(error: OSError) -> None:
    raise error
