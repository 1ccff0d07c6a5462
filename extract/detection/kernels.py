"""What the detector does on a GPU in one pass over the memory, where PyTorch takes several.

Imported only where tensors lie on a GPU: Triton comes with PyTorch's builds for these. Maps [B, c, h, w] and pooled
boxes [P, c, s, s] have their channels last in memory.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024  # numbers that a program of the GPU handles


def finish_(outputs: Tensor, bias: Tensor, added: Tensor | None) -> Tensor:
    """relu(outputs + bias + added) in place of `outputs` [B, c, h, w], for a bias [c]; rounded once."""
    assert outputs.is_contiguous(memory_format=torch.channels_last)
    assert added is None or added.is_contiguous(memory_format=torch.channels_last)
    assert outputs.numel() < 1 << 31
    if outputs.numel():
        grid = (triton.cdiv(outputs.numel(), BLOCK),)
        _finish[grid](
            outputs,
            bias,
            outputs if added is None else added,
            outputs.numel(),
            num_channels=len(bias),
            is_added=added is not None,
            block=BLOCK,
        )
    return outputs


def roi_pool(maps: Tensor, boxes: Tensor, *, size: int, scale: float) -> Tensor:
    """The greatest value in each of `size` x `size` bins of each box, as torchvision's `roi_pool` gives it.

    Args:
        maps: [B, c, h, w] of any type.
        boxes: [P, 5] float32: the number of the map, then x1 y1 x2 y2 in pixels.
        scale: cells a pixel.
    """
    channels, height, width = maps.shape[1:]
    assert maps.is_contiguous(memory_format=torch.channels_last)
    shape = (len(boxes), channels, size, size)
    pooled = torch.empty(shape, dtype=maps.dtype, device=maps.device, memory_format=torch.channels_last)
    columns = bin_edges(boxes[:, 1], boxes[:, 3], size=size, scale=scale, num_cells=width)
    rows = bin_edges(boxes[:, 2], boxes[:, 4], size=size, scale=scale, num_cells=height)
    if pooled.numel():
        block = min(BLOCK, triton.next_power_of_2(channels))
        grid = (len(boxes) * size * size, triton.cdiv(channels, block))
        _pool[grid](
            maps, boxes[:, 0].int(), rows, columns, pooled, height, width, size=size, num_channels=channels, block=block
        )
    return pooled


def bin_edges(first: Tensor, last: Tensor, *, size: int, scale: float, num_cells: int) -> Tensor:
    """Where the bins of boxes begin and end along one axis, [P, 2, size] int32 in cells, the end not in it.

    Args:
        first: [P] pixels, of the boxes' near sides; `last` of their far ones.
    """
    start, end = (_half_away(sides * scale) for sides in (first, last))
    bin_size = (end - start + 1).clamp(min=1) / size
    numbers = torch.arange(size + 1, device=first.device, dtype=torch.float32)
    edges = numbers * bin_size[:, None]
    both = torch.stack([edges[:, :-1].floor(), edges[:, 1:].ceil()], dim=1) + start[:, None, None]
    return both.clamp(0, num_cells).int()


def _half_away(numbers: Tensor) -> Tensor:
    """Rounded as C does, halves away from zero."""
    whole = numbers.trunc()
    return whole + numbers.sign() * ((numbers - whole).abs() >= 0.5)


@triton.jit
def _finish(outputs, bias, added, count, num_channels: tl.constexpr, is_added: tl.constexpr, block: tl.constexpr):
    at = tl.program_id(0) * block + tl.arange(0, block)
    is_inside = at < count
    values = tl.load(outputs + at, mask=is_inside).to(tl.float32)
    values += tl.load(bias + at % num_channels, mask=is_inside).to(tl.float32)
    if is_added:
        values += tl.load(added + at, mask=is_inside).to(tl.float32)
    values = tl.where(values < 0, 0.0, values)  # what is no number stays none, and is found when it is stored
    tl.store(outputs + at, values.to(outputs.dtype.element_ty), mask=is_inside)


@triton.jit
def _pool(
    maps,
    images,
    rows,
    columns,
    pooled,
    height,
    width,
    size: tl.constexpr,
    num_channels: tl.constexpr,
    block: tl.constexpr,
):
    """A bin of a box a program, so many channels at once."""
    box = tl.program_id(0) // (size * size)
    y = tl.program_id(0) // size % size
    x = tl.program_id(0) % size
    channels = tl.program_id(1) * block + tl.arange(0, block)
    is_inside = channels < num_channels
    top = tl.load(rows + box * 2 * size + y)
    bottom = tl.load(rows + (box * 2 + 1) * size + y)
    left = tl.load(columns + box * 2 * size + x)
    right = tl.load(columns + (box * 2 + 1) * size + x)
    image = tl.load(images + box).to(tl.int64)
    greatest = tl.full((block,), float("-inf"), tl.float32)
    for row in range(top, bottom):
        for column in range(left, right):
            cell = (image * height + row) * width + column
            values = tl.load(maps + cell * num_channels + channels, mask=is_inside, other=0.0).to(tl.float32)
            greatest = tl.where(values > greatest, values, greatest)
    if (bottom <= top) | (right <= left):
        greatest = tl.full((block,), 0.0, tl.float32)
    place = tl.program_id(0).to(tl.int64) * num_channels + channels
    tl.store(pooled + place, greatest.to(pooled.dtype.element_ty), mask=is_inside)
