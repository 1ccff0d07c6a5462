"""GPUs of its own for a job: `python -m extract.devices NUM_GPUS MODULE ARGUMENT...` becomes `python -m MODULE ...`.

On one machine, jobs share its GPUs by a lock file each. The kernel holds a lock for the job, so that one that is killed
loses it. Where Slurm has given a job as many as it asks for, its choice stands; jobs that share what Slurm has given to
all of them, as a whole Snakemake within an allocation, share that like a machine.
"""

import fcntl
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from enum import StrEnum
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from extract.command import errors_in_one_line

if TYPE_CHECKING:
    import torch

VISIBLE = "CUDA_VISIBLE_DEVICES"
DRIVERS = (Path("/dev/nvidiactl"), Path("/dev/kfd"))  # NVIDIA's, AMD's
PATIENCE = 0.5  # seconds between two looks for a GPU that is free


class DeviceChoice(StrEnum):
    """What --device may say."""

    AUTO = "auto"  # the GPU where there is one
    CPU = "cpu"
    CUDA = "cuda"  # the first of CUDA_VISIBLE_DEVICES


def main() -> None:
    """Take the GPUs, then become the command, which holds them until it ends.

    Raises: ValueError for what is no number of GPUs and a module, or for more GPUs than there are.
    """
    if len(sys.argv) < 3 or not sys.argv[1].isdigit():
        raise ValueError(f"asked for {' '.join(sys.argv[1:]) or 'nothing'}, expected NUM_GPUS MODULE ARGUMENT...")
    num_gpus, module, *arguments = sys.argv[1:]
    if int(num_gpus) and not is_chosen_by_slurm(int(num_gpus)):
        os.environ[VISIBLE] = ",".join(take(int(num_gpus), gpus_here(), lock_folder()))
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])


def is_chosen_by_slurm(num_gpus: int) -> bool:
    """Whether all that Slurm lets this process see are for it. A training counts those of its other nodes too."""
    return "SLURM_JOB_ID" in os.environ and VISIBLE in os.environ and len(gpus_here()) <= num_gpus


def best_device(choice: DeviceChoice = DeviceChoice.AUTO) -> "torch.device":
    """The one that is asked for, or the GPU that the job was given, or else the CPU.

    Raises: ValueError if a GPU is asked for and there is none.
    """
    import torch  # takes seconds, and a job that asks for no GPU needs none of it

    if choice == DeviceChoice.CPU:
        return torch.device("cpu")
    is_there = has_gpu()
    if choice == DeviceChoice.CUDA and not is_there:
        raise ValueError("asked for cuda, and PyTorch finds no GPU; without --device it takes the CPU")
    return torch.device("cuda" if is_there else "cpu")


def has_gpu(drivers: Sequence[Path] = DRIVERS) -> bool:
    """Whether there is one to compute on.

    Args:
        drivers: files that stand where a machine has GPUs.
    Raises: ValueError where there are some, and none has the name that the process was given: CUDA hides all of them,
        and the job would take days on the CPU without a word.
    """
    import torch

    if torch.cuda.is_available():
        return True
    if os.environ.get(VISIBLE) and gpus_here() and any(driver.exists() for driver in drivers):
        raise ValueError(
            f"{VISIBLE} is '{os.environ[VISIBLE]}', and PyTorch finds no GPU of that name; `nvidia-smi -L` lists those "
            f"of this machine; set it to '' for the CPU"
        )
    return False


def gpus_here() -> list[str]:
    """The GPUs that this process may use, each once, as CUDA_VISIBLE_DEVICES names them, up to one that is none."""
    if VISIBLE in os.environ:
        names = (name.strip() for name in os.environ[VISIBLE].split(","))
        return list(dict.fromkeys(takewhile(lambda name: name and not name.startswith("-"), names)))
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]


def lock_folder() -> Path:
    """Where this user's jobs on this machine find each other's locks; in a job of Slurm's, whose GPUs count from 0 in
    each, those of the same one."""
    of_slurm = f"-{os.environ['SLURM_JOB_ID']}" if "SLURM_JOB_ID" in os.environ else ""
    folder = Path(tempfile.gettempdir()) / f"gpu-locks-{os.getuid()}{of_slurm}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def take(number: int, gpus: list[str], folder: Path) -> list[str]:
    """So many of the GPUs that no other job has, for the life of this process and of what it becomes.

    Jobs take them one after the other, so that two that need several do not each wait for the other's.

    Raises: ValueError if there are not as many.
    """
    if number > len(gpus):
        raise ValueError(
            f"asked for {number} GPUs, this machine has {len(gpus)}; start with `snakemake --resources gpu={len(gpus)}`"
            " or lower gpus_per_job and gpus_per_training in the settings"
        )
    gate = open_lock(folder / "gate")
    fcntl.flock(gate, fcntl.LOCK_EX)
    taken: list[str] = []
    while len(taken) < number:
        for gpu in gpus:
            if len(taken) < number and gpu not in taken and lock(folder / f"{gpu.replace('/', '_')}.lock"):
                taken.append(gpu)
        if len(taken) < number:
            time.sleep(PATIENCE)
    os.close(gate)
    return [gpu for gpu in gpus if gpu in taken]


def lock(path: Path) -> bool:
    """Whether this process now has the lock; what it becomes has it too."""
    descriptor = open_lock(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    os.set_inheritable(descriptor, True)
    return True


def open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


if __name__ == "__main__":
    with errors_in_one_line():
        main()
