"""Evaluation in shares: every process asks the model about its part of the examples, and all know every answer.

Dimension key:
    C: captions   I: images
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from extract.terminal import bar
from vilbert.model.device_memory import enough_memory
from vilbert.retrieval.scoring import EncodedImage, score_pairs

Answer = TypeVar("Answer")


def ask_in_shares(
    examples: Sequence[int], ask: Callable[[list[int]], Sequence[Answer]], *, batch_size: int
) -> dict[int, Answer]:
    """Answers by example, the same in every process; all have to ask, and wait for the answers.

    All shares are of one size, as spread weights are gathered for all processes at once: where the examples do not
    divide, some processes ask about the last one again.

    Args:
        examples: neighbours are asked about together.
        ask: the answers to a batch of them, which may be pickled.
    Raises: ValueError if a GPU's memory is too small for a batch.
    """
    num_processes, process = (dist.get_world_size(), dist.get_rank()) if dist.is_initialized() else (1, 0)
    num_shared = -(-len(examples) // num_processes) * num_processes
    share = [examples[min(place, len(examples) - 1)] for place in range(process, num_shared, num_processes)]
    answers: dict[int, Answer] = {}
    starts = range(0, len(share), batch_size)
    is_shown = process == 0 and len(starts) > 1  # who asks once has a bar of its own
    for start in bar(starts, desc="evaluating", unit="batch", is_shown=is_shown, is_passing=True):
        batch = share[start : start + batch_size]
        with enough_memory(f"it does not hold {len(batch)} held-out examples beside the model; take a smaller model"):
            answers.update(zip(batch, ask(batch), strict=True))
    if num_processes == 1:
        return answers
    of_all: list[dict[int, Answer]] = [{}] * num_processes
    dist.all_gather_object(of_all, answers)
    return {example: answer for one in of_all for example, answer in one.items()}


def score_in_shares(model: nn.Module, captions: Sequence[Tensor], images: Sequence[EncodedImage]) -> Tensor:
    """As `score_pairs`, a share of the captions in every process: float32 [C, I] on the CPU."""
    is_first = not dist.is_initialized() or dist.get_rank() == 0

    def rows(share: list[int]) -> list[np.ndarray]:
        return list(score_pairs(model, [captions[caption] for caption in share], images, is_shown=is_first).numpy())

    scores = ask_in_shares(range(len(captions)), rows, batch_size=len(captions))
    return torch.from_numpy(np.stack([scores[caption] for caption in range(len(captions))]))
