"""Trainings side by side, each over some seeds: python -m vilbert.comparison METRICS... OUTPUT.

The folder of a metrics.jsonl names its training, `{what is compared}-{seed}`.
"""

from pathlib import Path
from statistics import mean

import pandas as pd
import typer

from vilbert.trainer import read_metrics


def main(metrics: list[Path], output: Path) -> None:
    """Write a row for each of what is compared: mean, lowest and highest of each metric of the last evaluation."""
    output.write_text(compare(metrics).to_csv(index=False))


def compare(paths: list[Path]) -> pd.DataFrame:
    """Columns: `compared`, `num_seeds`, then the metrics as 'mean (lowest to highest)'.

    Raises: ValueError for a training that was never evaluated.
    """
    by_name: dict[str, list[dict[str, float]]] = {}
    for path in paths:
        name, _, _ = path.parent.name.rpartition("-")
        by_name.setdefault(name, []).append(last_evaluation(path))
    rows = []
    for name, evaluations in by_name.items():
        row: dict[str, str | int] = {"compared": name, "num_seeds": len(evaluations)}
        for metric in evaluations[0]:
            values = [evaluation[metric] for evaluation in evaluations]
            row[metric] = f"{mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"
        rows.append(row)
    return pd.DataFrame(rows)


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
    typer.run(main)
