"""What the device does at best: a product of large matrices, and a copy."""

from collections.abc import Iterator

import torch

from benchmarks.gpu.machine import Machine, Row

TIMES = 20


def measure_peaks(machine: Machine) -> Iterator[Row]:
    size, num_bytes = (64, 2**16) if machine.quick else (8192, 2**30)
    one, other = torch.randn(2, size, size, device=machine.device, dtype=torch.bfloat16)
    machine.seconds(lambda: one @ other, times=3)
    machine.peak_tflops = 2 * size**3 / machine.seconds(lambda: one @ other, times=TIMES) / 1e12
    yield Row("matrix product", f"bfloat16, {size} x {size} x {size}", machine.shares(machine.peak_tflops))
    source = torch.empty(num_bytes, dtype=torch.uint8, device=machine.device)
    target = torch.empty_like(source)
    machine.seconds(lambda: target.copy_(source), times=3)
    seconds = machine.seconds(lambda: target.copy_(source), times=TIMES)
    yield Row("copy", f"{num_bytes / 2**20:,.0f} MiB", f"{2 * num_bytes / seconds / 1e12:.3g} TB/s read and written")
