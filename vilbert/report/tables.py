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


def interval(limits: Sequence[float | None]) -> str:
    """Nothing where one seed, or seeds that differ by the same, leave none."""
    return "" if None in limits else f"{limits[0]:.3g} to {limits[1]:.3g}"


def beside_published(table: str, comparisons: dict[str, Any]) -> Table:
    """The numbers of a table of the paper and those of this run, a row for each training and measure of either.

    What this run measures nothing of is left out.
    """
    ours = {key_of(cell): cell for cell in comparisons["cells"] if cell["table"] == table}
    whats = list(dict.fromkeys(what for what, _, _ in ours))
    theirs = {key_of(one): one for one in published(table) if one["what"] in whats}
    keys = sorted({**theirs, **ours}, key=lambda key: whats.index(key[0]))
    return as_table([{**named(key), **of_paper(theirs.get(key)), **of_run(ours.get(key))} for key in keys])


def key_of(row: dict[str, Any]) -> tuple[str, str, str]:
    """What is measured, what was trained, and by which measure."""
    return row["what"], row["cell"], row["measure"]


def named(key: tuple[str, str, str]) -> dict[str, str]:
    what, cell, measure = key
    return {"measured": what.replace("_", " "), "trained": cell, "measure": measure.replace("_", " ")}


def of_paper(one: dict[str, str] | None) -> dict[str, Any]:
    """A published number, percent; marked where no second text was at hand that has it."""
    if one is None:
        return {"Lu et al., %": None}
    return {"Lu et al., %": one["percent"] + ("" if one["certainty"] == "confirmed" else " *")}


def of_run(cell: dict[str, Any] | None) -> dict[str, Any]:
    """A number of this run, with what it is read against."""
    names = {"mean": "here", "sd": "spread", "rule": "rule", "blind": "words alone"}
    names |= {"chance": "chance", "ceiling": "ceiling"}
    numbers = {told: None if cell is None else cell[name] for name, told in names.items()}
    return numbers | {"seeds": None if cell is None else len(cell["values"])}


def published(table: str) -> list[dict[str, str]]:
    """The numbers of a table of Lu et al. (2019), percent.

    `certainty`: confirmed where a second text has the number, recalled where none was at hand.
    """
    with PUBLISHED.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["table"] == table]
