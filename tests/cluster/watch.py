"""Which jobs had which GPUs, by the environment of their processes: python watch.py FOLDER, until FOLDER/stop is there.

All virtual nodes are this machine, so that every process can be looked at. What must not be ends it with a line.
"""

import re
import sys
import time
from collections import defaultdict
from pathlib import Path

# Commands that get a GPU where the settings give them one; the others have to leave those nodes alone.
ON_GPUS = r"extract\.(detection\.train|regions\.\w+)|vilbert\.(pretraining\.pretrain|tasks\.(finetune|zero_shot))"


def processes(folder: str) -> list[tuple[str, dict[str, str]]]:
    """Module and environment of each process of a job in a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_text().split("\0")
            variables = (path / "environ").read_text().split("\0")
            is_here = str((path / "cwd").resolve()) == folder
        except (OSError, UnicodeDecodeError):
            continue  # it has ended
        modules = [word for word in words if re.fullmatch(r"(extract|vilbert)\.[\w.]+", word)]
        environment = dict(variable.split("=", 1) for variable in variables if "=" in variable)
        if is_here and modules and words[0].endswith("python") and "SLURMD_NODENAME" in environment:
            found.append((modules[-1], environment))
    return found


def look(folder: str) -> set[str]:
    """The modules that are at work. Ends the command if one is on the wrong nodes, or two jobs have one device."""
    jobs = defaultdict(set)
    modules = set()
    for module, environment in processes(folder):
        node, job = environment["SLURMD_NODENAME"], environment["SLURM_JOB_ID"]
        devices = [device for device in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if device]
        has_gpu = re.fullmatch(ON_GPUS, module) is not None
        if has_gpu != node.startswith("gpu") or has_gpu != bool(devices):
            raise SystemExit(f"{module} of job {job} is on {node} with devices {devices}")
        modules.add(module)
        for device in devices:
            jobs[node, device].add(job)
    if shared := {place: who for place, who in jobs.items() if len(who) > 1}:
        raise SystemExit(f"one device for several jobs: {shared}")
    return modules


if __name__ == "__main__":
    work = Path(sys.argv[1]).resolve()
    seen: set[str] = set()
    while not (work / "stop").exists():
        seen |= look(str(work))
        time.sleep(0.5)
    missed = [
        name for name in ("pretraining.pretrain", "tasks.finetune", "tasks.zero_shot") if f"vilbert.{name}" not in seen
    ]
    if missed or "extract.regions.extract" not in seen:
        raise SystemExit(f"of {sorted(seen)}, not all that should have run")
    print(f"{len(seen)} commands, each on its kind of node, no device with two jobs")
