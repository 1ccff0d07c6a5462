"""Trainings side by side, each over some seeds: python -m vilbert.training.comparison METRICS... OUTPUT.

A metrics.jsonl lies in `{what is trained}/{what is compared}-{seed}/`.
"""

from pathlib import Path
from statistics import mean

import pandas as pd

from extract.command import run
from vilbert.training.metrics import read_metrics


def main(metrics: list[Path], output: Path) -> None:
    """Write a row for each metric of the last evaluation of what is trained, a column for each of what is compared."""
    compare(metrics).to_csv(output, index=False)


def compare(paths: list[Path]) -> pd.DataFrame:
    """Columns: `trained`, `metric`, then one for each of what is compared: 'mean (lowest to highest) of the seeds'.

    Raises: ValueError for a training that was never evaluated.
    """
    values: dict[tuple[str, str], dict[str, list[float]]] = {}
    for path in paths:
        compared, _, _ = path.parent.name.rpartition("-")
        for metric, value in last_evaluation(path).items():
            row = values.setdefault((path.parent.parent.name, metric), {})
            row.setdefault(compared, []).append(value)
    rows = [
        {"trained": trained, "metric": metric} | {compared: over_seeds(of_seeds) for compared, of_seeds in row.items()}
        for (trained, metric), row in values.items()
    ]
    return pd.DataFrame(rows)


def over_seeds(values: list[float]) -> str:
    return f"{mean(values):.3f} ({min(values):.3f} to {max(values):.3f}) of {len(values)}"


def last_evaluation(path: Path) -> dict[str, float]:
    """The metrics of a training's last evaluation by name, `eval/` left off."""
    evaluations = [
        {name.removeprefix("eval/"): value for name, value in line.items() if name.startswith("eval/")}
        for line in read_metrics(path)
    ]
    evaluations = [evaluation for evaluation in evaluations if evaluation]
    if not evaluations:
        raise ValueError(f"{path} holds no evaluation")
    return evaluations[-1]


if __name__ == "__main__":
    run(main)
