import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

TAKE_PART = "from pathlib import Path; from workflow.running import take_part, shell; import subprocess, sys, time\n"
TAKE_PART += "take_part('tiny', state=Path('.snakemake'), is_main=True)\n"
# A Snakemake that has locks, and a job that is a process of its own.
KILLED = f"""{TAKE_PART}
Path(".snakemake/locks").mkdir(exist_ok=True)
Path(".snakemake/locks/0.output.lock").write_text("results/tiny/pairs.parquet\\n")
silent = {{"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}}
job = subprocess.Popen("exec sleep 600", shell=True, **silent, **shell._process_args)
print(job.pid, flush=True)
time.sleep(600)
"""


def take_part(folder: Path) -> str:
    """What another Snakemake says when it starts, and ends at once."""
    done = subprocess.run(
        [sys.executable, "-c", TAKE_PART], cwd=folder, capture_output=True, text=True, env=ENVIRONMENT
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def job(tmp_path) -> int:
    """A job in `tmp_path` that outlives its Snakemake, by process id."""
    with subprocess.Popen(
        [sys.executable, "-c", KILLED], cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as process:
        assert process.stdout is not None
        job = json.loads(process.stdout.readline())
        process.kill()
    return job


def locks_in(folder: Path) -> list[Path]:
    return list((folder / ".snakemake/locks").iterdir())


def test_locks_of_a_killed_snakemake_go_when_its_last_job_has_ended(tmp_path, job):
    said = take_part(tmp_path)
    assert said == "results/tiny: another Snakemake, or a job that outlived one, is at work\n"
    assert locks_in(tmp_path)
    os.kill(job, signal.SIGKILL)
    assert take_part(tmp_path) == ""
    assert not locks_in(tmp_path)


def test_locks_of_another_run_or_another_machine_stay(tmp_path, job):
    os.kill(job, signal.SIGKILL)
    lock = tmp_path / ".snakemake/locks/0.output.lock"
    lock.write_text("results/other/pairs.parquet\n")
    assert take_part(tmp_path) == ""
    lock.write_text("results/tiny/pairs.parquet\n")
    running = tmp_path / ".snakemake/tiny.running"
    here = running.read_text()
    running.write_text(f"{here}.other")
    assert take_part(tmp_path) == ""
    assert locks_in(tmp_path) == [lock]
    lock.unlink()
    assert take_part(tmp_path) == ""
    assert running.read_text() == here
