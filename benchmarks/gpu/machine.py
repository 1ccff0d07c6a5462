"""What all sections know of the machine, and how they time it."""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch

# TFLOP/s of dense bfloat16 products, from the makers' data sheets; a name is found in that of the device.
DATA_SHEETS = {
    "H200": 989,
    "H100 PCIe": 756,
    "H100 NVL": 835,
    "H100": 989,
    "A100": 312,
    "B200": 2250,
    "L40S": 362,
    "RTX 4090": 165,
}


class Row(NamedTuple):
    """One line of the report."""

    what: str
    way: str
    figure: str


@dataclass
class Machine:
    """A GPU, or, to see that the sections run, the CPU."""

    device: torch.device
    quick: bool  # the smallest sizes, once
    folder: Path  # for what is made and thrown away
    peak_tflops: float | None = None  # measured, of bfloat16 products, once its section has run
    profiles: dict[str, str] = field(default_factory=dict)  # where a step's time goes, by the way of taking it

    @property
    def name(self) -> str:
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "CPU"

    @cached_property
    def data_sheet_tflops(self) -> float | None:
        return next((peak for name, peak in DATA_SHEETS.items() if name in self.name), None)

    def seconds(self, work: Callable[[], object], *, times: int) -> float:
        """Of one call, the mean of several that the device takes one after another."""
        self.synchronize()
        start = time.perf_counter()
        for _ in range(times):
            work()
        self.synchronize()
        return (time.perf_counter() - start) / times

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def shares(self, tflops: float) -> str:
        """TFLOP/s, and what part they are of both peaks."""
        peaks = {"measured": self.peak_tflops, "of the data sheet": self.data_sheet_tflops}
        parts = [f"{tflops / peak:.1%} of the {peak:,.0f} {name}" for name, peak in peaks.items() if peak is not None]
        return ", ".join([f"{tflops:,.1f} TFLOP/s", *parts])


def waits_for_the_gpu(work: Callable[[], object]) -> int:
    """How often the process does."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            work()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing CUDA operation" in str(warning.message) for warning in found)
