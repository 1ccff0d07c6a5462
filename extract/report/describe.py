"""What a run did, as tables and pictures for `snakemake --report`: python -m extract.report.describe RUN OUTPUT."""

import csv
import html
from collections import defaultdict
from collections.abc import Set
from pathlib import Path
from typing import Annotated

import typer

from extract.command import run
from extract.regions.store import RegionStore
from extract.report import figures
from extract.report.stale import is_of_another_shard
from extract.tables import read_json, read_table, whole_file

NUM_SAMPLE_ROWS = 8  # of each reason


def main(
    run: Path,
    output: Path,
    stores: Annotated[list[Path], typer.Option("--store", help="of a shard of the run; repeat it")],
    tars: Annotated[list[Path], typer.Option("--tar", help="of the images of a shard; repeat it")],
) -> None:
    """Write the tables and pictures of the run in the folder `run` (results/<run>) to the folder `output`."""
    output.mkdir(parents=True, exist_ok=True)
    summary = read_json(run / "summary.json")
    pairs = read_table(run / "pairs.parquet")
    dropped = read_table(run / "dropped.parquet").to_pylist()
    store = RegionStore(stores)

    write_csv(output / "dropped.csv", dropped_rows(summary))
    figures.dropped(output / "dropped.svg", summary)
    with whole_file(output / "dropped_samples.html") as partial:
        partial.write_text(dropped_samples_page(dropped))
    figures.caption_lengths(output / "caption_lengths.svg", pairs["caption"].to_pylist())
    figures.region_counts(output / "region_counts.svg", pairs["num_regions"].to_pylist())
    figures.relatedness(
        output / "relatedness.svg",
        kept=pairs["relatedness"].to_pylist(),
        dropped=[row["relatedness"] for row in dropped if row["stage"] == "relatedness"],
    )
    figures.sample_regions(output / "regions.png", store, pairs, sorted(tars))
    write_csv(output / "stages.csv", stage_rows(run, shards={f"{path.parent.name}/{path.stem}" for path in stores}))


def dropped_rows(summary: dict) -> list[dict]:
    """How many rows each rule dropped, in the order of the stages, and which share of the split that is."""
    rows = []
    for split, counts in summary["splits"].items():
        total = counts["rows"]
        rows.append({"split": split, "stage": "", "reason": "kept", "rows": counts["kept"], "share": ""})
        for dropped in counts["dropped"]:
            rows.append({"split": split, **{name: dropped[name] for name in ("stage", "reason", "rows")}, "share": ""})
        for row in rows:
            if row["split"] == split:
                row["share"] = f"{row['rows'] / total:.2%}"
    return rows


def dropped_samples_page(dropped: list[dict]) -> str:
    """Some of the dropped rows of each reason, with the value that the rule objected to."""
    by_reason: dict[tuple[str, str], list[dict]] = defaultdict(list)
    for row in dropped:
        by_reason[row["stage"], row["reason"]].append(row)
    parts = [
        '<!doctype html><meta charset="utf-8"><title>Dropped rows</title>'
        '<meta name="viewport" content="width=device-width">'
        "<style>body{font:15px/1.45 system-ui,sans-serif;margin:1.5rem;max-width:70rem}"
        "h2{font-size:1rem;margin:1.6rem 0 .3rem}"
        "table{border-collapse:collapse;width:100%}td{border-top:1px solid #ddd;padding:.25rem .6rem .25rem 0;"
        "vertical-align:top;overflow-wrap:anywhere}td:first-child{color:#666;white-space:nowrap}</style>"
    ]
    for (stage, reason), rows in sorted(by_reason.items()):
        parts.append(f"<h2>{html.escape(stage)}: {html.escape(reason)} ({len(rows):,})</h2><table>")
        for row in rows[:: max(1, len(rows) // NUM_SAMPLE_ROWS)][:NUM_SAMPLE_ROWS]:
            cells = (row["key"], row["caption"] or "", row["detail"] or "")
            parts.append("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>")
        parts.append("</table>")
    return "\n".join(parts)


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


def write_csv(path: Path, rows: list[dict]) -> None:
    """Write `rows`, dicts with the same names."""
    with whole_file(path) as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else ["nothing"])
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    run(main)
