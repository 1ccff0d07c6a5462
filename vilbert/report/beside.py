"""The numbers of two runs side by side."""

from typing import Any

AGAINST = ("chance", "rule", "ceiling")

Key = tuple[str, str | None, str]
Row = dict[str, Any]


def beside(first: dict[str, Any], second: dict[str, Any]) -> list[Row]:
    """A row for each measure that one of two `numbers.json` has, in the order of the first, then for what both cost.

    What a measure is read against is told of both where it differs. `apart`: yes where the intervals of the two do not
    touch, so that more than the choice of examples differs; two runs of the same settings and other seeds may be that
    as well.
    """
    of_first, of_second = measures_of(first), measures_of(second)
    names = f"1: {first['run']}", f"2: {second['run']}"
    rows = []
    for key in dict.fromkeys([*of_first, *of_second]):
        both = [of.get(key) for of in (of_first, of_second)]
        row = dict(zip(("what", "split", "measure"), key, strict=True)) | dict(zip(names, map(told, both), strict=True))
        known = [one for one in both if one is not None]
        row |= {name: " / ".join(dict.fromkeys(rounded(one[name]) for one in known)) for name in AGAINST}
        rows.append(row | {"apart": "yes" if len(known) == 2 and are_apart(*known) else ""})
    cost = dict.fromkeys(("what", "split", "measure", *names, *AGAINST, "apart"), "")
    cost |= {"what": "cost", "measure": "all stages, one after the other"}
    seconds = [f"{sum(stage['seconds'] for stage in one['stages']):,.0f} s" for one in (first, second)]
    return [*rows, cost | dict(zip(names, seconds, strict=True))]


def measures_of(numbers: dict[str, Any]) -> dict[Key, Row]:
    """By what tells a measure from all others of its run."""
    return {(row["what"], row["split"], row["measure"]): row for row in numbers["measures"]}


def told(row: Row | None) -> str:
    """A value, and the interval around it."""
    if row is None:
        return ""
    around = "" if row["low"] is None else f" ({row['low']:.3g} to {row['high']:.3g})"
    return rounded(row["value"]) + around


def rounded(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def are_apart(ours: Row, theirs: Row) -> bool:
    """Whether both have an interval and these do not touch."""
    if ours["low"] is None or theirs["low"] is None:
        return False
    return ours["low"] > theirs["high"] or theirs["low"] > ours["high"]
