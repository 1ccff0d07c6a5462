"""What a run did, as tables and pictures for `snakemake --report`: python -m extract.report.describe RUN OUTPUT."""

import csv
import html
from collections import defaultdict
from pathlib import Path
from typing import Annotated

import typer

from extract.command import run
from extract.regions.store import RegionStore
from extract.report import figures
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


def write_csv(path: Path, rows: list[dict]) -> None:
    """Write `rows`, dicts with the same names."""
    with whole_file(path) as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else ["nothing"])
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    run(main)
