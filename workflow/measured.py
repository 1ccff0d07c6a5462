"""Resources from what the jobs of a run took: python -m workflow.measured RESULTS/TIMES prints a part of a profile.

Of a run whose shards are as large: the run itself after its first shards, or a shorter one before it.
"""

import csv
import sys
from pathlib import Path

from workflow.trainings import TRAINING_RULES

MEMORY_MARGIN, SNAKEMAKE_MB = 1.5, 500  # over the most that a job of the rule ever had; what starts it, two Snakemakes
TIME_MARGIN = 3  # over the longest: other nodes are busier
RULES = {"finetune": "finetune_task"}  # that write their times under another name


def measured(times: Path) -> dict[str, dict[str, int]]:
    """Resources by rule, of every rule that has been timed below a folder.

    Raises: FileNotFoundError if none has.
    """
    proposed: dict[str, dict[str, int]] = {}
    for path in sorted(times.rglob("*.tsv")):
        name = path.relative_to(times).parts[0].removesuffix(".tsv")
        rule = RULES.get(name, name)
        for row in csv.DictReader(path.read_text().splitlines(), delimiter="\t"):
            needs = {"mem_mb": megabytes(row["max_rss"]), "runtime": minutes(float(row["s"]))}
            before = proposed.setdefault(rule, needs)
            proposed[rule] = {name: max(before[name], value) for name, value in needs.items()}
    if not proposed:
        raise FileNotFoundError(f"no times in {times}; expected results/<run>/times of a run that has begun")
    return proposed


def megabytes(max_rss: str) -> int:
    """A job that ended too soon to be looked at has none."""
    mib = 0.0 if max_rss in ("-", "NA") else float(max_rss)
    return SNAKEMAKE_MB + rounded(mib * 2**20 / 1e6 * MEMORY_MARGIN, 100)


def minutes(seconds: float) -> int:
    return rounded(seconds / 60 * TIME_MARGIN, 5)


def rounded(amount: float, step: int) -> int:
    """Up to a multiple."""
    return -int(-amount // step) * step


if __name__ == "__main__":
    try:
        lines = measured(Path(sys.argv[1])).items()
    except (IndexError, FileNotFoundError) as error:
        raise SystemExit(f"error: {error}; usage: python -m workflow.measured results/<run>/times") from error
    print("set-resources:")
    for rule, resources in lines:
        print(f"  {rule}:")
        print(f"    mem_mb: {resources['mem_mb']} * min(attempt, 3)")
        is_resumed = rule in TRAINING_RULES
        print(f"    runtime: {resources['runtime']}" + ("" if is_resumed else " * min(attempt, 3)"))
