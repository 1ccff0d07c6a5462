"""Jobs that a scheduler is given as one: whether no group waits for itself, seen in one walk.

Snakemake 9.27 walks from every job of a group over all that comes before it, and does so again for each further job of
that group. Behind a rule that gathers all shards this is the square of their number: 5 s for 334, minutes for 3,335.
"""

from graphlib import CycleError, TopologicalSorter
from typing import Any

from snakemake.dag import DAG
from snakemake.exceptions import WorkflowError


def check_groups_in_one_walk() -> None:
    """Take the place of Snakemake's two checks, which find the same."""
    DAG.validate_group = lambda dag, group: None
    DAG._check_groups = demand_order


def demand_order(dag: Any) -> None:
    """Raises: WorkflowError if a group waits for a job that waits for the group."""
    units = {job: dag.get_job_group(job) or job for job in dag.jobs}
    before: dict[Any, set] = {unit: set() for unit in units.values()}
    for job, unit in units.items():
        before[unit] |= {units[other] for other in dag.dependencies[job]} - {unit}
    try:
        TopologicalSorter(before).prepare()
    except CycleError as error:
        raise WorkflowError(f"a group of jobs waits for itself: {' <- '.join(map(named, error.args[1]))}") from error


def named(unit: Any) -> str:
    return f"group {unit.groupid}" if unit.is_group() else unit.rule.name
