"""A run's folder as its jobs leave it, with text in it that is no markup."""

import json
from pathlib import Path

from PIL import Image

HOSTILE = "<script>document.title='taken'</script> & \"<b>\" {{ 7 * 7 }} </svg>"
KINDS = {"chance": 0.01, "blind": 0.01, "no_text": 0.01, "rule": 0.25, "ceiling": 1.0}


def measure(name: str, value: float, *, num_examples: int = 100, **changed: float | None) -> dict:
    """A row of baselines.json."""
    counts = {"num_examples": num_examples, "num_dropped": 0}
    return {"split": "val", "measure": name, "value": value} | KINDS | counts | changed


def make_report_run(folder: Path) -> Path:
    """A run `folder` with pretraining, a task, examples and times; its names and captions are hostile."""
    write(folder / "pretrain/baselines.json", [measure("retrieval/recall_at_1", 0.59)])
    lines = [
        {"step": step, "loss/alignment": 1 / step, "eval/loss/alignment": 2 / step, "eval/retrieval/recall_at_1": 0.1}
        for step in (1, 2, 3)
    ]
    (folder / "pretrain/metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    made_of = {"commit": "0123456789abcdef", "pretraining": {"seed": 7, "note": HOSTILE}}
    made_of["model"] = {"architecture": "two_stream"}
    write(folder / "pretrain/model/provenance.json", made_of)
    write(
        folder / "finetune" / "vqa" / "baselines.json", [measure("accuracy", 66.0, chance=2.0, rule=39.0, ceiling=100)]
    )
    write(folder / "finetune/vqa/metrics.jsonl", {"step": 5, "loss": 0.5})
    example = {"kind": "question", "picture": "00.png", "text": HOSTILE, "answer": HOSTILE, "expected": "two"}
    example |= {"right": False, "score": 0.25, "alternatives": [[HOSTILE, 0.25]]}
    write(folder / "report/examples/vqa/examples.json", [example])
    Image.new("RGB", (61, 43), (200, 30, 30)).save(folder / "report/examples/vqa/00.png")
    (folder / "report/dropped.csv").write_text("split,stage,reason,rows,share\ntrain,,kept,5,100.00%\n")
    write(folder / "detector/metrics.json", detector())
    write(folder / "report/comparisons.json", comparisons())
    (folder / "times").mkdir()
    (folder / "times/pretrain.tsv").write_text("s\tmax_rss\tcpu_time\n12.5\t700.0\t20.0\n")
    return folder


def detector() -> dict:
    by_class = {HOSTILE: 50.0, "red circle": 90.0, "never there": None}
    return {"ap50": 70.0, "ap50_by_class": by_class, "num_train_images": 11, "num_val_images": 7, "steps": 3}


def comparisons() -> dict:
    """Of two shares of the data, and a text stream of a hostile name."""
    known = {"chance": 2.0, "blind": 36.0, "no_text": None, "rule": None, "ceiling": 100.0}
    cells = [
        {"table": table, "cell": cell, "what": "vqa", "measure": "accuracy", "values": {"1": value, "2": value + 2}}
        | {"mean": value + 1, "sd": 2**0.5, **known}
        for table, cell, value in (
            ("data", "0 % of the images", 44.0),
            ("data", "100 % of the images", 65.0),
            ("text_init", HOSTILE, 1.0),
        )
    ]
    finding = {"finding": "VQA gains", "source": "table 3", "better": "more", "worse": "less", "what": "vqa"}
    finding |= {"measure": "accuracy", "verdict": "not decided", "difference": 21.0, "interval": [-3.5, 45.5]}
    budget = {"trainings": {"pretraining": {"steps": 3108, "examples": 198_912}}}
    return {
        "budget": budget,
        "cells": cells,
        "findings": [{**finding, "p": None, "num_seeds": 2, "seeds_to_decide": 3}],
    }


def write(path: Path, value: object) -> None:
    """JSON, in a folder that is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value) + "\n")
