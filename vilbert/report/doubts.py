"""What a reader of a run's numbers should be warned of, in sentences."""

from collections.abc import Iterator
from typing import Any

FEW = 50  # examples, below which a share is uncertain by 0.14 and more
SURE = 0.99  # of a chance that leaves nothing to find out
ALIKE = "commonest_first"  # a measure: how often the image stands first that does so most often
MOST_ALIKE = 0.5


def doubts_of(numbers: dict[str, Any]) -> list[str]:
    """Of all measures of `numbers.json`; what is wrong with several of one thing is said once."""
    by_what: dict[str, list[dict[str, Any]]] = {}
    for row in numbers["measures"]:
        by_what.setdefault(row["what"], []).append(row)
    return [doubt for what, rows in by_what.items() for doubt in doubts_about(what.replace("_", " "), rows)]


def doubts_about(what: str, rows: list[dict[str, Any]]) -> Iterator[str]:
    """Of the measures of one thing."""
    shares = [row for row in rows if row["scale"] is not None and row["measure"] != ALIKE]
    few = [row for row in shares if (row["num_examples"] or 0) < FEW]
    if few:
        least = min(few, key=lambda row: row["num_examples"])
        yield (f"{what}: measured on {least['num_examples']} examples, too few to say much; see the intervals")
    if sure := [row for row in shares if (row["chance"] or 0) >= SURE * row["scale"]]:
        yield f"{what}: {named(sure)} cannot be missed, chance is {sure[0]['chance']:g}"
    unproven = [
        row
        for row in shares
        if row["low"] is not None and row["chance"] is not None and row not in sure and row["low"] <= row["chance"]
    ]
    if unproven:
        yield f"{what}: {named(unproven)} cannot be told from chance on so many examples"
    if worse := [row for row in shares if row["rule"] is not None and row not in sure and row["value"] < row["rule"]]:
        yield f"{what}: a rule that learns nothing reaches more in {named(worse)}"
    for row in rows:
        if row["measure"] == ALIKE and row["value"] >= MOST_ALIKE:
            yield (
                f"{what}: one image stands first for {row['value']:.0%} of the captions: the model ranks alike "
                "whatever they say"
            )


def named(rows: list[dict[str, Any]]) -> str:
    """Their measures."""
    return ", ".join(dict.fromkeys(row["measure"].split("/")[-1].replace("_", " ") for row in rows))
