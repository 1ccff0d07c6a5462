import time
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from vilbert.training.precision import choose_dtype, is_half_faster, multiplied_in


def machine(monkeypatch, *, gpu: bool = False, gpu_has_half: bool = False, amx: bool = False) -> None:
    """What torch says of the machine."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: gpu_has_half)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla V100")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)


@pytest.mark.parametrize(
    ("here", "expected"),
    [
        ({"gpu": True, "gpu_has_half": True}, "bfloat16"),
        ({"gpu": True}, "float32"),
        ({"amx": True}, "bfloat16"),
        ({}, "float32"),
    ],
    ids=str,
)
def test_auto_is_what_is_fast_here(monkeypatch, here, expected):
    machine(monkeypatch, **here)
    assert choose_dtype("auto", is_half_faster=lambda: True).dtype == expected


def test_a_cpu_with_amx_is_timed_since_narrow_layers_are_no_faster(monkeypatch):
    machine(monkeypatch, amx=True)
    assert choose_dtype("auto", is_half_faster=lambda: False).dtype == "float32"


def test_a_cpu_without_amx_is_not_timed(monkeypatch):
    machine(monkeypatch)
    assert choose_dtype("auto", is_half_faster=lambda: pytest.fail("timed")).dtype == "float32"


def test_a_training_goes_on_in_its_type_unless_the_setting_says_another(monkeypatch):
    machine(monkeypatch)
    assert choose_dtype("auto", begun_in="bfloat16") == ("bfloat16", "as the training began")
    assert choose_dtype("float32", begun_in="bfloat16") == ("float32", "runtime.dtype")


@pytest.mark.parametrize(
    ("asked", "begun_in", "whose"),
    [("bfloat16", None, "runtime.dtype is"), ("auto", "bfloat16", "the training began in")],
)
def test_bfloat16_on_a_gpu_that_has_none_is_an_error(monkeypatch, asked, begun_in, whose):
    machine(monkeypatch, gpu=True)
    expected = f"^{whose} bfloat16, which Tesla V100 has not; set runtime.dtype to float32$"
    with pytest.raises(ValueError, match=expected):
        choose_dtype(asked, begun_in=begun_in)


class SlowInOneType(nn.Module):
    def __init__(self, *, slow_in_half: bool):
        super().__init__()
        self.linear, self.slow_in_half = nn.Linear(3, 1), slow_in_half

    def forward(self, states):
        time.sleep(0.05 * (torch.is_autocast_enabled("cpu") == self.slow_in_half))
        return SimpleNamespace(loss=self.linear(states).sum())


@pytest.mark.parametrize("slow_in_half", [True, False])
def test_both_types_are_timed_and_leave_no_gradient(slow_in_half):
    model = SlowInOneType(slow_in_half=slow_in_half)
    assert is_half_faster(model, {"states": torch.ones(2, 3)}) is not slow_in_half
    assert model.linear.weight.grad is None


def test_products_are_of_the_type():
    matrix = torch.ones(3, 3)
    with multiplied_in("bfloat16", "cpu"):
        assert (matrix @ matrix).dtype == torch.bfloat16
    with multiplied_in("float32", "cpu"):
        assert (matrix @ matrix).dtype == torch.float32
