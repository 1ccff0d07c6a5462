"""All numbers of a run, from the files that its jobs have written, whichever of them are there."""

import csv
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from extract.report.stages import stage_rows
from extract.tables import read_json
from vilbert.baselines.rows import KINDS, read_rows
from vilbert.model.origin import PROVENANCE, read_object
from vilbert.report.found import Found
from vilbert.report.intervals import interval_of
from vilbert.retrieval.ranks import ALIKE
from vilbert.training.folder import read_note

NUMBERS = "report/numbers.json"
MEASURED = {"pretraining": "pretrain", "zero_shot_retrieval": "zero_shot_retrieval"}  # folders; tasks have their own
BESIDE_PICTURES = ("attention", "pretraining")  # folders of examples that are measured
# In the names of measures that are no share of their examples, or no merit.
NO_SHARE = ("median_rank", "macro_f1", "auroc", "average_precision", ALIKE)


def gather(found: Found) -> dict[str, Any]:
    """What `numbers.json` holds of a run: by name `run`, `measures`, `trainings`, `detector`, `cleaning`, `search`,
    `comparisons`, `stages`, `unread`; null or empty where a run has none."""
    run = found.run
    measures = [
        row for what, folder in folders_of(run).items() for row in found.of(folder, measures_in(what, run), missing=[])
    ]
    measures += found.of("report/probes.csv", probe_measures, missing=[])
    for task in sorted(path.parent.name for path in run.glob("finetune/*/predictions")):
        measures += found.of(f"finetune/{task}/predictions", alike_in(task), missing=[])
    measures += found.of("zero_shot_retrieval/metrics.json", alike_without_training, missing=[])
    for what in BESIDE_PICTURES:
        measures += found.of(f"report/examples/{what}/measures.json", other_measures(what), missing=[])
    return {
        "run": run.resolve().name,
        "measures": measures,
        "trainings": [row for folder in models_of(run) for row in found.of(folder, training_in(run), missing=[])],
        "detector": found.of("detector/metrics.json", detector_numbers, missing=None),
        "cleaning": {
            "dropped": found.of("report/dropped.csv", csv_rows, missing=[]),
            "score": found.of("report/cleaning_score.csv", csv_rows, missing=[]),
        },
        "search": found.of("report/search.csv", csv_rows, missing=[]),
        "comparisons": found.of("report/comparisons.json", read_json, missing=None),
        "stages": found.of("times", lambda path: stage_rows(run, shards=shards_of(run)), missing=[]),
        "unread": found.unread,
    }


def folders_of(run: Path) -> dict[str, str]:
    """By what is measured, the folders of a run that have a baselines.json."""
    tasks = {path.parent.name: f"finetune/{path.parent.name}" for path in sorted(run.glob("finetune/*/baselines.json"))}
    return {what: folder for what, folder in (MEASURED | tasks).items() if (run / folder / "baselines.json").exists()}


def models_of(run: Path) -> list[str]:
    """Folders of the models of a run, that of pretraining first, those of its comparisons last."""
    compared = [
        *sorted(run.glob("comparisons/*/*/pretrain/model")),
        *sorted(run.glob("comparisons/*/*/finetune/*/model")),
    ]
    found = [run / "pretrain/model", *sorted(run.glob("finetune/*/model")), run / "search/model", *compared]
    return [str(path.relative_to(run)) for path in found if (path / PROVENANCE).exists()]


def shards_of(run: Path) -> set[str]:
    """As split/shard, those whose features are there."""
    return {f"{path.parent.name}/{path.stem}" for path in run.glob("features/*/*.lmdb")}


def measures_in(what: str, run: Path) -> Callable[[Path], list[dict]]:
    """What reads the measures of a folder of the run."""

    def read(folder: Path) -> list[dict]:
        path = folder / "baselines.json"
        rows = read_rows(path)
        return [measured(what, row, file=str(path.relative_to(run))) for row in rows]

    return read


def measured(what: str, row: dict[str, Any], *, file: str) -> dict[str, Any]:
    """One measure, with the interval that its examples leave open.

    `value` is null where it is no number; `scale` is 100 for percent, 1 for shares, null for what is neither.
    """
    name, count = row["measure"], row["num_examples"]
    value = row["value"] if row["value"] is not None and math.isfinite(row["value"]) else None
    is_share = not any(part in name for part in NO_SHARE)
    scale = (100 if (row["ceiling"] or 1) > 1 else 1) if is_share else None
    low, high = None, None
    if scale and count and value is not None:
        low, high = (scale * limit for limit in interval_of(min(max(value / scale, 0), 1), num_examples=count))
    kinds = {kind: row.get(kind) for kind in KINDS}
    return {"what": what, "split": row.get("split"), "measure": name, "value": value, "low": low, "high": high} | (
        kinds | {"scale": scale, "num_examples": count, "num_dropped": row.get("num_dropped"), "file": file}
    )


def alike_without_training(path: Path) -> list[dict]:
    """How often the same image stands first, as retrieval without training has told."""
    told = read_json(path)
    if ALIKE not in told:  # of an earlier version
        return []
    row = {"measure": ALIKE, "value": told[ALIKE], "num_examples": told["num_captions"], "ceiling": None}
    return [measured("zero_shot_retrieval", row, file="zero_shot_retrieval/metrics.json")]


def alike_in(task: str) -> Callable[[Path], list[dict]]:
    """What reads from the predictions of a task that finds images for texts how often the same one stands first."""

    def read(predictions: Path) -> list[dict]:
        rows = []
        for path in sorted(predictions.glob("*.json")):
            found = [
                row["images"][0] for row in read_json(path) if isinstance(row.get("images"), list) and row["images"]
            ]
            if found:
                ((_, count),) = Counter(found).most_common(1)
                share = {"measure": ALIKE, "value": count / len(found), "num_examples": len(found), "ceiling": None}
                file = f"finetune/{task}/predictions/{path.name}"
                rows.append(measured(task, {"split": path.stem, **share}, file=file))
        return rows

    return read


def probe_measures(path: Path) -> list[dict]:
    """A probe is a measure: how often a caption is preferred to its foil."""
    rows = []
    for row in csv_rows(path):
        numbers = {kind: float(row[kind]) for kind in KINDS if row.get(kind)}
        counts = {name: int(row[name]) for name in ("num_examples", "num_dropped")}
        as_measure = {"measure": row["kind"], "value": float(row["accuracy"]), "ceiling": 1.0} | numbers | counts
        rows.append(measured("probes", as_measure, file="report/probes.csv"))
    return rows


def other_measures(what: str) -> Callable[[Path], list[dict]]:
    """What reads measures that stand beside pictures."""

    def read(path: Path) -> list[dict]:
        file = "/".join(path.parts[-4:])
        return [measured(what, {"ceiling": None, **row}, file=file) for row in read_json(path)]

    return read


def training_in(run: Path) -> Callable[[Path], list[dict]]:
    """What reads of what a model was made, where and when."""

    def read(model: Path) -> list[dict]:
        note = read_note(model.parent / "checkpoints")
        dates = {name: note.get(name) for name in ("begun", "ended")}
        made_of = {"commit": None, "machine": None} | read_object(model / PROVENANCE)
        return [{"model": str(model.relative_to(run)), **dates, "made_of": made_of}]

    return read


def detector_numbers(path: Path) -> dict[str, Any]:
    """Average precision of the detector on held-out images, percent; without the course of its training."""
    metrics = read_json(path)
    return {name: metrics[name] for name in ("ap50", "ap50_by_class", "num_train_images", "num_val_images", "steps")}


def csv_rows(path: Path) -> list[dict[str, str]]:
    """Raises: ValueError for one that is cut off within a row."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if any(None in row or None in row.values() for row in rows):
        raise ValueError(f"{path} has rows of other lengths than its head: remove it and start the same command again")
    return rows
