"""The lines of a training's metrics.jsonl, as they were written; nothing heavy is imported here."""

import json
from pathlib import Path


def read_metrics(path: Path) -> list[dict]:
    """Lines of a metrics.jsonl; a last one that was cut off, so that no newline ends it, is left out.

    Raises: ValueError for what no training wrote.
    """
    lines = []
    for number, text in enumerate(path.read_text(errors="replace").splitlines(keepends=True), start=1):
        line = metrics_in(text)
        if line is not None:
            lines.append(line)
        elif text.endswith("\n"):
            raise ValueError(f"line {number} of {path} is {text[:40]!r}, expected the metrics of a step, as JSON")
    return lines


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


def metrics_in(text: str) -> dict | None:
    """The metrics of a step; None: it is something else."""
    try:
        line = json.loads(text)
    except json.JSONDecodeError:
        return None
    return line if isinstance(line, dict) and "step" in line else None
