"""The type that matrices are multiplied in: what is asked for, what a training began with, or what is faster here."""

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Literal, NamedTuple

import torch
from accelerate.utils import broadcast_object_list
from torch import nn

from extract.devices import has_gpu
from vilbert.model.inputs import Batch
from vilbert.settings import RuntimeSettings
from vilbert.training.devices import is_first_process
from vilbert.training.folder import TrainingFolder

Dtype = Literal["float32", "bfloat16"]
TURNS = 3


class Choice(NamedTuple):
    """A type, and why it is that."""

    dtype: Dtype
    reason: str


def dtype_of_training(
    runtime: RuntimeSettings, folder: TrainingFolder, *, model: nn.Module, few_examples: Callable[[], Batch]
) -> Dtype:
    """The same in every process, as the first finds and tells it; to be kept in the folder when that is claimed.

    Args:
        few_examples: what is timed, where types have to be.
    Raises: ValueError for bfloat16 on a GPU that has none.
    """
    found: list = [None]
    if is_first_process():
        choice = choose_dtype(
            runtime.dtype, begun_in=folder.dtype, is_half_faster=lambda: is_half_faster(model, few_examples())
        )
        print(f"matrices are multiplied in {choice.dtype}: {choice.reason}", file=sys.stderr)
        found = [choice.dtype]
    return broadcast_object_list(found)[0]


def choose_dtype(
    asked: Literal["auto", "float32", "bfloat16"],
    *,
    begun_in: Dtype | None = None,
    is_half_faster: Callable[[], bool] = lambda: False,
) -> Choice:
    """What is asked for; with 'auto' what an unfinished training is in already, then what is faster.

    Args:
        is_half_faster: asked of a CPU that multiplies bfloat16 by itself; any other emulates it, in twice the time.
    Raises: ValueError for bfloat16 on a GPU that has none.
    """
    is_on_gpu = has_gpu()
    has_half = is_on_gpu and torch.cuda.is_bf16_supported(including_emulation=False)
    if "bfloat16" in (asked, asked == "auto" and begun_in) and is_on_gpu and not has_half:
        whose = "runtime.dtype is" if asked == "bfloat16" else "the training began in"
        raise ValueError(
            f"{whose} bfloat16, which {torch.cuda.get_device_name()} has not; set runtime.dtype to float32"
        )
    if asked != "auto":
        return Choice(asked, "runtime.dtype")
    if begun_in is not None:
        return Choice(begun_in, "as the training began")
    if is_on_gpu:
        return Choice("bfloat16", "the GPU has it") if has_half else Choice("float32", "the GPU has no bfloat16")
    if not torch.cpu._is_amx_tile_supported():
        return Choice("float32", "this CPU has no AMX")
    return Choice("bfloat16", "faster here") if is_half_faster() else Choice("float32", "bfloat16 is no faster here")


def is_half_faster(model: nn.Module, batch: Batch) -> bool:
    """Whether a CPU is through with forward and backward sooner in bfloat16; both types in turns, the best of each.

    Narrow layers are not: they take longer to cast than to multiply.
    """
    seconds: dict[Dtype, list[float]] = {"float32": [], "bfloat16": []}
    for _ in range(TURNS):
        for dtype, turns in seconds.items():
            start = time.perf_counter()
            with multiplied_in(dtype, "cpu"):
                loss = model(**batch).loss
            loss.backward()
            turns.append(time.perf_counter() - start)
            model.zero_grad()
    return min(seconds["bfloat16"]) < min(seconds["float32"])


def multiplied_in(dtype: Dtype, device_type: str) -> AbstractContextManager:
    """Matrices are, by autocast."""
    return torch.autocast(device_type, dtype=torch.bfloat16, enabled=dtype == "bfloat16")
