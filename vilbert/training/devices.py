"""The devices of one training: what accelerate has to know of them, and what all processes do together."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, FullyShardedDataParallelPlugin, PartialState
from accelerate.tracking import get_available_trackers
from accelerate.utils import ProjectConfiguration
from torch import Tensor, nn
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from extract.devices import has_gpu
from vilbert.model.layers import CoAttentionLayer, SelfAttentionLayer
from vilbert.settings import RuntimeSettings

MOST_COMPILATIONS = 1024  # kinds of layers times widths; past them, layers run as they are


def make_accelerator(
    runtime: RuntimeSettings, folder: Path, *, dtype: Literal["float32", "bfloat16"], has_unused_parameters: bool
) -> Accelerator:
    """Of this process's device; trackers write below `folder`.

    Args:
        dtype: that matrices are multiplied in.
    Raises: ValueError for FSDP without a GPU, a GPU that is named and not there, or a tracker that is not installed.
    """
    is_on_gpu = has_gpu()
    if runtime.fsdp and not is_on_gpu:
        raise ValueError("runtime.fsdp is true, but there is no GPU to spread the weights over; set it to false")
    there = {str(tracker) for tracker in get_available_trackers()}
    if missing := [tracker for tracker in runtime.trackers if tracker not in there]:
        raise ValueError(f"runtime.trackers names {missing[0]}, which is not installed; pip install {missing[0]}")
    return Accelerator(
        cpu=not is_on_gpu,
        mixed_precision="bf16" if dtype == "bfloat16" else "no",
        log_with=list(runtime.trackers) or None,
        project_config=ProjectConfiguration(project_dir=str(folder), logging_dir=str(folder / "trackers")),
        fsdp_plugin=make_fsdp_plugin() if runtime.fsdp else None,
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=has_unused_parameters)],
    )


def compiles(runtime: RuntimeSettings) -> bool:
    """Whether a training's layers are compiled, and so want batches of few widths."""
    return has_gpu() if runtime.compile == "auto" else bool(runtime.compile)


def has_graphs(runtime: RuntimeSettings) -> bool:
    """Whether what compiled layers launch is recorded.

    Raises: ValueError where weights move, or layers run forward within a backward pass: records are of one place, and
        of one order.
    """
    if runtime.compile == "graphs" and (runtime.fsdp or runtime.gradient_checkpointing):
        other = "fsdp" if runtime.fsdp else "gradient_checkpointing"
        raise ValueError(f"runtime.compile is graphs, which cannot be together with runtime.{other}; set it to auto")
    return runtime.compile == "graphs"


def compile_layers(model: PreTrainedModel, *, backend: str | Callable = "inductor", has_graphs: bool = False) -> None:
    """Compile the transformer layers in place, each kind once for each width that its inputs come in.

    Layers of a kind share what is compiled, and checkpoints keep their names. What is not trained runs as it is:
    see `uncompiled`.

    Args:
        has_graphs: a GPU records what each layer launches at each width, as CUDA graphs in one pool of memory.
    """
    torch._dynamo.config.recompile_limit = torch._dynamo.config.accumulated_recompile_limit = MOST_COMPILATIONS
    torch._dynamo.config.optimize_ddp = False  # which would cut layers where DDP's buckets end
    for module in model.modules():
        if isinstance(module, SelfAttentionLayer | CoAttentionLayer):
            module.compile(dynamic=False, backend=backend, mode="reduce-overhead" if has_graphs else None)


def uncompiled() -> AbstractContextManager:
    """Compiled layers run as they are inside: what is asked of a model now and then comes in many widths."""
    return torch.compiler.set_stance("force_eager")


def make_fsdp_plugin() -> FullyShardedDataParallelPlugin:
    """A unit a layer. What is float32 or bfloat16 is autocast's choice, as on one device, and not a layer's."""
    return FullyShardedDataParallelPlugin(
        fsdp_version=2, auto_wrap_policy="transformer_based_wrap", mixed_precision_policy=MixedPrecisionPolicy()
    )


def is_first_process() -> bool:
    """Whether this process of a training writes what all have in common.

    Asked before there is an accelerator, it makes the group of the processes, which without a GPU wants to be told so.
    """
    return PartialState(cpu=not has_gpu()).is_main_process


def anywhere(accelerator: Accelerator, is_so: bool) -> bool:
    """Whether it is so in any process; all have to ask, and wait for the answer."""
    if accelerator.num_processes == 1:
        return is_so
    return bool(accelerator.reduce(torch.tensor(float(is_so), device=accelerator.device), "sum") > 0)


def whole_model(accelerator: Accelerator, network: nn.Module, model: PreTrainedModel) -> PreTrainedModel:
    """The trained model without what trained it; where its weights are spread, a whole copy in every process."""
    if not accelerator.is_fsdp2:
        return accelerator.unwrap_model(network)
    whole = type(model)(model.config).to(accelerator.device)
    whole.load_state_dict({name: whole_tensor(weight) for name, weight in network.state_dict().items()})
    return whole


def whole_tensor(tensor: Tensor) -> Tensor:
    """That of all processes, where each holds a part of it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
