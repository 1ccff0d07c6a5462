"""A training on as many devices as its job was given, or in as many processes.

python -m vilbert.training.launch NUM_PROCESSES MODULE ARGUMENT..
"""

import os
import sys

from extract.command import errors_in_one_line

THREADS = "OMP_NUM_THREADS"  # that torch takes for each process


def main() -> None:
    """Become the module's command, or torchrun with several processes of it, which share the threads.

    Raises: ValueError for what is no number of processes.
    """
    if len(sys.argv) < 3 or not sys.argv[1].isdigit():
        raise ValueError(f"asked for {' '.join(sys.argv[1:]) or 'nothing'}, expected NUM_PROCESSES MODULE ARGUMENT...")
    num_processes, module, *arguments = sys.argv[1:]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", num_processes]
    launcher = torchrun if int(num_processes) > 1 else []
    threads = os.environ.get(THREADS, str(os.cpu_count()))
    if launcher and threads.isdigit():
        os.environ[THREADS] = str(max(1, int(threads) // int(num_processes)))
    os.execv(sys.executable, [sys.executable, *launcher, "-m", module, *arguments])


if __name__ == "__main__":
    with errors_in_one_line():
        main()
