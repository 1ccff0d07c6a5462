"""Which examples make up each step of training, the same for any number of devices and after a resume."""

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

BLOCK_SIZE = 2_000  # neighbours on disk that stay together


class Draw(NamedTuple):
    """One example in one epoch."""

    epoch: int
    example: int


class StepSampler(Sampler[list[Draw]]):
    """This process's micro-batches of a whole training, step after step.

    Examples stand in the order of the shards on disk. An epoch permutes blocks of neighbours and shuffles within a
    window of blocks, so that the disk is read mostly in order; inside a window, batches hold examples of like size.
    A global batch is cut into `num_processes` x `accumulation` equal parts, so the same examples make the same step
    whatever the number of devices. An epoch's last examples that fill no batch are left out; another epoch has others.

    Raises: ValueError if the parts are not equal, or an epoch holds not one batch.
    """

    def __init__(
        self,
        sizes: np.ndarray,
        *,
        batch_size: int,
        num_steps: int,
        seed: int,
        first_step: int = 0,
        num_processes: int = 1,
        process: int = 0,
        accumulation: int = 1,
        block_size: int = BLOCK_SIZE,
        window_size: int = 50_000,
    ):
        """
        Args:
            sizes: [N] or [N, 2], of the examples: tokens, and regions where their number counts as well.
            batch_size: examples a step, over all processes and micro-batches.
            first_step: how many of the steps are left out, since they were taken before.
            block_size: neighbours on disk that stay together.
            window_size: examples that are shuffled together.
        """
        if batch_size % (num_processes * accumulation):
            raise ValueError(
                f"batch size {batch_size} does not divide by {num_processes} processes x {accumulation} micro-batches"
            )
        if len(sizes) < batch_size:
            raise ValueError(f"{len(sizes)} examples fill no batch of {batch_size}; take a smaller batch_size")
        self.sizes = sizes.reshape(len(sizes), -1)
        self.batch_size, self.num_steps, self.seed = batch_size, num_steps, seed
        self.first_step, self.num_processes, self.process = first_step, num_processes, process
        self.accumulation = accumulation
        self.block_size, self.window_size = block_size, max(window_size, block_size)

    def __len__(self) -> int:
        return (self.num_steps - self.first_step) * self.accumulation

    def __iter__(self) -> Iterator[list[Draw]]:
        size = self.batch_size // (self.num_processes * self.accumulation)
        for epoch, batch in islice(self.global_batches(), self.first_step, None):
            for part in range(self.accumulation):
                start = (part * self.num_processes + self.process) * size
                yield [Draw(epoch, int(example)) for example in batch[start : start + size]]

    def global_batches(self) -> Iterator[tuple[int, np.ndarray]]:
        """Epoch and examples [batch_size] of each step."""
        steps, epoch = 0, 0
        while True:
            for batch in self._epoch(epoch):
                if steps == self.num_steps:
                    return
                steps += 1
                yield epoch, batch
            epoch += 1

    def _epoch(self, epoch: int) -> Iterator[np.ndarray]:
        generator = epoch_generator(self.seed, epoch)
        blocks = shuffled_blocks(len(self.sizes), generator, block_size=self.block_size)
        blocks_a_window = max(1, self.window_size // self.block_size)
        left = np.empty(0, dtype=np.int64)
        for start in range(0, len(blocks), blocks_a_window):
            window = np.concatenate([left, *blocks[start : start + blocks_a_window]])
            window = generator.permutation(window)
            num_whole = len(window) // self.batch_size * self.batch_size
            window, left = window[:num_whole], window[num_whole:]
            by_size = self._by_size(window).reshape(-1, self.batch_size)
            # In a batch, long and short alternate between the parts, so that no device gets the long ones alone.
            yield from generator.permuted(by_size[generator.permutation(len(by_size))], axis=1)

    def _by_size(self, window: np.ndarray) -> np.ndarray:
        """Whole batches of examples, those of like size together: by tokens, and among as many, by regions."""
        in_order = window[np.argsort(self.sizes[window, 0], kind="stable")]
        num_batches = len(window) // self.batch_size
        num_strips = round(num_batches**0.5) if self.sizes.shape[1] > 1 else 1
        strips = np.array_split(in_order.reshape(num_batches, -1), max(1, num_strips))
        return np.concatenate(
            [strip[np.argsort(self.sizes[strip.ravel(), -1], kind="stable")] for strip in map(np.ravel, strips)]
        )


def epoch_generator(seed: int, epoch: int) -> np.random.Generator:
    """What draws the order of an epoch: its blocks first."""
    return np.random.default_rng([seed, epoch])


def shuffled_blocks(
    num_examples: int, generator: np.random.Generator, *, block_size: int = BLOCK_SIZE
) -> list[np.ndarray]:
    """Neighbours on disk, in the order in which an epoch reads them."""
    blocks = np.array_split(np.arange(num_examples), -(-num_examples // block_size))
    return [blocks[block] for block in generator.permutation(len(blocks))]
