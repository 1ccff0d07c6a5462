"""Attention in short rows: the kernel of our own beside PyTorch's choice, and how far they are apart.

Dimension key:
    B: batch   Q: queries   K: keys   H: heads   D: width of a head
"""

from collections.abc import Callable, Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.machine import Machine, Row

SHAPES = {  # H, Q, K, D
    "text": (12, 16, 16, 64),
    "visual": (8, 37, 37, 128),
    "co-attention of text": (8, 16, 37, 128),
    "co-attention of regions": (8, 37, 16, 128),
}
BATCH, DROPOUT, TIMES, TOLERANCE = 512, 0.1, 20, 0.05

Attend = Callable[..., Tensor]  # of query, key, value and `dropout_p`


def measure_attention(machine: Machine) -> Iterator[Row]:
    """Nothing without a GPU. Raises: AssertionError if the kernel's result or gradients are not PyTorch's."""
    if machine.device.type != "cuda":
        return
    from vilbert.model.short_attention import attend_short

    for name, (heads, queries, keys, width) in SHAPES.items():
        of_rows = [
            torch.randn(BATCH, length, heads, width, device=machine.device, dtype=torch.bfloat16)
            for length in (queries, keys, keys, queries)
        ]
        *inputs, given = (tensor.transpose(1, 2) for tensor in of_rows)
        mask = torch.ones(BATCH, 1, 1, keys, dtype=torch.bool, device=machine.device)
        mask[:, ..., -3:] = False
        ways: dict[str, Attend] = {
            "PyTorch": partial(attend_by_pytorch, mask=mask),
            "short": partial(attend_short, mask=mask),
        }
        expected = both_passes(ways["PyTorch"], [tensor.float() for tensor in inputs], given.float(), 0.0)
        for ours, theirs in zip(both_passes(ways["short"], inputs, given, 0.0), expected, strict=True):
            torch.testing.assert_close(ours.float(), theirs, atol=TOLERANCE, rtol=TOLERANCE)
        for way, attend in ways.items():
            microseconds = device_microseconds(lambda: both_passes(attend, inputs, given, DROPOUT))  # noqa: B023
            yield Row(f"attention, {name}", way, f"{microseconds:,.0f} µs forward and backward")


def attend_by_pytorch(query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor, dropout_p: float) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout_p)


def both_passes(attend: Attend, inputs: list[Tensor], given: Tensor, dropout_p: float) -> list[Tensor]:
    """The result, and the gradients of query, key and value."""
    parts = [tensor.detach().requires_grad_() for tensor in inputs]
    mixed = attend(*parts, dropout_p=dropout_p)
    return [mixed.detach(), *torch.autograd.grad(mixed, parts, given)]


def device_microseconds(work: Callable[[], object]) -> float:
    """That the device works on one call, whatever Python takes to ask for it."""
    for _ in range(3):
        work()
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        for _ in range(TIMES):
            work()
        torch.cuda.synchronize()
    return sum(event.self_device_time_total for event in profiled.key_averages()) / TIMES
