"""A folder that one process at a time writes to: two Snakemakes, the second after `--unlock`, would mix their lines."""

import errno
import fcntl
from pathlib import Path
from typing import IO

NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}  # what a file system says that has none


def hold(folder: Path) -> IO[bytes]:
    """Keep others out of a folder, which is made if need be, until what this gives is closed or the process ends.

    On a file system without locks nobody is kept out.

    Raises: ValueError if another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / ".held").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in NO_LOCKS:
            return file
        file.close()
        if isinstance(error, BlockingIOError):
            raise ValueError(
                f"another process is writing to {folder}; wait until it has ended, or end it, and start again"
            ) from error
        raise
    return file
