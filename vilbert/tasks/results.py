"""What the fine-tunes come to, in one table: python -m vilbert.tasks.results BASELINES... OUTPUT.

The folder of a baselines.json names its task.
"""

from pathlib import Path

import pandas as pd

from extract.command import run
from vilbert.baselines.rows import COLUMNS, read_rows


def main(baselines: list[Path], output: Path) -> None:
    """Write a row for each measure of each task, with what it is read against."""
    rows = [{"task": path.parent.name, **row} for path in baselines for row in read_rows(path)]
    pd.DataFrame(rows, columns=["task", *COLUMNS]).round(4).to_csv(output, index=False)


if __name__ == "__main__":
    run(main)
