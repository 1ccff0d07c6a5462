"""Trainings of several seeds side by side: python -m vilbert.comparisons.compare FINDINGS CELLS ALL --plan PLAN.

FINDINGS and CELLS are tables (csv), ALL is both and the budget (JSON).
"""

import json
import math
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated, Any

import pandas as pd
import typer

from extract.command import run
from extract.tables import naming
from vilbert.baselines.rows import Row, read_rows
from vilbert.comparisons.budget import Budget, budgets
from vilbert.comparisons.findings import MEASURES, Finding, findings
from vilbert.comparisons.paired import paired_difference, seeds_to_decide, verdict
from vilbert.comparisons.plan import Cell, Plan

AGAINST = ("chance", "blind", "no_text", "rule", "ceiling")
COLUMNS = [  # of the findings
    *("finding", "verdict", "difference", "low", "high", "p", "num_seeds", "seeds_to_decide"),
    *("what", "measure", "better", "worse", "source"),
]


def main(
    findings_output: Path,
    cells_output: Path,
    all_output: Path,
    plan: Annotated[Plan, typer.Option(parser=Plan.model_validate_json)],
) -> None:
    """Write each cell's measures over its seeds, and what is seen of the paper's findings.

    Budgets that should be equal and are not end the command.
    """
    taken = budgets(plan)
    cells = [row for cell in plan.cells for row in rows_of(cell)]
    found = [row for finding in findings(plan) if (row := row_of(finding, cells)) is not None]
    with naming(all_output.parent):
        text = json.dumps({"budget": told(plan, taken), "cells": cells, "findings": found}, indent=1)
        all_output.write_text(text + "\n")
        rows = pd.DataFrame([flat(row, taken.get(row["what"])) for row in cells])
        rows.astype({"steps": "Int64", "examples_seen": "Int64"}).round(4).to_csv(cells_output, index=False)
        rows = pd.DataFrame([without_lists(row) for row in found], columns=COLUMNS)
        rows.astype({"seeds_to_decide": "Int64"}).round(4).to_csv(findings_output, index=False)


def rows_of(cell: Cell) -> list[dict[str, Any]]:
    """A row for each measure of a cell, over its seeds."""
    rows = []
    for what, folders in cell.folders.items():
        of_seeds = {seed: measures_in(Path(folder), what=what) for seed, folder in folders.items()}
        for measure in next(iter(of_seeds.values())):
            measured = {seed: of_seed[measure] for seed, of_seed in of_seeds.items() if measure in of_seed}
            values = {seed: row["value"] for seed, row in measured.items()}
            rows.append(
                {
                    "table": cell.table,
                    "cell": cell.label,
                    "what": what,
                    "measure": measure,
                    "values": values,
                    "mean": mean(values.values()),
                    "sd": stdev(values.values()) if len(values) > 1 else None,
                    **{kind: mean_of([row[kind] for row in measured.values()]) for kind in AGAINST},
                }
            )
    return rows


def measures_in(folder: Path, *, what: str) -> dict[str, Row]:
    """Rows of baselines.json by measure, with the split before it of a task that has several.

    Raises: ValueError for a measure that is no number.
    """
    rows = read_rows(folder / "baselines.json")
    if broken := [row["measure"] for row in rows if not math.isfinite(row["value"])]:
        raise ValueError(f"{folder / 'baselines.json'}: {broken[0]} is no number; that training has to be made anew")
    has_splits = what == "refcoco" or len({row["split"] for row in rows}) > 1
    return {f"{row['split']}/{row['measure']}" if has_splits else row["measure"]: row for row in rows}


def mean_of(values: list[float | None]) -> float | None:
    """None if one is not known. Pretraining's held-out pairs are drawn by the seed, and so what they tell differs."""
    known = [value for value in values if value is not None]
    return mean(known) if len(known) == len(values) else None


def row_of(finding: Finding, cells: list[dict[str, Any]]) -> dict[str, Any] | None:
    """What is seen of a finding; None: the task has no such measure, as RefCOCO without the split `val`."""
    measure = MEASURES[finding.what]
    sought = {"what": finding.what, "measure": measure}
    by_cell = {
        (row["table"], row["cell"]): row for row in cells if all(row[name] == value for name, value in sought.items())
    }
    better, worse = (by_cell.get((cell.table, cell.label)) for cell in (finding.better, finding.worse))
    if better is None or worse is None:
        return None
    difference = paired_difference(better["values"], worse["values"])
    decision = verdict(difference, ceiling=better["ceiling"])
    return {
        "finding": finding.sentence,
        "source": f"Lu et al. 2019, table {finding.table}",
        "better": finding.better.label,
        "worse": finding.worse.label,
        **sought,
        "verdict": decision,
        "difference": difference.mean,
        "interval": [difference.low, difference.high],
        "p": difference.p,
        "num_seeds": difference.num_seeds,
        "seeds_to_decide": seeds_to_decide(difference, ceiling=better["ceiling"])
        if decision == "not decided"
        else None,
    }


def told(plan: Plan, taken: dict[str, Budget]) -> dict[str, Any]:
    """What was equal, and how much of it."""
    return {
        "equal": "optimiser steps and examples seen, for all that is trained of one kind",
        "trainings": {what: budget._asdict() for what, budget in taken.items()},
        "seeds": list(next(iter(plan.cells[0].folders.values()))),
    }


def without_lists(row: dict[str, Any]) -> dict[str, Any]:
    """A finding as a row of a csv."""
    low, high = row["interval"]
    return {name: value for name, value in row.items() if name != "interval"} | {"low": low, "high": high}


def flat(row: dict[str, Any], taken: Budget | None) -> dict[str, Any]:
    """A row of the csv."""
    values = list(row["values"].values())
    spread = {"lowest": min(values), "highest": max(values), "num_seeds": len(values)}
    budget = {"steps": taken.steps if taken else None, "examples_seen": taken.examples if taken else None}
    return {name: value for name, value in row.items() if name != "values"} | spread | budget


if __name__ == "__main__":
    run(main)
