"""The numbers of two runs side by side."""

from typing import Any

COLUMNS = ("what", "split", "measure", "chance", "rule", "ceiling", "apart")  # besides those of the two runs

Key = tuple[str, str | None, str]


def beside(first: dict[str, Any], second: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each measure that one of two `numbers.json` has, in the order of the first, then for what both cost.

    `apart`: yes where the intervals of the two do not touch, so that more than the choice of examples differs; two
    runs of the same settings and other seeds may be that as well.
    """
    of_first, of_second = measures_of(first), measures_of(second)
    rows = []
    for key in dict.fromkeys([*of_first, *of_second]):
        ours, theirs = of_first.get(key), of_second.get(key)
        either = ours or theirs
        assert either is not None
        row = {"what": key[0], "split": key[1] or "", "measure": key[2]}
        row |= {first["run"]: told(ours), other_name(first, second): told(theirs)}
        row |= {name: rounded(either[name]) for name in ("chance", "rule", "ceiling")}
        rows.append(row | {"apart": "yes" if ours and theirs and are_apart(ours, theirs) else ""})
    costs = [f"{sum(stage['seconds'] for stage in one['stages']):,.0f} s" for one in (first, second)]
    cost = dict.fromkeys(COLUMNS, "") | {"what": "cost", "measure": "all stages, one after the other"}
    return [*rows, cost | dict(zip((first["run"], other_name(first, second)), costs, strict=True))]


def other_name(first: dict[str, Any], second: dict[str, Any]) -> str:
    """Of the second run, which may be called as the first is."""
    return second["run"] + (" (second)" if second["run"] == first["run"] else "")


def measures_of(numbers: dict[str, Any]) -> dict[Key, dict[str, Any]]:
    """By what tells a measure from all others of its run."""
    return {(row["what"], row["split"], row["measure"]): row for row in numbers["measures"]}


def told(row: dict[str, Any] | None) -> str:
    """A value, and the interval around it."""
    if row is None:
        return ""
    around = "" if row["low"] is None else f" ({row['low']:.3g} to {row['high']:.3g})"
    return f"{row['value']:.3g}{around}"


def rounded(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def are_apart(ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    """Whether both have an interval and these do not touch."""
    if ours["low"] is None or theirs["low"] is None:
        return False
    return ours["low"] > theirs["high"] or theirs["low"] > ours["high"]
