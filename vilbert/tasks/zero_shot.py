"""Retrieval by the pretrained alignment head, without training.

python -m vilbert.tasks.zero_shot MODEL STORE ANNOTATIONS OUT_METRICS OUT_DROPPED OUT_BASELINES
"""

import json
from pathlib import Path
from typing import Annotated

import typer
from transformers import AutoModelForPreTraining, PreTrainedModel

from extract.command import run
from extract.devices import best_device
from extract.regions.store import RegionStore
from extract.tables import naming
from extract.terminal import plain_table
from vilbert.baselines.rows import write_rows
from vilbert.model.directory import demand_model, read_processor
from vilbert.model.origin import demand_same_regions
from vilbert.retrieval.ranks import ALIKE, commonest_first
from vilbert.settings import FinetuningSettings, RuntimeSettings
from vilbert.tasks.reading import write_dropped
from vilbert.tasks.retrieval_baselines import RetrievalBaselines
from vilbert.tasks.table import TaskSource, retrieval_splits
from vilbert.training.precision import choose_dtype, multiplied_in


def main(
    model: Path,
    store: Path,
    annotations: Path,
    metrics_output: Path,
    dropped_output: Path,
    baselines_output: Path,
    settings: Annotated[FinetuningSettings, typer.Option(parser=FinetuningSettings.model_validate_json)],
    runtime: Annotated[RuntimeSettings, typer.Option(parser=RuntimeSettings.model_validate_json)],
) -> None:
    """Rank all images of the validation split for each of its captions, and all captions for each image."""
    regions = RegionStore([store])
    demand_same_regions(model, regions)
    source = TaskSource(
        annotations=annotations,
        store=regions,
        given=None,
        turned=frozenset(),
        processor=read_processor(model),
        settings=settings,
        cache=metrics_output.parent,
    )
    of_task = settings.of("retrieval").retrieval
    assert of_task is not None
    (dataset,), dropped = retrieval_splits(source, of_task.validation_split)
    scorer, dtype = load(model), choose_dtype(runtime.dtype).dtype
    with multiplied_in(dtype, scorer.device.type):
        scores = dataset.predict(scorer)
    metrics = dataset.measure(scores)
    rows = RetrievalBaselines().of(dataset).rows("validation", metrics)
    with naming(metrics_output.parent):
        told = {"num_images": len(dataset.keys), "num_captions": len(scores), ALIKE: commonest_first(scores.numpy())}
        metrics_output.write_text(json.dumps(told | metrics, indent=1) + "\n")
        write_dropped(dropped_output, dropped)
        write_rows(baselines_output, rows)
    print(plain_table(rows))


def load(path: Path) -> PreTrainedModel:
    """A model with a trained alignment head, on the GPU if there is one.

    Raises: FileNotFoundError for what is none; ValueError for a damaged one, or one without that head: a new one would
        rank by chance.
    """
    demand_model(path)
    model, loading = AutoModelForPreTraining.from_pretrained(path, output_loading_info=True)
    if any(name.startswith("alignment_head.") for name in loading["missing_keys"]):
        raise ValueError(f"{path} holds no alignment head, expected a pretrained model, not one of another task")
    return model.eval().to(best_device())


if __name__ == "__main__":
    run(main)
