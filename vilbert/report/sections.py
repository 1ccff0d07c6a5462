"""What the page draws of a run: charts of its numbers, and examples with their pictures."""

from typing import Any

from markupsafe import Markup

from extract.tables import read_json
from vilbert.report import charts, tables
from vilbert.report.numbers import BESIDE_PICTURES, Found
from vilbert.training.learning_curves import LIMITS, OBJECTIVES
from vilbert.training.metrics import read_metrics

LEVELS = ("rule", "chance")


def of(found: Found, numbers: dict[str, Any]) -> dict[str, Any]:
    """All that the template reads besides the numbers, by name; what the run has not is empty."""
    by_what: dict[str, list[dict[str, Any]]] = {}
    for row in numbers["measures"]:
        by_what.setdefault(row["what"], []).append(row)
    return {
        "by_what": by_what,
        "bars": {what: Markup(charts.against_baselines(shares)) for what, shares in with_scale(by_what).items()},
        "curves": [Markup(svg) for svg in pretraining_curves(found, by_what) + task_curves(found)],
        "precisions": precision_chart(numbers["detector"]),
        "examples": examples_in(found),
        "search_chart": search_chart(numbers["search"]),
        "comparison_charts": comparison_charts(numbers["comparisons"]),
        "findings": tables.findings(numbers["comparisons"]),
        "beside_published": {
            name: tables.beside_published(name, numbers["comparisons"])
            for name in dict.fromkeys(cell["table"] for cell in (numbers["comparisons"] or {}).get("cells", []))
        },
        "search": tables.as_table(numbers["search"]),
        "score": tables.as_table(numbers["cleaning"]["score"]),
        "cost": tables.cost(numbers["stages"]),
        "measure_files": list(dict.fromkeys(row["file"] for row in numbers["measures"])),
    }


def with_scale(by_what: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """The measures that are shares of something."""
    kept = {what: [row for row in rows if row["scale"] is not None] for what, rows in by_what.items()}
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
        if name in line
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
    """Average precision by class; '' without a detector of the run's own."""
    if detector is None or not detector["ap50_by_class"]:
        return ""
    known = {name: value for name, value in detector["ap50_by_class"].items() if value is not None}
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


def comparison_charts(comparisons: dict[str, Any] | None) -> dict[str, list[str]]:
    """By table, a chart for each measure."""
    drawn: dict[str, list[str]] = {}
    by_chart: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for cell in (comparisons or {}).get("cells", []):
        by_chart.setdefault((cell["table"], cell["what"], cell["measure"]), []).append(cell)
    for (table, what, measure), cells in by_chart.items():
        title = f"{what}: {measure.split('/')[-1]}".replace("_", " ")
        drawn.setdefault(table, []).append(Markup(charts.by_cell(cells, title=title)))
    return drawn


def examples_in(found: Found) -> dict[str, list[dict[str, Any]]]:
    """By what was asked, its examples; their pictures by their path in the run."""
    examples = {}
    paths = found.run.glob("report/examples/*/examples.json")
    for path in sorted(paths, key=lambda path: (path.parent.name not in BESIDE_PICTURES, path.parent.name)):
        place = f"report/examples/{path.parent.name}"
        rows = found.of(f"{place}/examples.json", read_json, missing=[])
        for row in rows:
            row["picture"] = f"{place}/{row['picture']}" if row.get("picture") else None
            for word in row.get("words", []):
                word["picture"] = f"{place}/{word['picture']}"
        if rows:
            examples[path.parent.name] = rows
    return examples
