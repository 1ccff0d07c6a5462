"""The page's tables: heads and rows of cells."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

PUBLISHED = Path(__file__).parent / "lu_2019.csv"


class Table(NamedTuple):
    """What stands in it, as text and numbers; null is an empty cell."""

    names: Sequence[str]
    rows: Sequence[Sequence[Any]]


def as_table(rows: Sequence[dict[str, Any]]) -> Table:
    """Rows of the same names."""
    return Table([name.replace("_", " ") for name in rows[0]] if rows else [], [list(row.values()) for row in rows])


def cost(stages: Sequence[dict[str, Any]]) -> Table:
    """The stages, the longest first, with their sum; of memory, the most."""
    if not stages:
        return Table([], [])
    numbers = ("jobs", "seconds", "CPU seconds", "on disk (MB)")
    sums = {name: round(sum(float(stage[name] or 0) for stage in stages), 1) for name in numbers}
    peak = max(stage["peak memory (MB)"] for stage in stages)
    whole = {name: sums.get(name, "") for name in stages[0]} | {"rule": "all", "jobs": int(sums["jobs"])}
    return as_table([*stages, whole | {"peak memory (MB)": peak}])


def findings(comparisons: dict[str, Any] | None) -> Table:
    """What Lu et al. found, and whether that is seen here."""
    names = ["finding", "source", "here", "difference", "95 % interval", "p", "seeds", "seeds that would decide"]
    rows = [
        [one["finding"], one["source"], one["verdict"], one["difference"], interval(one["interval"]), one["p"]]
        + [one["num_seeds"], one["seeds_to_decide"]]
        for one in (comparisons or {}).get("findings", [])
    ]
    return Table(names, rows)


def interval(limits: Sequence[float] | None) -> str:
    return "" if limits is None else f"{limits[0]:.3g} to {limits[1]:.3g}"


def beside_published(table: str, comparisons: dict[str, Any] | None) -> Table:
    """Each number of a table of the paper, and each of ours, by what is measured."""
    names = ["measured", "by", "trained", "measure", "value", "spread", "seeds", "rule", "words alone", "chance", "ceiling"]
    ours = [cell for cell in (comparisons or {}).get("cells", []) if cell["table"] == table]
    rows: list[list[Any]] = []
    for what in dict.fromkeys(cell["what"] for cell in ours):
        rows += [
            [what.replace("_", " "), f"Lu et al., {one['certainty']}", one["cell"], one["measure"], float(one["percent"])]
            + [None] * 6
            for one in published(table)
            if one["what"] == what
        ]
        rows += [
            [what.replace("_", " "), "here", cell["cell"], cell["measure"].split("/")[-1].replace("_", " "), cell["mean"]]
            + [cell["sd"], len(cell["values"]), cell["rule"], cell["blind"], cell["chance"], cell["ceiling"]]
            for cell in ours
            if cell["what"] == what
        ]
    return Table(names, rows)


def published(table: str) -> list[dict[str, str]]:
    """The numbers of a table of Lu et al. (2019), percent.

    `certainty`: confirmed where a second text has the number, recalled where none was at hand.
    """
    with PUBLISHED.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["table"] == table]
