"""vilbert.pretraining.pretrain with its weights spread over processes without GPUs, for a test.

accelerate spreads weights over accelerators alone; torch does it over CPUs as well. So accelerate is told afterwards.
With runtime.compile, layers are traced.
"""

from accelerate import PartialState
from accelerate.utils import DistributedType
from compiled_on_cpus import trace_layers
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from extract.command import run
from vilbert.pretraining import pretrain
from vilbert.training import loop
from vilbert.training.devices import make_fsdp_plugin

make_accelerator, whole_model = loop.make_accelerator, loop.whole_model


def make_spreading_accelerator(runtime, folder, **options):
    accelerator = make_accelerator(runtime.model_copy(update={"fsdp": False}), folder, **options)
    PartialState().distributed_type = accelerator.state.distributed_type = DistributedType.FSDP
    accelerator.state.fsdp_plugin = plugin = make_fsdp_plugin()
    if accelerator.mixed_precision != "no":
        plugin.set_mixed_precision(accelerator.mixed_precision)
    return accelerator


def whole_model_of_parts(accelerator, network, model):
    for part in network.modules():
        if isinstance(part, FSDPModule):
            part.reshard()
    weights = list(network.parameters())
    assert all(isinstance(weight, DTensor) for weight in weights)
    assert sum(weight.to_local().numel() for weight in weights) < sum(weight.numel() for weight in weights)
    return whole_model(accelerator, network, model)


if __name__ == "__main__":
    trace_layers()
    loop.make_accelerator, loop.whole_model = make_spreading_accelerator, whole_model_of_parts
    run(pretrain.main)
