"""A training on as many devices as its job was given.

python -m vilbert.training.launch NUM_DEVICES MODULE ARGUMENT..
"""

import os
import sys


def main() -> None:
    """Become the module's command, or, with more than one device, torchrun with a process for each."""
    num_devices, module, *arguments = sys.argv[1:]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", num_devices]
    launcher = torchrun if int(num_devices) > 1 else []
    os.execv(sys.executable, [sys.executable, *launcher, "-m", module, *arguments])


if __name__ == "__main__":
    main()
