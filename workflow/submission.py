"""Whether Slurm would take the jobs of a run, asked before the first is submitted.

Afterwards each refused job would be tried again as often as the profile says, and one that asks for more time than its
partition gives would wait for ever.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from operator import itemgetter
from typing import Any

PATIENCE = 600  # seconds that a scheduler may be away
PAUSE = 10  # seconds between two tries


def demand_submittable(jobs: Iterable[Any]) -> None:
    """Ask Slurm for each rule's requests once, without submitting anything.

    Raises: ValueError with what it says to the first that it would not take; FileNotFoundError where there is no Slurm.
    """
    if shutil.which("sbatch") is None:
        raise FileNotFoundError("sbatch: there is no such command; the profile is for a machine that submits to Slurm")
    requests = {tuple(request_of(job)): job for job in jobs if not job.is_local}
    for request, job in sorted(requests.items(), key=itemgetter(0)):
        if refusal := refusal_of(request, job.resources):
            raise ValueError(
                f"Slurm would not take {job.rule.name}: {refusal}; it was asked for {shlex.join(request)}; change the "
                f"head of the profile, or one resource: `--set-resources {job.rule.name}:runtime=600`"
            )


def request_of(job: Any) -> list[str]:
    """The options of sbatch that a job is submitted with, as Snakemake's plugin makes them."""
    from snakemake_executor_plugin_slurm.submit_string import get_submit_command  # installed where there is Slurm
    from snakemake_executor_plugin_slurm.utils import set_gres_string

    options = {"account": "slurm_account", "partition": "slurm_partition"}
    told = {
        option: f"--{option}={shlex.quote(str(job.resources[name]))}" if job.resources.get(name) else ""
        for option, name in options.items()
    }
    other = {"run_uuid": "", "slurm_logfile": os.devnull, "comment_str": job.rule.name, "workdir": ""}
    words = shlex.split(get_submit_command(job, other | told) + set_gres_string(job))
    return words[words.index("--comment") :]


def refusal_of(request: Iterable[str], resources: Any) -> str | None:
    """What Slurm says against a request; None: nothing."""
    said = answer(["sbatch", "--test-only", *request, "--wrap", "true"])
    if said is not None:
        return said
    partition, minutes = resources.get("slurm_partition"), resources.get("runtime")
    limit = partition and longest(str(partition))
    if limit and minutes and minutes > limit:
        return f"{minutes} minutes are more than the {limit} of its partition"
    return None


def answer(command: list[str]) -> str | None:
    """The last line that a command of Slurm's says when it fails; a scheduler that is away is waited for."""
    for _ in range(PATIENCE // PAUSE):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == 0:
            return None
        said = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit status {done.returncode}"
        if "Unable to contact" not in said:
            break
        print(f"{said}; trying again in {PAUSE} s", file=sys.stderr)
        time.sleep(PAUSE)
    return said


def longest(partition: str) -> int | None:
    """Minutes that a job of a partition may take; None: as long as it likes."""
    said = subprocess.run(["sinfo", "--noheader", "--partition", partition, "--format", "%l"], capture_output=True)
    match = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", said.stdout.decode().strip().split("\n")[0])
    if match is None:
        return None
    days, hours, minutes, _ = (int(number or 0) for number in match.groups())
    return (days * 24 + hours) * 60 + minutes
