"""Who is at work in a run: Snakemakes, and jobs that may outlive one that is killed.

A killed Snakemake leaves its locks, which it asks the user to remove. Here each shares a file with its jobs for as long
as they live, so that the next can tell that nobody is left.
"""

import fcntl
import os
import platform
import re
import secrets
import sys
from pathlib import Path
from typing import NamedTuple

from snakemake.shell import shell

from extract.hold import NO_LOCKS

TURN = "VILBERT_WORKFLOW_TURN"  # in the environment of jobs: that of the Snakemake which submitted them
LOCK = re.compile(r"\d+\.(in|out)put\.lock")


def take_part(run: str, *, state: Path, is_main: bool) -> None:
    """Be known, with all jobs that this process starts, as at work in a run, until they have ended.

    Whoever is alone removes the locks that were left, if they are of this machine: not every file system that machines
    share has locks that the others see. It takes the run over: jobs that an earlier one left in a scheduler's queue end
    as soon as they begin.

    Args:
        state: the folder where Snakemake keeps what it knows.
        is_main: false in the processes that Snakemake starts for its jobs.
    Raises: ValueError in a job whose Snakemake was followed by another.
    """
    state.mkdir(exist_ok=True)
    handle = os.open(state / f"{run}.running", os.O_RDWR | os.O_CREAT)
    try:
        if is_main:
            take_over_if_alone(run, handle, state=state)
        fcntl.flock(handle, fcntl.LOCK_SH)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    holder = read(handle).turn
    if is_main:
        os.environ[TURN] = holder
    elif os.environ.get(TURN, holder) != holder:
        raise ValueError(f"results/{run}: another Snakemake has begun since this job was submitted; it does nothing")
    shell._process_args["pass_fds"] = (handle,)  # that of each job: what keeps it open is at work


def take_over_if_alone(run: str, handle: int, *, state: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"results/{run}: another Snakemake, or a job that outlived one, is at work", file=sys.stderr)
        return
    left = locks_of(run, state / "locks")
    if not left or read(handle).machine == platform.node():
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{platform.node()} {secrets.token_hex(4)}".encode(), 0)
        for lock in left:
            lock.unlink()


class Holder(NamedTuple):
    """The Snakemake that was last alone in a run."""

    machine: str
    turn: str  # which no other had


def read(handle: int) -> Holder:
    machine, _, turn = os.pread(handle, 1000, 0).decode().rpartition(" ")
    return Holder(machine, turn)


def locks_of(run: str, folder: Path) -> list[Path]:
    """Snakemake's locks that name a file of a run."""
    found = [path for path in folder.glob("*") if LOCK.fullmatch(path.name)]
    return [path for path in found if f"results/{run}/" in path.read_text()]
