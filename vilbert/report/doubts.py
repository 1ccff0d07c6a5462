"""What a reader of a run's numbers should be warned of, in sentences."""

from collections.abc import Iterator
from typing import Any

from vilbert.retrieval.ranks import ALIKE

FEW = 50  # examples, below which a share is uncertain by 0.14 and more
SURE = 0.99  # of a chance that leaves nothing to find out
MOST_ALIKE = 0.5
WITHOUT = {  # learning, or one of the two
    "rule": "a rule that learns nothing",
    "blind": "who sees the words alone",
    "no_text": "who sees the image alone",
}

Row = dict[str, Any]


def doubts_of(numbers: dict[str, Any]) -> list[str]:
    """Of the measures and trainings of `numbers.json`; what is wrong with several measures of a thing is said once."""
    by_what: dict[str, list[Row]] = {}
    for row in numbers["measures"]:
        by_what.setdefault(row["what"], []).append(row)
    of_measures = [doubt for what, rows in by_what.items() for doubt in doubts_about(what.replace("_", " "), rows)]
    return [*of_measures, *stale(numbers["trainings"])]


def doubts_about(what: str, rows: list[Row]) -> Iterator[str]:
    """Of the measures of one thing."""
    if broken := [row for row in rows if row["value"] is None and row["num_examples"]]:
        yield f"{what}: {named(broken)} is no number"
    shares = [row for row in rows if row["scale"] is not None and row["value"] is not None]
    counts = [row["num_examples"] for row in shares if row["num_examples"] is not None]
    if counts and min(counts) < FEW:
        yield f"{what}: measured on {min(counts)} examples, too few to say much; see the intervals"
    sure = [row for row in shares if (row["chance"] or 0) >= SURE * row["scale"]]
    if sure:
        yield f"{what}: {named(sure)} cannot be missed, chance is {sure[0]['chance']:g}"
    doubtful = [row for row in shares if row not in sure]
    unproven = [row for row in doubtful if None not in (row["low"], row["chance"]) and row["low"] <= row["chance"]]
    if unproven:
        yield f"{what}: {named(unproven)} cannot be told from chance on so many examples"
    for kind, who in WITHOUT.items():
        if worse := [row for row in doubtful if row[kind] is not None and row["value"] < row[kind]]:
            yield f"{what}: {who} reaches more in {named(worse)}"
    for row in rows:
        if row["measure"] == ALIKE and row["value"] >= MOST_ALIKE:
            yield (
                f"{what}: one image stands first for {row['value']:.0%} of the captions: the model ranks alike "
                "whatever they say"
            )


def stale(trainings: list[Row]) -> Iterator[str]:
    """Of trainings that ended before the pretraining that stands beside them."""
    ended = {training["model"]: training["ended"] for training in trainings}
    pretrained = ended.pop("pretrain/model", None)
    of_run = {model: when for model, when in ended.items() if when and not model.startswith("comparisons/")}
    if older := [model for model, when in of_run.items() if pretrained and when < pretrained]:
        yield f"{', '.join(older)}: older than pretrain/model; what starts from it, started from the one before"


def named(rows: list[Row]) -> str:
    """Their measures."""
    return ", ".join(dict.fromkeys(row["measure"].split("/")[-1].replace("_", " ") for row in rows))
