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
    return as_table(
        [
            {
                "finding": one["finding"],
                "source": one["source"],
                "here": one["verdict"],
                "difference": one["difference"],
                "95 % interval": interval(one["interval"]),
                "p": one["p"],
                "seeds": one["num_seeds"],
                "seeds that would decide": one["seeds_to_decide"],
            }
            for one in (comparisons or {}).get("findings", [])
        ]
    )


def interval(limits: Sequence[float] | None) -> str:
    return "" if limits is None else f"{limits[0]:.3g} to {limits[1]:.3g}"


def beside_published(table: str, comparisons: dict[str, Any]) -> Table:
    """Each number of a table of the paper, and each of ours, by what is measured."""
    ours = [cell for cell in comparisons["cells"] if cell["table"] == table]
    theirs = published(table)
    rows = []
    for what in dict.fromkeys(cell["what"] for cell in ours):
        rows += [of_paper(one) for one in theirs if one["what"] == what]
        rows += [of_run(cell) for cell in ours if cell["what"] == what]
    return as_table(rows)


def of_paper(one: dict[str, str]) -> dict[str, Any]:
    """A published number as a row."""
    return {
        "measured": one["what"].replace("_", " "),
        "by": f"Lu et al., {one['certainty']}",
        "trained": one["cell"],
        "measure": one["measure"],
        "value": float(one["percent"]),
        **dict.fromkeys(("spread", "seeds", "rule", "words alone", "chance", "ceiling")),
    }


def of_run(cell: dict[str, Any]) -> dict[str, Any]:
    """A number of this run, as a row."""
    return {
        "measured": cell["what"].replace("_", " "),
        "by": "here",
        "trained": cell["cell"],
        "measure": cell["measure"].split("/")[-1].replace("_", " "),
        "value": cell["mean"],
        "spread": cell["sd"],
        "seeds": len(cell["values"]),
        "rule": cell["rule"],
        "words alone": cell["blind"],
        "chance": cell["chance"],
        "ceiling": cell["ceiling"],
    }


def published(table: str) -> list[dict[str, str]]:
    """The numbers of a table of Lu et al. (2019), percent.

    `certainty`: confirmed where a second text has the number, recalled where none was at hand.
    """
    with PUBLISHED.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["table"] == table]
