"""Regions in float16: the detector alone, and the whole stage on photographs of mixed sizes.

`python -m benchmarks.gpu_regions` says more: the other types, the parts of a batch, and how far the halves are off.
"""

from collections.abc import Iterator
from dataclasses import replace

from benchmarks import gpu_regions
from benchmarks.gpu.machine import Machine, Row, waits_for_the_gpu

NUM_PHOTOGRAPHS = 312  # of which the stage is still in its start for a few


def measure_regions(machine: Machine) -> Iterator[Row]:
    """Raises: RuntimeError if the detector waits for the GPU more often than once a batch."""
    whole = replace(gpu_regions.WHOLE, num_photographs=NUM_PHOTOGRAPHS)
    sizes = gpu_regions.QUICK if machine.quick else whole
    gpu_regions.prepare(machine.folder, sizes)
    detector = gpu_regions.load(machine.folder / "weights.pkl", dtype="float16", sizes=sizes, device=machine.device)
    what = f"regions, {sizes.num_proposals} boxes an image, float16"
    yield Row(what, "the detector", gpu_regions.measure_detector(detector, sizes=sizes))
    if machine.device.type == "cuda":
        pixels, of_size = gpu_regions.resized_batch(detector, gpu_regions.BATCH_SIZE)
        num_waits = waits_for_the_gpu(lambda: detector.detect(pixels, of_size))
        yield Row(what, "the detector", f"waits for the GPU {num_waits} time(s) a batch: 1 counts the boxes")
        if num_waits > 1:
            raise RuntimeError(f"the detector waits for the GPU {num_waits} times a batch, expected 1")
    for line in gpu_regions.measure_stage(machine.folder, sizes):
        yield Row(what, "the stage", line)
