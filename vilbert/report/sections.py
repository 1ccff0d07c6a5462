"""What the page draws of a run: charts of its numbers, and examples with their pictures."""

import math
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image

from extract.tables import read_json
from vilbert.report import charts, tables
from vilbert.report.found import Found
from vilbert.report.numbers import BESIDE_PICTURES
from vilbert.training.learning_curves import LIMITS, OBJECTIVES
from vilbert.training.metrics_file import read_metrics

LEVELS = ("rule", "chance")


def of(found: Found, numbers: dict[str, Any]) -> dict[str, Any]:
    """All that the template reads besides the numbers, by name; what the run has not, or has damaged, is empty."""
    by_what: dict[str, list[dict[str, Any]]] = {}
    for row in numbers["measures"]:
        by_what.setdefault(row["what"], []).append(row)
    bars = {what: charts.against_baselines(shares) for what, shares in with_scale(by_what).items()}
    curves = pretraining_curves(found, by_what) + task_curves(found)
    return {
        "by_what": by_what,
        "bars": {what: Markup(svg) for what, svg in bars.items()},
        "curves": [Markup(svg) for svg in curves],
        "precisions": found.of("detector/metrics.json", lambda _: precision_chart(numbers["detector"]), missing=""),
        "examples": examples_in(found),
        "search_chart": found.of("report/search.csv", lambda _: search_chart(numbers["search"]), missing=""),
        **found.of(
            "report/comparisons.json", lambda _: of_comparisons(numbers["comparisons"]), missing=of_comparisons(None)
        ),
        "published": tables.of_both(tables.beside_published("architecture", tables.own_cells(numbers))),
        "search": tables.as_table(numbers["search"]),
        "score": tables.as_table(numbers["cleaning"]["score"]),
        "cost": tables.cost(numbers["stages"]),
        "measure_files": list(dict.fromkeys(row["file"] for row in numbers["measures"])),
    }


def with_scale(by_what: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """The measures that are shares of something."""
    kept = {
        what: [row for row in rows if row["scale"] is not None and row["value"] is not None]
        for what, rows in by_what.items()
    }
    return {what: rows for what, rows in kept.items() if rows}


def pretraining_curves(found: Found, by_what: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Losses, accuracies and retrieval of pretraining over its steps."""
    lines = found.of("pretrain/metrics.jsonl", read_metrics, missing=[])
    measures = by_what.get("pretraining", [])
    drawn = []
    for name, title in OBJECTIVES.items():
        points = points_of(lines, {f"loss/{name}": "training", f"eval/loss/{name}": "held out"})
        if points:
            drawn.append(charts.curves(points, [], title=f"pretraining: loss of {title}"))
    told = {"alignment": "alignment", "changed_alignment": "a word or two changed"}
    accuracies = {f"accuracy/{name}": line for name, line in told.items()}
    recalls = {f"retrieval/recall_at_{limit}": f"R@{limit}" for limit in LIMITS}
    for names, title in ((accuracies, "pretraining: accuracy"), (recalls, "pretraining: zero-shot retrieval")):
        points = points_of(lines, {f"eval/{name}": line for name, line in names.items()})
        if points:
            drawn.append(charts.curves(points, levels_of(measures, names), title=title, is_share=True))
    return drawn


def task_curves(found: Found) -> list[str]:
    """The loss of each fine-tune over its steps; its measures are taken once, at the end."""
    drawn = []
    for path in sorted(found.run.glob("finetune/*/metrics.jsonl")):
        lines = found.of(f"finetune/{path.parent.name}/metrics.jsonl", read_metrics, missing=[])
        if points := points_of(lines, {"loss": "training"}):
            drawn.append(charts.curves(points, [], title=f"fine-tuning {path.parent.name}: loss"))
    return drawn


def points_of(lines: list[dict], names: dict[str, str]) -> list[dict[str, Any]]:
    """Steps and values of some metrics.

    Args:
        names: of the metrics, and what their lines are called.
    """
    return [
        {"step": line["step"], "value": line[name], "line": told}
        for name, told in names.items()
        for line in lines
        if name in line and math.isfinite(line[name])
    ]


def levels_of(measures: list[dict[str, Any]], names: dict[str, str]) -> list[dict[str, Any]]:
    """What some metrics are read against."""
    return [
        {"value": row[kind], "line": names[row["measure"]], "against": kind}
        for row in measures
        for kind in LEVELS
        if row["measure"] in names and row[kind] is not None
    ]


def precision_chart(detector: dict[str, Any] | None) -> str:
    """Average precision by class; '' without a detector of the run's own, or held-out boxes."""
    known = {name: value for name, value in detector["ap50_by_class"].items() if value is not None} if detector else {}
    if detector is None or not known:
        return ""
    return Markup(charts.by_class(known, title=f"detector, {detector['num_val_images']} held-out images"))


def search_chart(rows: list[dict[str, str]]) -> str:
    """Recall against the pairs that the larger model scored; '' where nothing was searched."""
    measured = [row for row in rows if row.get("pairs_scored")]
    if not measured:
        return ""
    points = [
        {"way": row["way"], "pairs": float(row["pairs_scored"]), "recall": float(row["recall_at_1"])}
        for row in measured
    ]
    return Markup(charts.recall_against_pairs(points, title="R@1 of a search"))


def of_comparisons(comparisons: dict[str, Any] | None) -> dict[str, Any]:
    """What trainings that stand side by side tell: tables of the paper, findings, and what each training took."""
    if comparisons is None:
        return {"compared": [], "findings": tables.findings([]), "budget": {}}
    return {
        "compared": compared(comparisons["cells"]),
        "findings": tables.findings(comparisons["findings"]),
        "budget": comparisons["budget"]["trainings"],
    }


def compared(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By table of the paper, a chart for each measure that it has, and all numbers beside the published ones."""
    by_table: dict[str, dict[tuple[str, str], list[dict[str, Any]]]] = {}
    for cell in cells:
        by_table.setdefault(cell["table"], {}).setdefault((cell["what"], cell["measure"]), []).append(cell)
    return [
        {
            "name": name,
            "charts": [
                Markup(charts.by_cell(of_measure, title=f"{what}: {measure.split('/')[-1]}".replace("_", " ")))
                for (what, measure), of_measure in by_measure.items()
                if len(of_measure) > 1 and (what, measure) in of_the_paper
            ],
            "beside": tables.beside_published(name, cells),
        }
        for name, by_measure in by_table.items()
        if (of_the_paper := {(one["what"], one["measure"]) for one in tables.published(name)} or by_measure.keys())
    ]


def examples_in(found: Found) -> dict[str, list[dict[str, Any]]]:
    """By what was asked, its examples; their pictures by their path in the run."""
    paths = found.run.glob("report/examples/*/examples.json")
    names = sorted((path.parent.name for path in paths), key=lambda name: (name not in BESIDE_PICTURES, name))
    read = {name: found.of(f"report/examples/{name}/examples.json", examples_of, missing=[]) for name in names}
    return {name: rows for name, rows in read.items() if rows}


def examples_of(path: Path) -> list[dict[str, Any]]:
    """Those of one folder.

    Raises: ValueError for a picture that is none, or lies elsewhere; KeyError for an example without its parts.
    """
    folder = path.parent
    rows = read_json(path)
    for row in rows:
        parts = ("words",) if row["kind"] == "attention" else ("answer", "expected", "right", "score", "alternatives")
        _ = [row[part] for part in ("text", *parts)]
        for shown in (row, *row.get("words", [])):
            shown["picture"] = picture_in(folder, shown["picture"])
    return rows


def picture_in(folder: Path, name: str) -> str:
    """The path of a picture, below the run."""
    path = folder / name
    if Path(name).name != name or path.suffix not in (".jpg", ".png"):
        raise ValueError(f"'{name}' is no picture in {folder}")
    with Image.open(path) as image:
        image.verify()
    return f"report/examples/{folder.name}/{name}"
