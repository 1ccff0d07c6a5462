"""vilbert.pretraining.pretrain whose compiled layers are traced, for a test; to make kernels of them takes minutes.

What wraps layers, spreads them or runs them twice meets the same graphs, forward and backward.
"""

from functools import partial

from extract.command import run
from vilbert.pretraining import pretrain
from vilbert.training import loop
from vilbert.training.devices import compile_layers


def trace_layers() -> None:
    loop.compile_layers = partial(compile_layers, backend="aot_eager")


if __name__ == "__main__":
    trace_layers()
    run(pretrain.main)
