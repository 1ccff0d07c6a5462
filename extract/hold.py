"""A folder that one process at a time writes to: two Snakemakes, the second after `--unlock`, would mix their lines."""

import errno
import fcntl
import os
import platform
import secrets
from pathlib import Path

NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}  # what a file system says that has none


class Hold:
    """Keeps other processes out of a folder, which is made if need be, until it is let go or the process ends.

    Processes that it forks do not hold it, as they outlive it by seconds where it is killed. The lock is the file
    system's. On a shared disk that keeps locks for all machines (NFS, Lustre, GPFS, CephFS) it holds on all of them.
    Where a disk has none, or each machine keeps its own (NFS mounted with nolock, BeeGFS as it comes), a second process
    gets in; its name in the file then tells the first one, by `demand`, to write no more.
    """

    def __init__(self, folder: Path) -> None:
        """Raises: ValueError if another process holds the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / ".held"
        self._name = f"process {os.getpid()} on {platform.node()}, {secrets.token_hex(4)}"
        self._handle: int | None = os.open(self._path, os.O_RDWR | os.O_CREAT)
        os.register_at_fork(after_in_child=self.let_go)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                self.let_go()
                if isinstance(error, BlockingIOError):
                    raise ValueError(
                        f"another process is writing to {folder}; wait until it has ended, or end it, and start again "
                        f"({self._path} says: {self._path.read_text()})"
                    ) from error
                raise
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, self._name.encode(), 0)

    def demand(self) -> None:
        """Raises: ValueError if another process has come in since, on a disk whose locks did not keep it out."""
        name = holder_of(self._path.parent)
        if name != self._name:
            what = name or "its folder was removed"
            raise ValueError(f"another process has taken {self._path.parent} ({what}); let that one go on")

    def let_go(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def holder_of(folder: Path) -> str | None:
    """The process that has come in last, by a name that no other has; None: none ever did."""
    try:
        return (folder / ".held").read_text()
    except FileNotFoundError:
        return None
