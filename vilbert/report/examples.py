"""What a fine-tuned model answers to some held-out examples, as pictures and a table.

python -m vilbert.report.examples TASK MODEL PREDICTIONS STORE ANNOTATIONS TAR OUT_FOLDER --settings SETTINGS
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from extract.command import run
from extract.regions.store import RegionStore
from vilbert.model.directory import read_processor
from vilbert.pipelines import load
from vilbert.report.answers import Answer, answers_of, read_predictions, with_likeliest
from vilbert.report.pictures import read_images, save, small, strip, with_boxes, with_names
from vilbert.settings import FinetuningSettings
from vilbert.tasks.held_out import HeldOut
from vilbert.tasks.pictures import Pictures
from vilbert.tasks.table import data_of
from vilbert.tasks.task import TaskSource
from vilbert.tasks.vqa import VqaDataset

NUM_SHOWN = 6  # that are right, and as many that are wrong


def main(
    task: str,
    model: Path,
    predictions: Path,
    store: Path,
    annotations: Path,
    tar: Path,
    output: Path,
    settings: Annotated[FinetuningSettings, typer.Option(parser=FinetuningSettings.model_validate_json)],
    given: Annotated[Path | None, typer.Option(help="store of the boxes that the annotations name")] = None,
    images: Annotated[Path | None, typer.Option(help="table of the pictures that a task of one's own names")] = None,
) -> None:
    """Write pictures of the first held-out split, and examples.json.

    Which ones, the seed of the fine-tune decides and not their looks: up to six that the model got right, and as many
    that it got wrong. What it answered is read from PREDICTIONS; only for questions with answers of a list it is asked
    again, for the ones that it thought likely as well.
    """
    regions = RegionStore([store])
    with TemporaryDirectory() as cache:
        source = TaskSource(
            annotations=annotations,
            store=regions,
            given=None if given is None else RegionStore([given]),
            turned=frozenset(),
            processor=read_processor(model),
            settings=settings,
            cache=Path(cache),
            pictures=Pictures(regions, images),
        )
        split, measured = next(iter(data_of(task, source).evaluation.items()))
    dataset = measured.data if isinstance(measured, HeldOut) else measured
    shown = choose(answers_of(dataset, read_predictions(predictions, split)), seed=settings.seed)
    if isinstance(dataset, VqaDataset):
        shown = with_likeliest(shown, dataset, load(model)[0])
    write_examples(shown, read_images([tar], {key for one in shown for key in one.image_keys}), output)


def choose(answers: Sequence[Answer], *, seed: int) -> list[Answer]:
    """Some that are right, then as many that are wrong, at random; all where there are fewer."""
    order = np.random.default_rng(seed).permutation(len(answers)).tolist()
    by_fate: dict[bool, list[Answer]] = {True: [], False: []}
    for place in order:
        by_fate[answers[place].is_right].append(answers[place])
    return by_fate[True][:NUM_SHOWN] + by_fate[False][:NUM_SHOWN]


def write_examples(answers: Sequence[Answer], images: Mapping[str, Image.Image], output: Path) -> None:
    """A picture for each, and examples.json."""
    output.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, one in enumerate(answers):
        name = f"{number:02d}.jpg"
        save(draw(one, images), output / name)
        rows.append(
            {
                "kind": one.kind,
                "picture": name,
                "text": one.text,
                "answer": one.answer,
                "expected": one.expected,
                "right": one.is_right,
                "score": one.score,
                "alternatives": one.alternatives,
            }
        )
    (output / "examples.json").write_text(json.dumps(rows, indent=1))


def draw(answer: Answer, images: Mapping[str, Image.Image]) -> Image.Image:
    """The picture, with what was pointed at; of a retrieval the best ones."""
    if answer.kind == "retrieval":
        marked = [place for place, key in enumerate(answer.image_keys) if key in answer.own]
        return strip([images[key] for key in answer.image_keys], marked=marked)
    image = images[answer.image_keys[0]]
    if answer.boxes is not None:
        return with_boxes(image, pointed=answer.boxes[0], meant=answer.boxes[1])
    return with_names(image, answer.named) if answer.named else small(image)


if __name__ == "__main__":
    run(main)
