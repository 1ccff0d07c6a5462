"""The kernels for GPUs, run by Triton's interpreter on the CPU, against what PyTorch and torchvision give."""

import pytest
import torch
import torchvision

pytest.importorskip("triton", reason="no Triton, which comes with PyTorch's builds for GPUs")
from triton.runtime.interpreter import InterpretedFunction

from extract.detection import kernels
from extract.detection.folded import is_within

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


@pytest.fixture(autouse=True)
def interpreted(monkeypatch):
    for name in ("_finish", "_pool", "_overlap", "_corners", "_keep", "_either"):
        monkeypatch.setattr(kernels, name, InterpretedFunction(getattr(kernels, name).fn))
    for name in ("cdiv", "cumsum", "max", "sum", "zeros"):  # Triton's own functions are kernels too
        monkeypatch.setattr(kernels.tl, name, InterpretedFunction(getattr(kernels.tl, name).fn))


def random(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(len(shape))).to(dtype)
    return drawn.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else drawn


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("is_added", [False, True])
def test_bias_sum_and_relu_are_one_pass_that_rounds_once(dtype, is_added):
    outputs, bias = random(3, 7, 11, 13, dtype=dtype), random(7, dtype=dtype)
    added = random(3, 7, 11, 13, dtype=dtype).flip(0).contiguous(memory_format=torch.channels_last)
    exact = outputs.float() + bias.float()[:, None, None]
    expected = (exact + added.float() if is_added else exact).relu().to(dtype)
    finished = kernels.finish_(outputs, bias, added if is_added else None)
    assert finished is outputs
    # The interpreter cuts bfloat16 off where a GPU rounds.
    torch.testing.assert_close(finished, expected, rtol=2**-7 if dtype == torch.bfloat16 else 0, atol=0)


@pytest.mark.parametrize("is_added", [False, True])
def test_what_is_beyond_an_image_becomes_0_in_the_same_pass(is_added):
    outputs, bias = random(3, 7, 11, 13), random(7)
    added = random(3, 7, 11, 13).flip(0).contiguous(memory_format=torch.channels_last) if is_added else None
    outputs[1, 2, 10, 12] = torch.nan
    extents = torch.tensor([[11, 13], [5, 12], [0, 0]], dtype=torch.int32)
    expected = kernels.finish_(outputs.clone(memory_format=torch.preserve_format), bias, added)
    expected.masked_fill_(~is_within(extents, expected), 0)
    assert torch.equal(kernels.finish_(outputs, bias, added, extents), expected)
    assert 0 < expected[1].count_nonzero() <= 7 * 5 * 12


def test_what_is_no_number_stays_none():
    """A ReLU that made it 0 would hide an activation that float16 cannot hold."""
    outputs = random(1, 5, 2, 3)
    outputs[0, 2, 1, 1] = torch.nan
    assert kernels.finish_(outputs, torch.zeros(5), None).isnan().nonzero().tolist() == [[0, 2, 1, 1]]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_pooling_gives_torchvision_s_numbers(dtype):
    """Boxes of all sizes, beyond the map, of no area, and with corners half way between two cells."""
    generator = torch.Generator().manual_seed(5)
    corners = (torch.rand(7, 2, 2, generator=generator) * torch.tensor([190, 290])).sort(dim=1).values.flatten(1)
    corners[:4] = torch.tensor([[8.0, 24, 40, 56], [0, 0, 500, 400], [50, 50, 50, 50], [300, 300, 310, 320]])
    boxes = torch.cat([torch.arange(7)[:, None] % 2, corners], dim=1)
    maps = random(2, 5, 17, 11, dtype=dtype)
    pooled = kernels.roi_pool(maps, boxes, size=3, scale=1 / 16)
    assert pooled.dtype == dtype
    expected = torchvision.ops.roi_pool(maps.float().contiguous(), boxes, 3, 1 / 16)
    assert torch.equal(pooled.float(), expected)
    assert (expected == 0).any()


def test_no_boxes_are_pooled_to_none():
    assert kernels.roi_pool(random(2, 5, 17, 11), torch.zeros(0, 5), size=7, scale=1 / 16).shape == (0, 5, 7, 7)


def boxes_of(*images: list[list[float]]) -> torch.Tensor:
    return torch.tensor(images, dtype=torch.float32)


def kept_by_torchvision(
    boxes: torch.Tensor, scores: torch.Tensor, is_candidate: torch.Tensor, *, iou: float, num_kept: int
) -> list[list[int]]:
    """Of each image the places after sorting by scores, as `propose` has them."""
    kept = []
    for of_image, of_scores, is_one in zip(boxes, scores, is_candidate, strict=True):
        places = is_one.nonzero()[:, 0]
        kept.append(places[torchvision.ops.nms(of_image[is_one], of_scores[is_one], iou)][:num_kept].tolist())
    return kept


def kept_by_ours(boxes: torch.Tensor, is_candidate: torch.Tensor, *, iou: float, num_kept: int) -> list[list[int]]:
    kept, counts = kernels.nms(boxes, is_candidate, iou=iou, num_kept=num_kept)
    return [of_image[:count].tolist() for of_image, count in zip(kept, counts.tolist(), strict=True)]


@pytest.mark.parametrize(
    ("count", "spread", "num_kept"), [(1, 3, 7), (64, 40, 400), (65, 3, 7), (65, 40, 7), (211, 3, 400), (211, 40, 400)]
)
def test_nms_keeps_the_boxes_that_torchvision_s_keeps(count, spread, num_kept):
    """Crowded and sparse boxes on a grid, so that many overlaps are equal and some are the threshold itself; equal
    scores, scores that are no number, which come first, and boxes that are no candidates.
    """
    generator = torch.Generator().manual_seed(count + spread)
    corners = torch.randint(0, spread, (3, count, 2), generator=generator).float()
    boxes = torch.cat([corners, corners + torch.randint(1, 7, (3, count, 2), generator=generator)], dim=2)
    scores = torch.randint(0, 23, (3, count), generator=generator).float()
    scores[1, ::5] = torch.nan
    scores, order = scores.sort(dim=1, descending=True, stable=True)
    boxes = boxes.gather(1, order[:, :, None].expand(-1, -1, 4))
    is_candidate = torch.rand(3, count, generator=generator) < torch.tensor([[1.0], [0.8], [0.0]])
    expected = kept_by_torchvision(boxes, scores, is_candidate, iou=0.5, num_kept=num_kept)
    assert kept_by_ours(boxes, is_candidate, iou=0.5, num_kept=num_kept) == expected
    assert expected[2] == []


def test_the_best_of_boxes_that_are_all_one_stays_alone():
    boxes = boxes_of([[2, 3, 5, 7]] * 130, [[2, 3, 5, 7]] * 130)
    is_candidate = torch.ones(2, 130, dtype=torch.bool)
    is_candidate[1, :67] = False
    assert kept_by_ours(boxes, is_candidate, iou=0.7, num_kept=11) == [[0], [67]]


def test_a_box_that_was_driven_out_drives_none_out():
    """Each overlaps its neighbours alone, so that every second one stays, over the borders of the 64 at once."""
    boxes = boxes_of([[4 * place, 0, 4 * place + 6, 1] for place in range(150)])
    kept = kept_by_ours(boxes, torch.ones(1, 150, dtype=torch.bool), iou=0.1, num_kept=200)
    assert kept == [list(range(0, 150, 2))]


def test_an_overlap_of_the_threshold_itself_drives_none_out():
    """A third in float32 is above a third, and 0.7 in float32 below 0.7: the comparison is that of the exact number."""
    boxes = boxes_of([[0, 0, 2, 1], [1, 0, 3, 1]])
    for iou in (1 / 3, 0.33333333, 0.3333334):
        scores, is_candidate = torch.tensor([[2.0, 1.0]]), torch.ones(1, 2, dtype=torch.bool)
        expected = kept_by_torchvision(boxes, scores, is_candidate, iou=iou, num_kept=2)
        assert kept_by_ours(boxes, is_candidate, iou=iou, num_kept=2) == expected
    assert kernels.largest_below(0.7) < 0.7 < kernels.largest_below(0.7) + 1e-7
    assert kernels.largest_below(1 / 3) < 1 / 3
    assert kernels.largest_below(0.5) == 0.5


def test_of_no_boxes_none_stay():
    assert kept_by_ours(torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.bool), iou=0.7, num_kept=5) == [[], []]
