import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from places import ROOT

from vilbert.training.launch import interface_towards

# An srun that starts its command once a node, on this machine; what it was asked for goes to a file.
SRUN = """#!/usr/bin/env python
import os, subprocess, sys
command = sys.argv[1:]
split = command.index("{python}")
with open("asked", "w") as file:
    file.write(" ".join(command[:split]))
step = {{"SLURM_STEP_NUM_NODES": "2", "SLURM_LAUNCH_NODE_IPADDR": "127.0.0.1"}}
nodes = [subprocess.Popen(command[split:], env={{**os.environ, **step, "SLURM_NODEID": str(node)}}) for node in (0, 1)]
sys.exit(max(node.wait() for node in nodes))
"""
# What a process of a training finds: its place among all of them, and the sum of their places.
MEET = """
import os
import torch
torch.distributed.init_process_group("gloo")
ranks = torch.tensor([torch.distributed.get_rank()])
torch.distributed.all_reduce(ranks)
line = [torch.distributed.get_world_size(), int(ranks), os.environ["OMP_NUM_THREADS"], os.environ["GLOO_SOCKET_IFNAME"]]
os.write(1, (" ".join(map(str, line)) + "\\n").encode())
torch.distributed.destroy_process_group()
"""


@pytest.fixture
def slurm_job(tmp_path) -> dict[str, str]:
    """The environment of a job of Slurm's that has two nodes."""
    (tmp_path / "bin").mkdir()
    srun = tmp_path / "bin/srun"
    srun.write_text(SRUN.format(python=sys.executable))
    srun.chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = f"{tmp_path}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    return environment | {"SLURM_JOB_ID": "7", "OMP_NUM_THREADS": "6", "MKL_NUM_THREADS": "6", "MASTER_PORT": str(port)}


@pytest.mark.parametrize(
    "arguments", [[], ["1", "2"], ["1", "two", "vilbert.predict"], ["one", "2", "vilbert.predict"]]
)
def test_what_is_no_number_of_nodes_and_processes_and_a_module_ends_in_one_line(arguments):
    command = [sys.executable, "-m", "vilbert.training.launch", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.endswith("expected NUM_NODES NUM_PROCESSES_PER_NODE MODULE ARGUMENT...\n")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("num_processes", "expected"), [("1", "6 4"), ("2", "3 2"), ("5", "1 1")])
def test_processes_share_the_threads(tmp_path, num_processes, expected):
    """Two processes with two threads each on two cores wait for each other, many times as long as they work."""
    (tmp_path / "say_threads.py").write_text(
        "import os\n"
        'said = f\'{os.environ["OMP_NUM_THREADS"]} {os.environ["MKL_NUM_THREADS"]}\\n\'\n'
        "os.write(1, said.encode())  # at once, or the lines of the processes mix\n"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "6", "MKL_NUM_THREADS": "4", "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    command = [sys.executable, "-m", "vilbert.training.launch", "1", num_processes, "say_threads"]
    said = subprocess.check_output(command, text=True, env=environment).splitlines()
    assert said == [expected] * int(num_processes)


@pytest.mark.slow
def test_a_training_of_several_nodes_is_one_group_of_processes(tmp_path, slurm_job):
    (tmp_path / "meet.py").write_text(MEET)
    command = [sys.executable, "-m", "vilbert.training.launch", "2", "2", "meet"]
    said = subprocess.check_output(command, text=True, env=slurm_job, cwd=tmp_path).splitlines()
    assert said == ["4 6 3 lo"] * 4
    assert (tmp_path / "asked").read_text() == (
        "--nodes=2 --ntasks=2 --ntasks-per-node=1 --kill-on-bad-exit=1 --cpus-per-task=6"
    )


@pytest.mark.slow
def test_each_node_is_asked_for_its_gpus(tmp_path, slurm_job):
    (tmp_path / "meet.py").write_text("")
    command = [sys.executable, "-m", "vilbert.training.launch", "2", "2", "meet"]
    subprocess.check_call(command, env=slurm_job | {"CUDA_VISIBLE_DEVICES": "0,1"}, cwd=tmp_path)
    assert (tmp_path / "asked").read_text().endswith(" --gpus-per-node=2")


def test_several_nodes_outside_slurm_end_in_one_line():
    environment = {name: value for name, value in os.environ.items() if name != "SLURM_JOB_ID"}
    command = [sys.executable, "-m", "vilbert.training.launch", "2", "1", "vilbert.predict"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert done.stderr.startswith("error: nodes_per_training is 2 and this is no job of Slurm; set it to 1, or start")
    assert len(done.stderr.splitlines()) == 1


def test_several_nodes_without_srun_end_in_one_line():
    """As in the image of a container, which has no part of Slurm."""
    done = subprocess.run(
        [sys.executable, "-m", "vilbert.training.launch", "2", "1", "vilbert.model"],
        capture_output=True,
        text=True,
        env={"PATH": "/nowhere", "PYTHONPATH": str(ROOT), "SLURM_JOB_ID": "7"},
    )
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "error: nodes_per_training is 2 and there is no srun here, as in a container; set it to 1, or "
    )


def test_the_interface_is_the_one_of_the_network_of_an_address():
    assert interface_towards("127.0.0.1") == "lo"
    assert interface_towards("240.0.0.1") is None  # of a network that is in no use


@pytest.mark.slow
def test_torchrun_leaves_a_signal_of_slurms_to_the_processes(tmp_path, slurm_job):
    """Slurm signals every process. A second SIGTERM, from torchrun, would end what the first made save."""
    (tmp_path / "save.py").write_text(
        "import os, signal, sys, time\n"
        "came = []\n"
        "signal.signal(signal.SIGTERM, lambda *_: came.append(time.monotonic()))\n"
        "os.write(1, f'{os.getpid()}\\n'.encode())\n"
        "while not came:\n"
        "    time.sleep(0.1)\n"
        "while time.monotonic() < came[0] + 3:\n"
        "    time.sleep(0.1)\n"
        "os.write(1, f'saved after {len(came)}\\n'.encode())\n"
        "time.sleep(2)\n"  # until the other has written, as torchrun ends it when one has ended
        "sys.exit(1)\n"
    )
    command = [sys.executable, "-m", "vilbert.training.launch", "1", "2", "save"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=slurm_job) as job:
        assert job.stdout is not None
        processes = [int(job.stdout.readline()) for _ in range(2)]
        time.sleep(0.2)
        for process in [*processes, job.pid]:
            os.kill(process, signal.SIGTERM)
        assert job.stdout.read() == "saved after 1\nsaved after 1\n"
    assert job.returncode == 1


@pytest.mark.slow
def test_no_process_of_a_training_outlives_torchrun(tmp_path):
    """Which holds the locks of their GPUs: the next job would be given one that is still in use."""
    (tmp_path / "work.py").write_text(
        "import os, time\nos.write(1, f'{os.getpid()}\\n'.encode())\nwhile True:\n    time.sleep(1)\n"
    )
    command = [sys.executable, "-m", "vilbert.training.launch", "1", "2", "work"]
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as job:
        assert job.stdout is not None
        processes = [int(job.stdout.readline()) for _ in range(2)]
        job.kill()
        try:
            job.communicate(timeout=30)  # until neither holds the pipe any more
        except subprocess.TimeoutExpired:
            for process in processes:
                os.kill(process, signal.SIGKILL)
            raise
