"""The machine, then a row for each way of doing a thing, from pytest-benchmark's JSON."""

import re
from dataclasses import dataclass, field
from statistics import median

COLUMNS = ("benchmark", "way", "rate", "ms each (fastest to slowest turn)", "times as fast as the last way")


@dataclass
class Way:
    """One way of doing a thing, in turns."""

    unit: str
    milliseconds: list[float] = field(default_factory=list)  # of one, a turn


def report(timings: dict) -> str:
    """Markdown."""
    seconds = "s" if timings["benchmarks"][0]["options"]["timer"] == "perf_counter" else "CPU-s"
    rows = [row for what, ways in ways_of(timings).items() for row in rows_of(what, ways, seconds=seconds)]
    return "\n".join([*machine(timings), "", *table([COLUMNS, tuple("---" for _ in COLUMNS), *rows])])


def file_name(timings: dict) -> str:
    cpu = re.sub(r"\W+", "-", re.sub(r"\(\w+\)", "", timings["machine_info"]["cpu"]["brand_raw"])).strip("-").lower()
    return f"{timings['datetime'][:10]}-{cpu}.md"


def machine(timings: dict) -> list[str]:
    info, commit = timings["machine_info"], timings["commit_info"]
    sizes = ["- the smallest sizes, once: these run, and their times say nothing"] if info["quick"] else []
    return [
        *sizes,
        f"- {timings['datetime'][:10]}, commit {commit['id'][:12]}{' with changes' if commit['dirty'] else ''}",
        f"- hardware: {info['cpu']['brand_raw']}, {info['cpu']['count']} cores, {info['memory_gib']:.0f} GiB; "
        f"GPU: {info['gpu']}",
        f"- {info['system']} {info['release']}, Python {info['python_version']}, torch {info['torch']}",
        f"- threads: {info['threads']}; mean load of the machine in the last 15 minutes: {info['load']:.1f}",
    ]


def ways_of(timings: dict) -> dict[str, dict[str, Way]]:
    """What is done, and the ways of doing it, in the order in which they ran."""
    found: dict[str, dict[str, Way]] = {}
    for timing in timings["benchmarks"]:
        info = timing["extra_info"]
        way = found.setdefault(timing["group"], {}).setdefault(info["way"], Way(info["unit"]))
        way.milliseconds.append(1000 * timing["stats"]["median"] / info["count"])
    return found


def rows_of(what: str, ways: dict[str, Way], *, seconds: str) -> list[tuple[str, ...]]:
    *others, baseline = ways.values()
    rows: list[tuple[str, ...]] = []
    for name, way in ways.items():
        each = way.milliseconds
        times = spread([theirs / ours for ours, theirs in zip(each, baseline.milliseconds, strict=True)])
        rows.append(
            (
                what,
                name,
                f"{digits(1000 / median(each))} {way.unit}/{seconds}",
                spread(each),
                "" if not others else "1" if way is baseline else times,
            )
        )
    return rows


def spread(turns: list[float]) -> str:
    return f"{digits(median(turns))} ({digits(min(turns))} to {digits(max(turns))})"


def digits(number: float) -> str:
    """Three digits, or all that stand before the point."""
    return f"{number:,.0f}" if number >= 100 else f"{number:#.3g}"


def table(rows: list[tuple[str, ...]]) -> list[str]:
    """Markdown that is readable as it stands."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
