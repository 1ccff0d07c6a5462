"""What each rule of a run has cost."""

import csv
from collections.abc import Set
from pathlib import Path

from extract.report.stale import is_of_another_shard
from extract.tables import reading

WEIGHTS = {  # the folder that is weighed with a rule
    "draw_world": "world",
    "draw_tasks": "tasks",
    "download": "images",
    "extract_regions": "features",
    "judge_pairs": "pairs",
    "pretrain": "pretrain",
    "extract_task_regions": "tasks_features",
    "finetune": "finetune",
    "distil_retriever": "search",
    "pretrain_cell": "comparisons",
}


def stage_rows(run: Path, *, shards: Set[str]) -> list[dict]:
    """Time and memory of each rule's jobs, the longest first, from Snakemake's benchmark files, and what the folders of
    some weigh.

    Args:
        shards: of the run, as split/shard; files of others are left over from another shard size.
    Raises: ValueError for a benchmark file that is damaged.
    """
    folders = sorted((run / "times").iterdir()) if (run / "times").exists() else []
    return sorted((stage_row(folder, run, shards=shards) for folder in folders), key=lambda row: -float(row["seconds"]))


def stage_row(times: Path, run: Path, *, shards: Set[str]) -> dict[str, str | int | float]:
    """Of one rule, whose benchmark file or folder of these is `times`."""
    files = [times] if times.suffix == ".tsv" else sorted(times.rglob("*.tsv"))
    records = [record for file in files if not is_of_another_shard(file, shards) for record in records_in(file)]
    seconds = [record["s"] for record in records]
    weighed = WEIGHTS.get(times.stem)
    return {
        "rule": times.stem,
        "jobs": len(records),
        "seconds": round(sum(seconds), 1),
        "CPU seconds": round(sum(record["cpu_time"] for record in records), 1),
        "longest job": round(max(seconds, default=0), 1),
        "peak memory (MB)": round(max((record["max_rss"] for record in records), default=0)),
        "on disk (MB)": "" if weighed is None else round(size_of(run / weighed, shards=shards) / 1e6, 1),
    }


def records_in(file: Path) -> list[dict[str, float]]:
    """The lines of a benchmark file: seconds, CPU seconds and megabytes; 0 for what was too short to be measured."""
    with reading(file), file.open(newline="") as lines:
        return [
            {name: number(record.get(name)) for name in ("s", "cpu_time", "max_rss")}
            for record in csv.DictReader(lines, delimiter="\t")
        ]


def number(text: str | None) -> float:
    return 0.0 if text in (None, "-", "NA") else float(text)


def size_of(folder: Path, *, shards: Set[str]) -> int:
    """Bytes of all files below, but for those of other shards; of a file of several names once."""
    paths = (path for path in folder.rglob("*") if not is_of_another_shard(path, shards) and path.is_file())
    return sum({(found.st_dev, found.st_ino): found.st_size for found in map(Path.stat, paths)}.values())
