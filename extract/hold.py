"""A folder that one process at a time writes to: two Snakemakes, the second after `--unlock`, would mix their lines."""

import errno
import fcntl
import os
from pathlib import Path

NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}  # what a file system says that has none


class Hold:
    """Keeps other processes out of a folder, which is made if need be, until it is let go or the process ends.

    Processes that it forks do not hold it, as they outlive it by seconds where it is killed. On a file system without
    locks nobody is kept out.
    """

    def __init__(self, folder: Path) -> None:
        """Raises: ValueError if another process holds the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self._handle: int | None = os.open(folder / ".held", os.O_RDWR | os.O_CREAT)
        os.register_at_fork(after_in_child=self.let_go)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in NO_LOCKS:
                return
            self.let_go()
            if isinstance(error, BlockingIOError):
                raise ValueError(
                    f"another process is writing to {folder}; wait until it has ended, or end it, and start again"
                ) from error
            raise

    def let_go(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
