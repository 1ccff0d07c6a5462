"""On what a training ran, for the record."""

import os
import platform
from pathlib import Path

import torch

CPUINFO = Path("/proc/cpuinfo")


def machine() -> dict[str, str | int]:
    """Names and numbers of what this process may use, and the versions of what computes."""
    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return {
        "cpu": cpu_name(CPUINFO.read_text() if CPUINFO.exists() else ""),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "gpus": ", ".join(gpus),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def cpu_name(cpuinfo: str) -> str:
    """As Linux has it in /proc/cpuinfo, else as the platform does."""
    names = [line.partition(":")[2].strip() for line in cpuinfo.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
