"""What each training took: optimiser steps and examples, from what it left when it had ended."""

from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

from extract.tables import read_json
from vilbert.comparisons.plan import Plan
from vilbert.training.metrics_file import read_metrics


class Budget(NamedTuple):
    """Of one training. Examples stand as often as they were seen."""

    steps: int
    examples: int


def budgets(plan: Plan) -> dict[str, Budget]:
    """What every training of a kind took, by what it is: 'pretraining' or a task.

    Raises: ValueError if two of them differ, with both.
    """
    first: dict[str, tuple[Budget, Path]] = {}
    for what, folder in trainings(plan):
        taken = budget_of(folder, what)
        before, where = first.setdefault(what, (taken, folder))
        if taken != before:
            raise ValueError(
                f"{folder} took {taken.steps} steps of {taken.examples} examples in all, {where} {before.steps} of "
                f"{before.examples}, expected as many: they were trained by other settings; "
                f"`snakemake --forcerun={quote(str(folder / 'model'))} comparisons` trains one anew"
            )
    return {what: taken for what, (taken, _) in first.items()}


def trainings(plan: Plan) -> list[tuple[str, Path]]:
    """What each of them is, and its folder. Retrieval without training is none."""
    return [
        (what, Path(folder))
        for cell in plan.cells
        for what, folders in cell.folders.items()
        if what != "zero_shot_retrieval"
        for folder in folders.values()
    ]


def budget_of(folder: Path, what: str) -> Budget:
    """The last step in a training's metrics, and as many batches of the size that its model's provenance states."""
    provenance: dict[str, Any] = read_json(folder / "model/provenance.json")
    settings = provenance["pretraining"] if what == "pretraining" else provenance["finetuning"][what]
    steps = max(int(line["step"]) for line in read_metrics(folder / "metrics.jsonl"))
    return Budget(steps, steps * settings["optimizer"]["batch_size"])
