"""How well the cleaning finds what is bad on purpose in the drawn world: python -m extract.cleaning.score."""

import csv
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path

from extract.command import run
from extract.tables import read_table, whole_file

COLUMNS = ("kind", "planted", "caught", "recall", "precision", "reasons")


def main(key: Path, pairs: Path, dropped: Path, output: Path):
    """Write, and print, precision and recall of each kind of planted noise and of all together."""
    rows = score_cleaning(planted=read_planted(key), kept=read_kept(pairs), dropped=read_dropped(dropped))
    with whole_file(output) as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    for row in [dict(zip(COLUMNS, COLUMNS, strict=True)), *rows]:
        print("{kind:<22}{planted:>9}{caught:>9}{recall:>9}{precision:>11}  {reasons}".format(**row))


def score_cleaning(*, planted: Mapping[str, str], kept: set[str], dropped: Mapping[str, str]) -> list[dict]:
    """A row a kind, then what was dropped without being planted, then all.

    A planted row is caught when it is dropped, whichever rule did it. The precision of a kind is that of the rule that
    caught most of it: of the rows that this rule dropped, the share that is planted, of whatever kind.

    Args:
        planted: kind by row; dropped: reason by row.
    Raises: ValueError if a planted row is neither kept nor dropped.
    """
    if lost := sorted(planted.keys() - kept - dropped.keys()):
        raise ValueError(f"{len(lost)} rows of the key are in neither table, such as '{lost[0]}'; score the same run")
    reasons: defaultdict[str, Counter[str]] = defaultdict(Counter)  # by kind
    num_by_reason: Counter[str] = Counter(dropped.values())
    num_right: Counter[str] = Counter()
    for row, reason in dropped.items():
        reasons[planted.get(row, "not planted")][reason] += 1
        num_right[reason] += row in planted
    rows = []
    for kind, num_planted in sorted(Counter(planted.values()).items()):
        caught = reasons[kind].total()
        main_rule = [reason for reason, _ in in_order(reasons[kind])[:1]]
        precision = ratio(sum(num_right[rule] for rule in main_rule), sum(num_by_reason[rule] for rule in main_rule))
        rows.append(score_row(kind, num_planted, caught, ratio(caught, num_planted), precision, reasons[kind]))
    false = reasons["not planted"]
    rows.append(score_row("not planted", 0, false.total(), "", "", false))
    caught = len(dropped) - false.total()
    rows.append(
        score_row("all", len(planted), caught, ratio(caught, len(planted)), ratio(caught, len(dropped)), Counter())
    )
    return rows


def score_row(kind: str, planted: int, caught: int, recall: str, precision: str, reasons: Counter[str]) -> dict:
    """One line of the table."""
    names = " ".join(f"{reason}:{count}" for reason, count in in_order(reasons))
    return dict(zip(COLUMNS, (kind, planted, caught, recall, precision, names), strict=True))


def in_order(counts: Counter[str]) -> list[tuple[str, int]]:
    """Most frequent first, then by name."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def ratio(part: int, whole: int) -> str:
    """A share as it is printed; of nothing there is none."""
    return f"{part / whole:.4f}" if whole else ""


def read_planted(path: Path) -> dict[str, str]:
    """Kind of noise by row, from the drawn world's key."""
    with path.open(newline="") as file:
        return {row["key"]: row["kind"] for row in csv.DictReader(file)}


def read_kept(path: Path) -> set[str]:
    """The rows that were kept."""
    return set(read_table(path, columns=["key"])["key"].to_pylist())


def read_dropped(path: Path) -> dict[str, str]:
    """Reason by row, of those that were dropped."""
    table = read_table(path, columns=["key", "reason"])
    return dict(zip(table["key"].to_pylist(), table["reason"].to_pylist(), strict=True))


if __name__ == "__main__":
    run(main)
