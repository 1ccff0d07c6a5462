"""On what a training ran, for the record; nothing heavy is imported here."""

import os
import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def machine() -> dict[str, str | int]:
    """The CPU, and how many cores of it this process may use."""
    return {
        "cpu": cpu_name(CPUINFO.read_text() if CPUINFO.exists() else ""),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "python": platform.python_version(),
    }


def machine_of_training() -> dict[str, str | int]:
    """The same with its GPUs, and the version of what computes."""
    import torch  # takes two seconds

    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return machine() | {"gpus": ", ".join(gpus), "torch": torch.__version__}


def cpu_name(cpuinfo: str) -> str:
    """As Linux has it in /proc/cpuinfo, else as the platform does."""
    names = [line.partition(":")[2].strip() for line in cpuinfo.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
