"""The kernels for GPUs, run by Triton's interpreter on the CPU, against what PyTorch and torchvision give."""

import pytest
import torch
import torchvision

pytest.importorskip("triton", reason="no Triton, which comes with PyTorch's builds for GPUs")
from triton.runtime.interpreter import InterpretedFunction

from extract.detection import kernels

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


@pytest.fixture(autouse=True)
def interpreted(monkeypatch):
    for name in ("_finish", "_pool"):
        monkeypatch.setattr(kernels, name, InterpretedFunction(getattr(kernels, name).fn))


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
