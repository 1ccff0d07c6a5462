"""Commands as a user types them, on one thread: two on busy cores are slower than one."""

import os
import subprocess
import sys

from places import ROOT

ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def run(arguments: list[str], **options) -> subprocess.CompletedProcess:
    """Of this Python."""
    options = {"env": ONE_THREAD} | options
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, **options)


def succeed(arguments: list[str]) -> None:
    done = run(arguments)
    assert done.returncode == 0, done.stderr


def failure(arguments: list[str], **options) -> str:
    """The last line that it says."""
    done = run(arguments, **options)
    assert done.returncode == 1
    return done.stderr.strip().splitlines()[-1]
