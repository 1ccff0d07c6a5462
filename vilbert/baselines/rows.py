"""The table of what measures come to and what they are read against, `baselines.json`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from extract.tables import read_json

COLUMNS = ["split", "measure", "value", "chance", "blind", "no_text", "rule", "ceiling", "num_examples", "num_dropped"]
KINDS = COLUMNS[3:8]

Values = Mapping[str, float]  # by measure
Row = dict[str, Any]  # by COLUMNS; None: there is no such baseline


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """What the measures of one split come to without a model that learnt, each by the measure's name.

    All are measured as the model is: rows that count as wrong for it count as wrong for them.
    """

    chance: Values  # draws evenly
    blind: Values  # has the text alone, and counts of the training split
    no_text: Values  # has the image alone, and counts of the training split
    rule: Values  # learns nothing: the detector's classes against the words; {} where a store names no classes
    ceiling: Values  # what is right as often as can be
    num_examples: int
    num_dropped: int  # of these: without features, and wrong whatever a model says
    counts: Mapping[str, int] = field(default_factory=dict)  # examples of the measures that have others

    def rows(self, split: str, measured: Values) -> list[Row]:
        """A row for each measure that has a ceiling.

        Args:
            measured: the model's values.
        """
        return [
            {"split": split, "measure": name, "value": measured[name]}
            | {kind: getattr(self, kind).get(name) for kind in KINDS}
            | {"num_examples": self.counts.get(name, self.num_examples), "num_dropped": self.num_dropped}
            for name in self.ceiling
        ]


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """A JSON list, which `read_rows` reads."""
    path.write_text(json.dumps(rows, indent=1) + "\n")


def read_rows(path: Path) -> list[Row]:
    """Raises: FileNotFoundError; ValueError for a file that is cut off or damaged."""
    return read_json(path)
