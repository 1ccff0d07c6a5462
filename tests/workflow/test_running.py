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
    here, turn = running.read_text().split()
    running.write_text(f"{here}.other {turn}")
    assert take_part(tmp_path) == ""
    assert locks_in(tmp_path) == [lock]
    lock.unlink()
    assert take_part(tmp_path) == ""
    assert running.read_text().split()[0] == here


# A Snakemake that submits a job, which begins when another has.
SUBMITTED = f"""{TAKE_PART}
import os
others = {{name: value for name, value in os.environ.items() if name != "VILBERT_WORKFLOW_TURN"}}
for arguments in sys.argv[1:]:
    subprocess.run([sys.executable, "-c", arguments], env=others)
job = "from workflow.running import *; take_part('tiny', state=Path('.snakemake'), is_main=False)"
sys.exit(subprocess.run([sys.executable, "-c", job]).returncode)
"""


@pytest.mark.parametrize("others", [[], [TAKE_PART]])
def test_a_job_begins_under_its_own_snakemake_and_beside_another_that_came_second(tmp_path, others):
    done = subprocess.run([sys.executable, "-c", SUBMITTED, *others], cwd=tmp_path, env=ENVIRONMENT)
    assert done.returncode == 0


def test_a_job_that_a_killed_snakemake_left_in_a_queue_does_nothing_once_another_has_begun(tmp_path):
    queued = "import os; print(os.environ['VILBERT_WORKFLOW_TURN'])"
    first = subprocess.run(
        [sys.executable, "-c", TAKE_PART + queued], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True
    )
    take_part(tmp_path)
    job = TAKE_PART.replace("is_main=True", "is_main=False")
    environment = {**ENVIRONMENT, "VILBERT_WORKFLOW_TURN": first.stdout.strip()}
    done = subprocess.run([sys.executable, "-c", job], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "results/tiny: another Snakemake has begun since this job was submitted; it does nothing" in done.stderr
