"""A training on as many devices as its job was given.

python -m vilbert.training.launch NUM_DEVICES MODULE ARGUMENT..
"""

import os
import sys

from extract.command import errors_in_one_line


def main() -> None:
    """Become the module's command, or, with more than one device, torchrun with a process for each.

    Raises: ValueError for what is no number of devices.
    """
    if len(sys.argv) < 3 or not sys.argv[1].isdigit():
        raise ValueError(f"asked for {' '.join(sys.argv[1:]) or 'nothing'}, expected NUM_DEVICES MODULE ARGUMENT...")
    num_devices, module, *arguments = sys.argv[1:]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", num_devices]
    launcher = torchrun if int(num_devices) > 1 else []
    os.execv(sys.executable, [sys.executable, *launcher, "-m", module, *arguments])


if __name__ == "__main__":
    with errors_in_one_line():
        main()
