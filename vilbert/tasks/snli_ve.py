"""SNLI-VE, visual entailment: does a picture show what a sentence says? Also how a task is added in one file.

`finetuning.tasks.<name>` has `kind: snli_ve`, and as `table` the folder of snli_ve_train.jsonl, snli_ve_dev.jsonl and
snli_ve_test.jsonl; `finetuning.images` is that of Flickr30k's pictures.
Source: Xie et al. 2019, and the files that came with it.
"""

import json
from pathlib import Path

from vilbert.settings import OwnTaskSettings
from vilbert.tasks.classification import KIND as CLASSIFICATION
from vilbert.tasks.classification import Labelled, classification_data
from vilbert.tasks.reading import Dropped, Reading, demand_fields, read_lines, text_in
from vilbert.tasks.task import TaskData, TaskKind, TaskSource

FILES = {"train": "snli_ve_train.jsonl", "val": "snli_ve_dev.jsonl", "test": "snli_ve_test.jsonl"}
FIELDS = ("Flickr30K_ID", "pairID", "sentence2", "gold_label")
UNDECIDED = "-"  # the annotators did not agree


def read_rows(path: Path) -> list[dict]:
    """Raises: FileNotFoundError; ValueError for a file that is cut off or of another format."""
    try:
        rows = [json.loads(line) for line in read_lines(path) if line.strip()]
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no whole JSON lines file ({error}); fetch it again") from error
    return demand_fields(rows, FIELDS, source=str(path))


def named_pictures(folder: Path) -> list[str]:
    """{Flickr30K_ID}.jpg of all splits, each once."""
    rows = [row for name in FILES.values() for row in read_rows(folder / name)]
    return list(dict.fromkeys(f"{row['Flickr30K_ID']}.jpg" for row in rows))


def snli_ve_data(source: TaskSource, settings: OwnTaskSettings) -> TaskData:
    """Hypotheses, each with entailment, neutral or contradiction."""
    folder = source.annotations / settings.table
    kept, dropped = [], []
    for split, name in FILES.items():
        for number, row in enumerate(read_rows(folder / name)):
            annotation = f"{name}, row {number}"
            try:
                annotation, text, label = (text_in(row, field) for field in ("pairID", "sentence2", "gold_label"))
                key = source.picture(f"{text_in(row, 'Flickr30K_ID')}.jpg").key
            except ValueError as error:
                dropped.append(Dropped(annotation, "bad_value", str(error)))
                continue
            if label == UNDECIDED:
                dropped.append(Dropped(annotation, "undecided", label))
            else:
                kept.append(Labelled(annotation, key, split, text, (label,)))
    files = [folder / name for name in FILES.values()]
    return classification_data(source, settings, Reading(kept, dropped), files=files)


KIND = TaskKind(models=CLASSIFICATION.models, pictures=named_pictures, data=snli_ve_data)
