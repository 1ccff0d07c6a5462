"""The micro-batches of each step, made and on their way to the device while the step before them runs."""

import math
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader, Dataset

from vilbert.batches.sampling import StepSampler
from vilbert.model.inputs import Batch
from vilbert.settings import OptimizerSettings, RuntimeSettings


@dataclass(frozen=True)
class Step:
    """This process's part of one step."""

    number: int  # from 1
    batches: list[Batch]  # its micro-batches, on the device
    on_cpu: list[Batch]  # the same, where reading them makes no GPU wait
    counts: list[Batch]  # of each, over how many items each loss is a mean: [] on the device
    seconds_waited: float = 0.0  # until its batches were made
    copied: torch.cuda.Event | None = None  # when all of it is on a GPU


def make_sampler(
    accelerator: Accelerator,
    lengths: np.ndarray,
    *,
    optimizer: OptimizerSettings,
    runtime: RuntimeSettings,
    seed: int,
    first_step: int,
) -> StepSampler:
    """This process's micro-batches of the training. The global batch is the setting, whatever the devices.

    Args:
        first_step: how many steps have been taken already.
    Raises: ValueError for batches that do not divide.
    """
    num_processes = accelerator.num_processes
    return StepSampler(
        lengths,
        batch_size=optimizer.batch_size,
        num_steps=count_steps(optimizer, len(lengths)),
        seed=seed,
        first_step=first_step,
        num_processes=num_processes,
        process=accelerator.process_index,
        accumulation=math.ceil(optimizer.batch_size / (runtime.micro_batch_size * num_processes)),
    )


def count_steps(optimizer: OptimizerSettings, num_examples: int) -> int:
    """How many a training takes."""
    return max(1, round(optimizer.num_epochs * (num_examples // optimizer.batch_size)))


def steps_of(
    dataset: Dataset,
    sampler: StepSampler,
    *,
    runtime: RuntimeSettings,
    device: torch.device,
    count_items: Callable[[Batch], Batch],
) -> Iterator[Step]:
    """The steps of a sampler; batches that a dataset makes whole, read by `runtime.num_workers` processes."""
    loader = DataLoader(
        dataset,
        batch_sampler=sampler,
        collate_fn=partial(with_counts, count_items),
        num_workers=runtime.num_workers,
        worker_init_fn=outlive_a_warning,
        pin_memory=device.type == "cuda",
        prefetch_factor=4 if runtime.num_workers else None,
        generator=torch.Generator(),  # or else a resumed training would draw another dropout
    )
    made = iter(loader)
    copies = torch.cuda.Stream(device) if device.type == "cuda" else None
    for number in range(sampler.first_step + 1, sampler.num_steps + 1):
        start = time.monotonic()
        micro_batches = list(islice(made, sampler.accumulation))
        waited = time.monotonic() - start
        with torch.cuda.stream(copies):
            step = Step(
                number,
                batches=[on_device(batch, device) for batch, _ in micro_batches],
                on_cpu=[batch for batch, _ in micro_batches],
                counts=[on_device(counts, device) for _, counts in micro_batches],
                seconds_waited=waited,
                copied=None if copies is None else copies.record_event(),
            )
        yield step


def one_ahead(steps: Iterable[Step], *, is_pause: Callable[[Step], bool] = lambda step: False) -> Iterator[Step]:
    """The same steps, each begun before the one before it is given away, but for those behind a pause.

    Args:
        is_pause: whether something happens after a step on which the next one's batches may depend.
    """
    left = iter(steps)
    ahead = next(left, None)
    while ahead is not None:
        step = ahead
        is_last = is_pause(step)
        ahead = None if is_last else next(left, None)
        yield step
        if is_last:
            ahead = next(left, None)


def arrived(step: Step) -> Step:
    """The same step: what the device is given from now on waits for its copies, and their memory for that."""
    if step.copied is not None:
        stream = torch.cuda.current_stream()
        stream.wait_event(step.copied)
        for tensor in (tensor for batch in (*step.batches, *step.counts) for tensor in batch.values()):
            tensor.record_stream(stream)
    return step


def on_device(batch: Batch, device: torch.device) -> Batch:
    """A copy that the process does not wait for; it runs behind what the stream has been given before."""
    return {name: value.to(device, non_blocking=True) for name, value in batch.items()}


def outlive_a_warning(worker: int) -> None:
    """A reading process leaves SIGTERM, which a scheduler sends to all, to the training, which ends the process."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def with_counts(count_items: Callable[[Batch], Batch], batch: Any) -> tuple[Batch, Batch]:
    """The loader's `collate_fn`: the dataset has made a batch already; what is counted in it is pinned with it."""
    return batch, count_items(batch)
