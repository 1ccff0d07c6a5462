"""What the detector does on a GPU in one pass over the memory, where PyTorch takes several.

Imported only where tensors lie on a GPU: Triton comes with PyTorch's builds for these. Maps [B, c, h, w] and pooled
boxes [P, c, s, s] have their channels last in memory.
"""

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024  # numbers that a program of the GPU handles
WORD = 64  # boxes, a bit each


def finish_(outputs: Tensor, bias: Tensor, added: Tensor | None, extents: Tensor | None = None) -> Tensor:
    """relu(outputs + bias + added) in place of `outputs` [B, c, h, w], for a bias [c]; rounded once.

    Args:
        extents: [B, 2] int32, height and width of each map, beyond which it becomes 0; null: all of it counts.
    """
    assert outputs.is_contiguous(memory_format=torch.channels_last)
    assert added is None or added.is_contiguous(memory_format=torch.channels_last)
    if outputs.numel():
        num_maps, channels, height, width = outputs.shape
        num_blocks = triton.cdiv(width * channels, BLOCK)  # a row of cells
        _finish[(num_maps * height * num_blocks,)](
            outputs,
            bias,
            outputs if added is None else added,
            outputs if extents is None else extents,
            height,
            width,
            num_channels=channels,
            is_added=added is not None,
            is_masked=extents is not None,
            block=BLOCK,
        )
    return outputs


def nms(boxes: Tensor, is_candidate: Tensor, *, iou: float, num_kept: int) -> tuple[Tensor, Tensor]:
    """Which boxes torchvision's `nms` keeps first, of all images at once and with no wait for the GPU.

    Its own ends in a loop over all boxes of an image, 2 ms for 6,000, and is waited for image by image.

    Args:
        boxes: [B, N, 4] float32, x1 y1 x2 y2, the likeliest first.
        is_candidate: [B, N] bool; the others neither stay nor drive out.
        iou: overlap above which the less likely of two goes.
    Returns: their places, [B, num_kept] int64, and how many of an image's count, [B] int32.
    """
    num_images, count, _ = boxes.shape
    num_words = triton.cdiv(count, WORD)
    kept = torch.zeros(num_images, num_kept, dtype=torch.int64, device=boxes.device)
    counts = torch.zeros(num_images, dtype=torch.int32, device=boxes.device)
    if count:
        overlaps = torch.empty(num_images, count, num_words, dtype=torch.int64, device=boxes.device)
        grid = (num_words, num_words, num_images)
        # Sums and products apart, as the CPU has them: which boxes overlap by exactly `iou` is no matter of the device.
        _overlap[grid](
            boxes.contiguous(), overlaps, count, num_words, largest_below(iou), word=WORD, enable_fp_fusion=False
        )
        _keep[(num_images,)](
            overlaps,
            is_candidate.to(torch.int8),
            kept,
            counts,
            count,
            num_words,
            num_kept,
            word=WORD,
            words=triton.next_power_of_2(num_words),
            num_warps=8,
        )
    return kept, counts


def largest_below(number: float) -> float:
    """The largest float32 that is not above it, so that a float32 is above one where it is above the other."""
    rounded = np.float32(number)
    return float(rounded if float(rounded) <= number else np.nextafter(rounded, np.float32(-np.inf)))


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


# Heights, widths and counts are not specialised: each new kind of number would be another kernel to compile.
@triton.jit(do_not_specialize=["height", "width"], do_not_specialize_on_alignment=["extents"])
def _finish(
    outputs,
    bias,
    added,
    extents,
    height,
    width,
    num_channels: tl.constexpr,
    is_added: tl.constexpr,
    is_masked: tl.constexpr,
    block: tl.constexpr,
):
    """So many numbers of one row of cells a program."""
    length = width * num_channels
    num_blocks = tl.cdiv(length, block)
    row = tl.program_id(0) // num_blocks
    in_row = tl.program_id(0) % num_blocks * block + tl.arange(0, block)
    is_inside = in_row < length
    at = row.to(tl.int64) * length + in_row
    values = tl.load(outputs + at, mask=is_inside, other=0.0).to(tl.float32)
    values += tl.load(bias + in_row % num_channels, mask=is_inside, other=0.0).to(tl.float32)
    if is_added:
        values += tl.load(added + at, mask=is_inside, other=0.0).to(tl.float32)
    values = tl.where(values < 0, 0.0, values)  # what is no number stays none, and is found when it is stored
    if is_masked:
        image = row // height
        is_of_map = (row % height < tl.load(extents + 2 * image)) & (
            in_row < tl.load(extents + 2 * image + 1) * num_channels
        )
        values = tl.where(is_of_map, values, 0.0)
    tl.store(outputs + at, values.to(outputs.dtype.element_ty), mask=is_inside)


@triton.jit(do_not_specialize=["count", "num_words"])
def _overlap(boxes, overlaps, count, num_words, threshold, word: tl.constexpr):
    """Bit j of word w of a box: it overlaps the less likely box number 64 w + j by more than the threshold."""
    if tl.program_id(1) >= tl.program_id(0):
        better = tl.program_id(0) * word + tl.arange(0, word)
        others = tl.program_id(1) * word + tl.arange(0, word)
        of_image = tl.program_id(2).to(tl.int64) * count
        x1, y1, x2, y2 = _corners(boxes + 4 * of_image, better, count)
        left, top, right, bottom = _corners(boxes + 4 * of_image, others, count)
        width = tl.maximum(tl.minimum(x2[:, None], right[None, :]) - tl.maximum(x1[:, None], left[None, :]), 0.0)
        height = tl.maximum(tl.minimum(y2[:, None], bottom[None, :]) - tl.maximum(y1[:, None], top[None, :]), 0.0)
        both = width * height
        either = ((x2 - x1) * (y2 - y1))[:, None] + ((right - left) * (bottom - top))[None, :] - both
        is_above = tl.div_rn(both, tl.where(either > 0, either, 1.0)) > threshold
        is_above &= (others[None, :] > better[:, None]) & (others < count)[None, :]
        bits = tl.full((word,), 1, tl.int64) << tl.arange(0, word).to(tl.int64)
        bits = tl.sum(tl.where(is_above, bits[None, :], 0), axis=1)
        tl.store(overlaps + (of_image + better) * num_words + tl.program_id(1), bits, mask=better < count)


@triton.jit
def _corners(boxes, places, count):
    is_inside = places < count
    x1 = tl.load(boxes + 4 * places, mask=is_inside, other=0.0)
    y1 = tl.load(boxes + 4 * places + 1, mask=is_inside, other=0.0)
    x2 = tl.load(boxes + 4 * places + 2, mask=is_inside, other=0.0)
    y2 = tl.load(boxes + 4 * places + 3, mask=is_inside, other=0.0)
    return x1, y1, x2, y2


@triton.jit(do_not_specialize=["count", "num_words", "num_wanted"])
def _keep(
    overlaps,
    is_candidate,
    kept,
    counts,
    count,
    num_words,
    num_wanted,
    word: tl.constexpr,
    words: tl.constexpr,
):
    """An image a program, 64 boxes at once, until enough are kept."""
    of_image = tl.program_id(0).to(tl.int64) * count
    bits = tl.arange(0, word).to(tl.int64)
    columns = tl.arange(0, words)
    gone = tl.zeros((words,), tl.int64)  # bit j of word w: box 64 w + j overlaps a better one that is kept
    found = 0
    block = 0
    while (block < num_words) & (found < num_wanted):
        places = block * word + tl.arange(0, word)
        rows = overlaps + (of_image + places) * num_words
        is_inside = places < count
        gone_here = tl.sum(tl.where(columns == block, gone, 0), axis=0)
        is_left = (tl.load(is_candidate + of_image + places, mask=is_inside, other=0) != 0) & (
            ((gone_here >> bits) & 1) == 0
        )
        # Who stays is settled for one more box a turn at least, and for all as soon as a turn changes nothing.
        drives_out = ((tl.load(rows + block, mask=is_inside, other=0)[:, None] >> bits[None, :]) & 1) != 0
        stays = is_left
        num_changed = 1
        while num_changed > 0:
            is_driven_out = tl.max((drives_out & stays[:, None]).to(tl.int32), axis=0) > 0
            stay = is_left & ~is_driven_out
            num_changed = tl.sum((stay != stays).to(tl.int32), axis=0)
            stays = stay
        is_later = (columns > block) & (columns < num_words)
        of_kept = tl.load(rows[:, None] + columns[None, :], mask=stays[:, None] & is_later[None, :], other=0)
        gone |= tl.reduce(of_kept, 0, _either)
        order = found + tl.cumsum(stays.to(tl.int32), axis=0) - 1
        tl.store(kept + tl.program_id(0) * num_wanted + order, places.to(tl.int64), mask=stays & (order < num_wanted))
        found += tl.sum(stays.to(tl.int32), axis=0)
        block += 1
    tl.store(counts + tl.program_id(0), tl.minimum(found, num_wanted))


@triton.jit
def _either(one, other):
    return one | other


@triton.jit(do_not_specialize=["height", "width"])
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
