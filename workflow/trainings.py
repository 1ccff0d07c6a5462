"""The trainings that a run is about to begin, looked at before Snakemake deletes anything."""

import json
import sys
from collections.abc import Iterable
from contextlib import chdir
from pathlib import Path
from typing import Any, NamedTuple

from vilbert.training.folder import adopt, differences, force_aside, has_checkpoints, has_ended, read_note, refusal
from workflow.allocations import objection_to_gpus

TRAINING_RULES = ("pretrain", "pretrain_cell", "finetune_task", "finetune_cell", "distil_retriever")


class PlannedTraining(NamedTuple):
    """A job that trains."""

    folder: Path  # of its checkpoints
    made_of: dict[str, Any]  # settings that matter, and the version of the code
    is_forced: bool
    changes: list[str]  # jobs that will make its data anew, because something changed
    outputs: list[Path]  # which Snakemake deletes before it begins


def planned_trainings(dag: Any) -> list[PlannedTraining]:
    """Those of a DAG of Snakemake's that need to run."""
    planned = []
    for job in dag.needrun_jobs(exclude_finished=False):  # a dry run has finished them all
        if job.rule.name in TRAINING_RULES:
            before = {other for other in dag.bfs(dag.dependencies, job) if other != job and dag.needrun(other)}
            planned.append(
                PlannedTraining(
                    folder=Path(job.params.checkpoints),
                    made_of=json.loads(job.params.made_of),
                    is_forced=bool(dag.reason(job).forced),
                    changes=sorted({other.rule.name for other in before if is_change(dag.reason(other))}),
                    outputs=[Path(output) for output in job.output],
                )
            )
    return planned


def is_change(reason: Any) -> bool:
    """Whether a job runs because something is not as it was, and not only because its outputs are not there yet."""
    return bool(reason.params_changed or reason.input_changed or reason.code_changed or reason.updated_input)


def prepare(trainings: Iterable[PlannedTraining], *, earlier: Path, num_kept: int) -> None:
    """Set aside what is to be trained anew because the user forces it, if it ever got to a checkpoint.

    Raises: ValueError for unfinished trainings that would become others, with what differs and the ways out, and for
        one that another process is at.
    """
    trainings = list(trainings)
    if objections := objections_to(trainings):
        raise ValueError("\n".join(["nothing was run or deleted:", *objections]))
    for training in trainings:
        adopt(training.folder, training.outputs)
        has_something = has_ended(read_note(training.folder)) or has_checkpoints(training.folder)
        if training.is_forced and has_something:
            target = force_aside(training.folder, earlier=earlier, num_kept=num_kept)
            print(f"{training.folder} is set aside as {target}")


def warn_of_refusal(workflow: Any, folder: Path) -> None:
    """Say at the end of a dry run, in which Snakemake calls no `onstart`, what the run itself will refuse.

    Args:
        folder: that the run is in; Snakemake has left it by then.
    """
    if workflow.dryrun and workflow.scheduler is not None:
        with chdir(folder):
            cut = filter(None, map(objection_to_gpus, workflow.dag.needrun_jobs(exclude_finished=False)))
            for objection in [*dict.fromkeys(cut), *objections_to(planned_trainings(workflow.dag))]:
                print(f"this will be refused: {objection}", file=sys.stderr)


def objections_to(trainings: Iterable[PlannedTraining]) -> list[str]:
    return [objection for training in trainings if (objection := objection_to(training)) is not None]


def objection_to(training: PlannedTraining) -> str | None:
    """Why a training must not begin. Its data are known by digest when it does; here, by what makes them anew."""
    note = read_note(training.folder)
    if training.is_forced or not note or has_ended(note) or not has_checkpoints(training.folder):
        return None
    before = {name: value for name, value in note["identity"].items() if name not in ("inputs", "regions")}
    reasons = differences(before, training.made_of)
    if training.changes:
        reasons.append(f"its data would be made anew by {', '.join(training.changes)}, whose settings or files changed")
    return refusal(training.folder, reasons) if reasons else None
