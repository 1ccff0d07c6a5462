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
from functools import cache
from operator import itemgetter
from typing import Any, NamedTuple

PATIENCE = 600  # seconds that a scheduler may be away
PAUSE = 10  # seconds between two tries


def submissions(dag: Any) -> list[Any]:
    """What Slurm is given of a DAG of Snakemake's: jobs, and those of a group as one, with their times added up."""
    units = list(dict.fromkeys(dag.get_job_group(job) or job for job in dag.needrun_jobs()))
    for unit in units:
        if unit.is_group():
            unit.finalize()
    return units


def demand_submittable(units: Iterable[Any]) -> None:
    """Ask Slurm for each kind of submission once, without submitting anything.

    Raises: ValueError with what it says to the first that it would not take; FileNotFoundError where there is no Slurm.
    """
    if shutil.which("sbatch") is None:
        raise FileNotFoundError("sbatch: there is no such command; the profile is for a machine that submits to Slurm")
    requests = {tuple(request_of(unit)): unit for unit in units if not unit.is_local}
    for request, unit in sorted(requests.items(), key=itemgetter(0)):
        if refusal := refusal_of(request, unit.resources):
            longest = max(jobs_of(unit), key=lambda job: job.resources.get("runtime", 0)).rule.name
            has_shards = unit.is_group() and len(unit.jobs) > len(unit.rules)
            raise ValueError(
                f"Slurm would not take {named(unit)}: {refusal}; it was asked for {shlex.join(request)}; change the "
                f"head of the profile, or one resource: `--set-resources {longest}:runtime=600`"
                + (f", or submit shards one by one: `--group-components {unit.groupid}=1`" if has_shards else "")
            )


def jobs_of(unit: Any) -> list[Any]:
    return list(unit.jobs) if unit.is_group() else [unit]


def named(unit: Any) -> str:
    """The rules of what is submitted as one."""
    return "+".join(sorted({job.rule.name for job in jobs_of(unit)}))


def request_of(unit: Any) -> list[str]:
    """The options of sbatch that a job or a group is submitted with, as Snakemake's plugin makes them."""
    from snakemake_executor_plugin_slurm.submit_string import get_submit_command  # installed where there is Slurm
    from snakemake_executor_plugin_slurm.utils import set_gres_string

    options = {"account": "slurm_account", "partition": "slurm_partition"}
    told = {
        option: f"--{option}={shlex.quote(str(unit.resources[name]))}" if unit.resources.get(name) else ""
        for option, name in options.items()
    }
    other = {"run_uuid": "", "slurm_logfile": os.devnull, "comment_str": named(unit), "workdir": ""}
    words = shlex.split(get_submit_command(unit, other | told) + set_gres_string(unit))
    return words[words.index("--comment") :]


def refusal_of(request: Iterable[str], resources: Any) -> str | None:
    """What Slurm says against a request; None: nothing."""
    said = answer(["sbatch", "--test-only", *request, "--wrap", "true"])
    if said is not None:
        return said
    partition, minutes = resources.get("slurm_partition"), resources.get("runtime")
    limit = limits_of(str(partition)).minutes if partition else None
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


def remember_age() -> None:
    """Let Snakemake's plugin know for good how long the controller remembers a job that has ended.

    It asks at each look for jobs, and while the controller is away turns to sacct. Where there is no accounting that
    refuses as often as it is asked, in seconds, after which the plugin forgets all jobs and waits for ever.
    """
    import snakemake_executor_plugin_slurm as plugin

    age = plugin.get_min_job_age()
    plugin.get_min_job_age = lambda: age


def resubmit_preempted() -> None:
    """Let Snakemake's plugin take a job that was preempted for good as failed: it waits for Slurm to put it back, which
    a partition with `PreemptMode=CANCEL` never does.
    """
    import snakemake_executor_plugin_slurm as plugin

    ask = plugin.query_job_status

    async def query_job_status(command: str, logger: Any) -> tuple[dict[str, str] | None, float | None]:
        states, seconds = await ask(command, logger)
        if states is not None:
            states = {job: "CANCELLED" if is_gone(job, state) else state for job, state in states.items()}
        return states, seconds

    plugin.query_job_status = query_job_status


def is_gone(job: str, state: str) -> bool:
    """Whether the job was preempted and is not in the queue again."""
    if state != "PREEMPTED":
        return False
    command = ["squeue", "--noheader", "--states", "all", "--jobs", job, "--format", "%T"]
    now = subprocess.run(command, capture_output=True, text=True)
    return now.stdout.strip() == "PREEMPTED" or "Invalid job id" in now.stderr


class Limits(NamedTuple):
    """Of a job of a partition; null: none that is known."""

    minutes: int | None = None
    megabytes: int | None = None  # of the largest node


@cache
def limits_of(partition: str) -> Limits:
    """What sinfo says."""
    if shutil.which("sinfo") is None:
        return Limits()
    command = ["sinfo", "--noheader", "--Node", "--partition", partition, "--format", "%l %m"]
    nodes = [line.split() for line in subprocess.run(command, capture_output=True, text=True).stdout.splitlines()]
    if not nodes:
        return Limits()
    return Limits(minutes_of(nodes[0][0]), max(int(megabytes.rstrip("+")) for _, megabytes in nodes))


def minutes_of(limit: str) -> int | None:
    """Of a limit as Slurm writes it, days-hours:minutes:seconds; null: 'infinite'."""
    match = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", limit)
    if match is None:
        return None
    days, hours, minutes, _ = (int(number or 0) for number in match.groups())
    return (days * 24 + hours) * 60 + minutes
