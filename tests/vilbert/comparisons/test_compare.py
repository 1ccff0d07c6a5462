"""The command on trainings of three seeds, as they leave themselves."""

import csv
import json
from pathlib import Path

import pytest

from vilbert.comparisons.compare import main
from vilbert.comparisons.plan import Cell, Plan

VALUES = {"all": (50.0, 55.0, 63.0), "none": (40.0, 44.0, 50.0)}  # by 10, 11 and 13


def leave(folder: Path, value: float, *, what: str = "vqa", steps: int = 7, splits: tuple[str, ...] = ("val",)) -> None:
    """What a training of batches of 32 leaves when it has ended."""
    (folder / "model").mkdir(parents=True)
    settings = {"optimizer": {"batch_size": 32}}
    provenance = {"pretraining": settings, "finetuning": {what: settings}}
    (folder / "model/provenance.json").write_text(json.dumps(provenance))
    lines = [{"step": 1, "loss": 3.0}, {"step": steps, "loss": 1.0}, {"step": steps, "eval/x": value}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    row = {"measure": "accuracy", "value": value, "chance": 2.0, "rule": 30.0, "ceiling": 100.0}
    row |= {"blind": None, "no_text": None}
    (folder / "baselines.json").write_text(json.dumps([row | {"split": split} for split in splits]))


@pytest.fixture
def plan(tmp_path) -> Plan:
    cells = []
    for share, (label, values) in enumerate(reversed(VALUES.items())):
        folders = {str(seed): str(tmp_path / f"{label}-{seed}") for seed in (1, 2, 3)}
        for folder, value in zip(folders.values(), values, strict=True):
            leave(Path(folder), value)
        cells.append(
            Cell(
                table="data",
                label=label,
                name=label,
                architecture="two_stream",
                depth=2,
                share=share,
                folders={"vqa": folders},
            )
        )
    return Plan(own_depth=2, cells=cells)


def compared(plan: Plan, folder: Path) -> dict:
    main(folder / "findings.csv", folder / "cells.csv", folder / "all.json", plan)
    return json.loads((folder / "all.json").read_text())


def test_a_cell_is_its_values_their_mean_and_spread_and_what_they_are_read_against(plan, tmp_path):
    (none, all_) = compared(plan, tmp_path)["cells"]
    assert all_ == {
        "table": "data",
        "cell": "all",
        "what": "vqa",
        "measure": "accuracy",
        "values": {"1": 50.0, "2": 55.0, "3": 63.0},
        "mean": 56.0,
        "sd": pytest.approx(43**0.5),  # (36 + 1 + 49) / 2
        "chance": 2.0,
        "blind": None,
        "no_text": None,
        "rule": 30.0,
        "ceiling": 100.0,
    }
    assert none["cell"] == "none"


def test_a_finding_is_decided_by_the_seeds(plan, tmp_path):
    (found,) = compared(plan, tmp_path)["findings"]
    assert found["finding"] == "VQA gains from 0 to 100 % of the images"
    assert found["source"] == "Lu et al. 2019, table 3"
    assert (found["better"], found["worse"], found["verdict"], found["num_seeds"]) == ("all", "none", "seen", 3)
    assert found["difference"] == pytest.approx(34 / 3)
    low, high = found["interval"]
    assert low > 0
    assert (low + high) / 2 == pytest.approx(34 / 3)
    assert found["p"] < 0.05
    assert found["seeds_to_decide"] is None  # it is decided


def test_one_seed_decides_nothing_and_says_so(plan, tmp_path):
    alone = [cell.model_copy(update={"folders": {"vqa": {"1": cell.folders["vqa"]["1"]}}}) for cell in plan.cells]
    known = compared(plan.model_copy(update={"cells": alone}), tmp_path)
    assert [row["sd"] for row in known["cells"]] == [None, None]
    (found,) = known["findings"]
    assert (found["verdict"], found["interval"], found["p"]) == ("not decided", [None, None], None)


def test_tables_have_the_budget_and_the_spread(plan, tmp_path):
    known = compared(plan, tmp_path)
    assert known["budget"]["trainings"] == {"vqa": {"steps": 7, "examples": 224}}
    assert known["budget"]["seeds"] == ["1", "2", "3"]
    with (tmp_path / "cells.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["cell"], row["lowest"], row["highest"], row["steps"], row["examples_seen"]) for row in rows] == [
        ("none", "40.0", "50.0", "7", "224"),
        ("all", "50.0", "63.0", "7", "224"),
    ]
    with (tmp_path / "findings.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert float(row["low"]) == pytest.approx(known["findings"][0]["interval"][0], abs=1e-4)


def test_a_grid_that_no_finding_is_about_has_a_table_without_rows(plan, tmp_path):
    assert compared(plan.model_copy(update={"cells": plan.cells[:1]}), tmp_path)["findings"] == []
    assert (tmp_path / "findings.csv").read_text().startswith("finding,verdict,difference,low,high,p,")


def test_a_measure_of_several_splits_has_the_split_before_it(plan, tmp_path):
    for cell in plan.cells:
        for folder in cell.folders["vqa"].values():
            rows = json.loads((Path(folder) / "baselines.json").read_text())
            Path(folder, "baselines.json").write_text(json.dumps([rows[0], rows[0] | {"split": "testA"}]))
    measures = [row["measure"] for row in compared(plan, tmp_path)["cells"]]
    assert measures == ["val/accuracy", "testA/accuracy"] * 2


def test_a_training_of_another_budget_is_refused_with_both(plan, tmp_path):
    odd = Path(plan.cells[1].folders["vqa"]["2"])
    metrics = odd / "metrics.jsonl"
    metrics.write_text(metrics.read_text().replace('"step": 7', '"step": 8'))
    with pytest.raises(ValueError, match=r"took 8 steps of 256 examples in all, .* 7 of 224, expected as many"):
        compared(plan, tmp_path)
    assert not (tmp_path / "all.json").exists()
