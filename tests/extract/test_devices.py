"""Jobs that share the GPUs of a machine, as processes of their own; the GPUs are names."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from places import ROOT

from extract.devices import has_gpu

# A job of the tests: notes what it has, waits, and notes that it ends.
JOB = """
import os, sys, time
path, seconds = sys.argv[1], float(sys.argv[2])
def note(what):
    with open(path, "a") as log:
        log.write(f"{what} {os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES')}\\n")
note("has")
time.sleep(seconds)
note("ends")
"""


@pytest.fixture
def start(tmp_path):
    """Starts a job that wants so many GPUs."""
    (tmp_path / "a_job.py").write_text(JOB)
    (tmp_path / "locks").mkdir()
    jobs = []

    def start(number, *, seconds, gpus="0,1,2,3", **changes):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
        environment |= {"PYTHONPATH": f"{tmp_path}:{ROOT}", "TMPDIR": str(tmp_path / "locks")} | changes
        environment |= {"CUDA_VISIBLE_DEVICES": gpus}
        command = [sys.executable, "-m", "extract.devices", str(number), "a_job", tmp_path / "log", str(seconds)]
        jobs.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
        return jobs[-1]

    yield start
    for job in jobs:
        job.kill()
        job.communicate()


def notes(tmp_path) -> list[list[str]]:
    path = tmp_path / "log"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def wait_for(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_eight_jobs_share_four_gpus_and_one_that_is_killed_loses_its_own(start, tmp_path):
    jobs = [start(1, seconds=0.6) for _ in range(8)]
    wait_for(lambda: notes(tmp_path))
    killed = notes(tmp_path)[0][1]
    os.kill(int(killed), signal.SIGKILL)
    assert sorted(job.wait(timeout=60) for job in jobs) == [-signal.SIGKILL, *[0] * 7]
    holders: dict[str, str] = {}
    for what, job, gpu in notes(tmp_path):
        if what == "ends":
            del holders[gpu]
        else:
            assert holders.get(gpu, killed) == killed, f"{gpu} was given to two jobs"
            holders[gpu] = job
    assert sum(what == "has" for what, *_ in notes(tmp_path)) == 8
    assert len({gpu for _, _, gpu in notes(tmp_path)}) == 4


def test_a_job_has_as_many_as_it_asks_for_and_waits_for_the_last_of_them(start, tmp_path):
    one = start(1, seconds=60)
    wait_for(lambda: len(notes(tmp_path)) == 1)
    all_of_them = start(4, seconds=0)
    time.sleep(0.5)
    assert len(notes(tmp_path)) == 1
    one.kill()
    assert all_of_them.wait(timeout=60) == 0
    assert notes(tmp_path)[-1][2] == "0,1,2,3"


def test_more_than_there_are_ends_in_a_line_that_says_what_to_type(start):
    _, error = start(5, seconds=0).communicate(timeout=60)
    assert error == (
        "error: asked for 5 GPUs, this machine has 4; start with `snakemake --resources gpu=4` or lower gpus_per_job "
        "and gpus_per_training in the settings\n"
    )


def test_under_slurm_the_scheduler_s_choice_stands(start, tmp_path):
    for _ in range(2):
        assert start(2, seconds=0, gpus="6,7", SLURM_JOB_ID="13").wait(timeout=60) == 0
    assert {gpus for _, _, gpus in notes(tmp_path)} == {"6,7"}
    assert not any((tmp_path / "locks").iterdir())


def test_jobs_that_share_an_allocation_of_slurms_share_no_gpu(start, tmp_path):
    """As a Snakemake within `salloc`, or jobs that are submitted as one group: all see all of its GPUs."""
    jobs = [start(2, seconds=60, SLURM_JOB_ID="13") for _ in range(2)]
    other = start(1, seconds=60, SLURM_JOB_ID="17")  # whose GPU 0 is another
    wait_for(lambda: len(notes(tmp_path)) == 3)
    gpus = {int(job): gpus for _, job, gpus in notes(tmp_path)}
    assert {gpus[job.pid] for job in jobs} == {"0,1", "2,3"}
    assert gpus[other.pid] == "0"


@pytest.mark.parametrize(("gpus", "number"), [("0,0", 1), ("-1", 0), ("3,-1,5", 1)])
def test_a_gpu_that_is_named_twice_is_one_and_what_hides_gpus_is_none(start, gpus, number):
    """CUDA sees those that stand before the first that is none."""
    _, error = start(2, seconds=0, gpus=gpus).communicate(timeout=60)
    assert error.startswith(f"error: asked for 2 GPUs, this machine has {number}; ")


def test_a_job_without_gpus_is_left_alone(start, tmp_path):
    assert start(0, seconds=0, gpus="").wait(timeout=60) == 0
    assert not any((tmp_path / "locks").iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize(("named", "is_here"), [("", True), ("-1", True), (None, True), ("7", False)])
def test_without_a_gpu_or_a_name_of_one_jobs_take_the_cpu(monkeypatch, tmp_path, named, is_here):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if named is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    driver = tmp_path / "nvidiactl"
    if is_here:
        driver.touch()
    assert not has_gpu([driver])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_named_and_not_there_does_not_become_the_cpu(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    (tmp_path / "nvidiactl").touch()
    with pytest.raises(ValueError, match="CUDA_VISIBLE_DEVICES is '7', and PyTorch finds no GPU of that name"):
        has_gpu([tmp_path / "nvidiactl"])


@pytest.mark.parametrize("arguments", [[], ["2"], ["two", "vilbert.predict"]])
def test_what_is_no_number_of_gpus_and_a_module_ends_in_one_line(arguments):
    done = subprocess.run([sys.executable, "-m", "extract.devices", *arguments], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.endswith("expected NUM_GPUS MODULE ARGUMENT...\n")
    assert len(done.stderr.splitlines()) == 1
