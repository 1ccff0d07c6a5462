"""Who is at work in a run: Snakemakes, and jobs that may outlive one that is killed.

A killed Snakemake leaves its locks, which it asks the user to remove. Here each shares a file with its jobs for as long
as they live, so that the next can tell that nobody is left.
"""

import fcntl
import os
import platform
import re
import sys
from pathlib import Path

from snakemake.shell import shell

from extract.hold import NO_LOCKS

LOCK = re.compile(r"\d+\.(in|out)put\.lock")


def take_part(run: str, *, state: Path, is_main: bool) -> None:
    """Be known, with all jobs that this process starts, as at work in a run, until they have ended.

    Whoever is alone removes the locks that were left, if they are of this machine: not every file system that machines
    share has locks that the others see.

    Args:
        state: the folder where Snakemake keeps what it knows.
        is_main: false in the processes that Snakemake starts for its jobs.
    """
    state.mkdir(exist_ok=True)
    handle = os.open(state / f"{run}.running", os.O_RDWR | os.O_CREAT)
    try:
        if is_main:
            remove_locks_if_alone(run, handle, state=state)
        fcntl.flock(handle, fcntl.LOCK_SH)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    shell._process_args["pass_fds"] = (handle,)  # that of each job: what keeps it open is at work


def remove_locks_if_alone(run: str, handle: int, *, state: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"results/{run}: another Snakemake, or a job that outlived one, is at work", file=sys.stderr)
        return
    here = platform.node().encode()
    left = locks_of(run, state / "locks")
    if not left:
        os.ftruncate(handle, 0)
        os.pwrite(handle, here, 0)
    elif os.pread(handle, len(here) + 1, 0) == here:
        for lock in left:
            lock.unlink()


def locks_of(run: str, folder: Path) -> list[Path]:
    """Snakemake's locks that name a file of a run."""
    found = [path for path in folder.glob("*") if LOCK.fullmatch(path.name)]
    return [path for path in found if f"results/{run}/" in path.read_text()]
