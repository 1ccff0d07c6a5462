"""A training in as many processes as its job was given, on one node or, under Slurm, on several.

python -m vilbert.training.launch NUM_NODES NUM_PROCESSES_PER_NODE MODULE ARGUMENT..
"""

import ctypes
import os
import shutil
import signal
import sys
from ipaddress import ip_address, ip_network

from extract.command import errors_in_one_line

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")  # that torch takes for each process; Snakemake sets both
FIRST_PORT, NUM_PORTS = 20_000, 10_000  # that trainings meet at; another of the same node has another job number
USAGE = "expected NUM_NODES NUM_PROCESSES_PER_NODE MODULE ARGUMENT..."


def main() -> None:
    """Become the module's command, torchrun with several processes of it, or srun with this command on each node.

    Raises: ValueError for what are no numbers of nodes and processes, or for several nodes outside Slurm.
    """
    if len(sys.argv) < 4 or not (sys.argv[1].isdigit() and sys.argv[2].isdigit()):
        raise ValueError(f"asked for {' '.join(sys.argv[1:]) or 'nothing'}, {USAGE}")
    num_nodes, num_processes, command = int(sys.argv[1]), int(sys.argv[2]), ["-m", *sys.argv[3:]]
    if "TORCHELASTIC_RUN_ID" in os.environ:  # torchrun has started this process
        end_with_torchrun()
        become(sys.executable, *command)
    if num_nodes > 1 and not is_on_its_node(num_nodes):
        become(*srun(num_nodes, num_processes), sys.executable, "-m", "vilbert.training.launch", *sys.argv[1:])
    if num_nodes * num_processes == 1:
        become(sys.executable, *command)
    share_threads(num_processes)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(num_processes)]
    torchrun += leaving_sigterm_to_processes() + (meeting(num_nodes) if num_nodes > 1 else ["--standalone"])
    become(*torchrun, "-m", "vilbert.training.launch", *sys.argv[1:])


def become(*command: str) -> None:
    """No process stays between a scheduler's signal and the training."""
    os.execvp(command[0], command)


def end_with_torchrun() -> None:
    """Whatever ends torchrun, `kill -9` too, ends this process: torchrun alone holds the locks of their GPUs.

    Source: prctl(2), PR_SET_PDEATHSIG, which outlives exec.
    """
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def is_on_its_node(num_nodes: int) -> bool:
    """Whether srun has started this process, once a node. Snakemake starts no rule of several nodes by srun."""
    return os.environ.get("SLURM_STEP_NUM_NODES") == str(num_nodes)


def srun(num_nodes: int, num_processes: int) -> list[str]:
    """What starts one process a node, with all that the job has there; the first that fails ends all.

    Raises: ValueError outside Slurm; FileNotFoundError where there is no srun, as in the image of a container.
    """
    if "SLURM_JOB_ID" not in os.environ:
        raise ValueError(
            f"nodes_per_training is {num_nodes} and this is no job of Slurm; set it to 1, or start with "
            "`--workflow-profile workflow/profiles/slurm`"
        )
    if shutil.which("srun") is None:
        raise FileNotFoundError(
            f"nodes_per_training is {num_nodes} and there is no srun here, as in a container; set it to 1, or start "
            "without `--software-deployment-method apptainer`"
        )
    step = ["srun", f"--nodes={num_nodes}", f"--ntasks={num_nodes}", "--ntasks-per-node=1", "--kill-on-bad-exit=1"]
    step.append(f"--cpus-per-task={os.environ.get(THREADS[0], 1)}")
    return step + ([f"--gpus-per-node={num_processes}"] if os.environ.get("CUDA_VISIBLE_DEVICES") else [])


def share_threads(num_processes: int) -> None:
    for name in THREADS:
        threads = int(os.environ.get(name) or os.cpu_count() or 1)
        os.environ[name] = str(max(1, threads // num_processes))


def leaving_sigterm_to_processes() -> list[str]:
    """What torchrun is told under Slurm, which sends SIGTERM to every process of a job: torchrun would send it a second
    time, and kill after 30 s."""
    if "SLURM_JOB_ID" not in os.environ:
        return []
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # which torchrun inherits; the training sets its own
    return ["--signals-to-handle", "SIGINT,SIGHUP,SIGQUIT"]


def meeting(num_nodes: int) -> list[str]:
    """How torchruns of several nodes find each other: on the first, at a port of the job's or at MASTER_PORT.

    gloo speaks by the network interface of its network, or by GLOO_SOCKET_IFNAME. NCCL looks for the fastest itself;
    NCCL_SOCKET_IFNAME names another.
    """
    address = os.environ["SLURM_LAUNCH_NODE_IPADDR"]  # where srun ran: the first node of the job
    port = os.environ.get("MASTER_PORT") or str(FIRST_PORT + int(os.environ["SLURM_JOB_ID"]) % NUM_PORTS)
    if interface := interface_towards(address):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
    nodes = ["--nnodes", str(num_nodes), "--node-rank", os.environ["SLURM_NODEID"]]
    return [*nodes, "--master-addr", address, "--master-port", port]


def interface_towards(address: str) -> str | None:
    """The network interface whose network an address is of; None: of none, and the choice is left to gloo."""
    import psutil  # which a training on one node does without

    for name, interfaces in psutil.net_if_addrs().items():
        for known in interfaces:
            if known.family.name == "AF_INET" and known.netmask:
                network = ip_network(f"{known.address}/{known.netmask}", strict=False)
                if ip_address(address) in network:
                    return name
    return None


if __name__ == "__main__":
    with errors_in_one_line():
        main()
