"""What each rule of a run has cost."""

import csv
from collections.abc import Set
from pathlib import Path

from extract.report.stale import is_of_another_shard


def stage_rows(run: Path, *, shards: Set[str]) -> list[dict]:
    """Time and memory of each rule's jobs, from Snakemake's benchmark files, and what the run's folders weigh.

    Args:
        shards: of the run, as split/shard; files of others are left over from another shard size.
    """
    rows = []
    for folder in sorted((run / "times").iterdir()) if (run / "times").exists() else []:
        files = [folder] if folder.suffix == ".tsv" else sorted(folder.rglob("*.tsv"))
        files = [file for file in files if not is_of_another_shard(file, shards)]
        records = [record for file in files for record in csv.DictReader(file.open(), delimiter="\t")]
        seconds = [float(record["s"]) for record in records]
        memory = [float(record["max_rss"]) for record in records if record["max_rss"] not in ("-", "NA")]
        rows.append(
            {
                "rule": folder.stem,
                "jobs": len(records),
                "seconds": round(sum(seconds), 1),
                "CPU seconds": round(sum(float(record.get("cpu_time") or 0) for record in records), 1),
                "longest job": round(max(seconds, default=0), 1),
                "peak memory (MB)": round(max(memory, default=0)),
                "on disk (MB)": "",
            }
        )
    weights = {"draw_world": "world", "download": "images", "extract_regions": "features", "judge_pairs": "pairs"}
    for row in rows:
        if name := weights.get(str(row["rule"])):
            paths = [path for path in (run / name).rglob("*") if not is_of_another_shard(path, shards)]
            size = sum(path.stat().st_size for path in paths if path.is_file())
            row["on disk (MB)"] = round(size / 1e6, 1)
    return sorted(rows, key=lambda row: -float(row["seconds"]))
