"""Retrieval by the pretrained alignment head, without training: python -m vilbert.zero_shot MODEL STORE ANNOTATIONS
OUT_METRICS OUT_DROPPED."""

import json
from pathlib import Path
from typing import Annotated

import typer
from transformers import AutoModelForPreTraining

import vilbert.modeling_single_stream  # noqa: F401 (AutoModel knows both architectures from here)
from extract.command import run
from extract.store import RegionStore
from vilbert.model_directory import read_processor
from vilbert.settings import FinetuningSettings
from vilbert.tasks.reading import write_dropped
from vilbert.tasks.table import TaskSource, retrieval_split


def main(
    model: Path,
    store: Path,
    annotations: Path,
    metrics_output: Path,
    dropped_output: Path,
    settings: Annotated[FinetuningSettings, typer.Option(parser=FinetuningSettings.model_validate_json)],
) -> None:
    """Rank all images of the validation split for each of its captions, and all captions for each image."""
    source = TaskSource(
        annotations=annotations,
        store=RegionStore([store]),
        given=None,
        tokenizer=read_processor(model).tokenizer,
        settings=settings,
        cache=metrics_output.parent,
    )
    of_task = settings.of("retrieval").retrieval
    assert of_task is not None
    dataset, dropped = retrieval_split(source, of_task.validation_split)
    metrics = dataset.evaluate(AutoModelForPreTraining.from_pretrained(model).eval())
    metrics_output.write_text(json.dumps({"num_images": len(dataset.keys), **metrics}, indent=1) + "\n")
    write_dropped(dropped_output, dropped)


if __name__ == "__main__":
    run(main)
