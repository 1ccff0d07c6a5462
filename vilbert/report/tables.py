"""The page's tables: heads and rows of cells."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vilbert.baselines.rows import KINDS

PUBLISHED_WHATS = ("vqa", "vcr", "refcoco", "retrieval", "zero_shot_retrieval")
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


def findings(found: Sequence[dict[str, Any]]) -> Table:
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
            for one in found
        ]
    )


def interval(limits: Sequence[float | None]) -> str:
    """Nothing where one seed, or seeds that differ by the same, leave none."""
    return "" if None in limits else f"{limits[0]:.3g} to {limits[1]:.3g}"


def beside_published(table: str, cells: Sequence[dict[str, Any]]) -> Table:
    """The numbers of a table of the paper and of this run, percent, a row for each training and measure of either.

    What this run measures nothing of is left out.

    Args:
        cells: of the comparisons, or `own_cells`.
    """
    ours = {key_of(cell): cell for cell in cells if cell["table"] == table}
    whats = list(dict.fromkeys(what for what, _, _ in ours))
    theirs = {key_of(one): one for one in published(table) if one["what"] in whats}
    keys = sorted({**theirs, **ours}, key=lambda key: whats.index(key[0]))
    return as_table([{**named(key), **of_paper(theirs.get(key)), **of_run(ours.get(key))} for key in keys])


def of_both(table: Table) -> Table:
    """The rows of `beside_published` that the paper and this run have."""
    places = [table.names.index(name) for name in ("Lu et al., %", "here, %")] if table.rows else []
    return Table(table.names, [row for row in table.rows if all(row[place] is not None for place in places)])


def own_cells(numbers: dict[str, Any]) -> list[dict[str, Any]]:
    """What the run's own model comes to, as a cell of table 1 of one seed: where nothing was compared."""
    made_of = {training["model"]: training["made_of"] for training in numbers["trainings"]}.get("pretrain/model")
    if made_of is None or "model" not in made_of:
        return []
    label = "single stream" if made_of["model"].get("architecture") == "single_stream" else "two streams"
    return [
        {
            "table": "architecture",
            "cell": label,
            "what": row["what"],
            "measure": f"{row['split']}/{row['measure']}" if row["what"] == "refcoco" else row["measure"],
            "values": {"own": row["value"]},
            "mean": row["value"],
            "sd": None,
            **{kind: row[kind] for kind in KINDS},
        }
        for row in numbers["measures"]
        if row["what"] in PUBLISHED_WHATS and row["scale"] is not None and row["value"] is not None
    ]


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
    """A number of this run, with what it is read against, percent; of a rank or a loss as it is."""
    names = {"mean": "here, %", "sd": "spread", "rule": "rule", "blind": "words alone", "no_text": "image alone"}
    names |= {"chance": "chance", "ceiling": "ceiling"}
    if cell is None:
        return dict.fromkeys((*names.values(), "seeds"))
    times = 100 if cell["ceiling"] is not None and cell["ceiling"] <= 1 and "rank" not in cell["measure"] else 1
    numbers = {told: None if cell[name] is None else times * cell[name] for name, told in names.items()}
    return numbers | {"seeds": len(cell["values"])}


def published(table: str) -> list[dict[str, str]]:
    """The numbers of a table of Lu et al. (2019), percent.

    `certainty`: confirmed where a second text has the number, recalled where none was at hand.
    """
    with PUBLISHED.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["table"] == table]
