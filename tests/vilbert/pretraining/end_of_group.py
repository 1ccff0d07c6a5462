"""vilbert.pretraining.pretrain that fails if DDP is still there when the group of its processes ends, for a test."""

import gc

import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from extract.command import run
from vilbert.pretraining import pretrain

destroy = dist.destroy_process_group


def destroy_after_a_look(group=None) -> None:
    assert not any(type(thing) is DistributedDataParallel for thing in gc.get_objects())
    destroy(group)


if __name__ == "__main__":
    dist.destroy_process_group = destroy_after_a_look
    run(pretrain.main)
