"""What the fine-tunes come to, in one table: python -m vilbert.tasks.results METRICS... OUTPUT.

The folder of a metrics.jsonl names its task.
"""

from pathlib import Path

import pandas as pd

from extract.command import run
from vilbert.training.comparison import last_evaluation


def main(metrics: list[Path], output: Path) -> None:
    """Write a row for each measure of each task."""
    rows = [
        {"task": path.parent.name, "measure": name, "value": round(value, 4)}
        for path in metrics
        for name, value in last_evaluation(path).items()
    ]
    pd.DataFrame(rows, columns=["task", "measure", "value"]).to_csv(output, index=False)


if __name__ == "__main__":
    run(main)
