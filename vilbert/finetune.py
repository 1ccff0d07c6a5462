"""A fine-tune as a command: python -m vilbert.finetune TASK MODEL STORE ANNOTATIONS OUTPUT..."""

import os
import shutil
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import nn
from transformers import AutoConfig, AutoProcessor, PreTrainedModel, set_seed

from extract.store import RegionStore, read_manifest
from vilbert.configuration_vilbert import VilbertConfig
from vilbert.convert import MODELS
from vilbert.inputs import Batch
from vilbert.model_directory import sha256_of, write_model
from vilbert.settings import FinetuningSettings, RuntimeSettings
from vilbert.tasks.reading import write_dropped
from vilbert.tasks.table import TASKS, TaskName, TaskSource
from vilbert.tasks.vqa import demand_answers
from vilbert.training import train

UNNAMED = "LABEL_"  # what HF calls the labels of a model that was given none


def main(
    task: TaskName,
    model: Path,
    store: Path,
    annotations: Path,
    model_output: Path,
    metrics_output: Path,
    dropped_output: Path,
    predictions_output: Path,
    checkpoints: Annotated[Path, typer.Option(help="folder that outlives a killed run")],
    settings: Annotated[FinetuningSettings, typer.Option(parser=FinetuningSettings.model_validate_json)],
    runtime: Annotated[RuntimeSettings, typer.Option(parser=RuntimeSettings.model_validate_json)],
    given: Annotated[Path | None, typer.Option(help="store of the boxes that the annotations name")] = None,
    has_new_weights: Annotated[bool, typer.Option("--new-weights", help="take the sizes of MODEL alone")] = False,
) -> None:
    """Fine-tune MODEL on a task; go on where an earlier run was killed."""
    try:
        finetune(
            task,
            model,
            stores=[store] if given is None else [store, given],
            annotations=annotations,
            model_output=model_output,
            metrics_output=metrics_output,
            dropped_output=dropped_output,
            predictions_output=predictions_output,
            checkpoints=checkpoints,
            settings=settings,
            runtime=runtime,
            has_new_weights=has_new_weights,
        )
    except (ValueError, OSError, FloatingPointError) as error:
        raise SystemExit(f"error: {error}") from error


def finetune(
    task: TaskName,
    model_path: Path,
    *,
    stores: list[Path],
    annotations: Path,
    model_output: Path,
    metrics_output: Path,
    dropped_output: Path,
    predictions_output: Path,
    checkpoints: Path,
    settings: FinetuningSettings,
    runtime: RuntimeSettings,
    has_new_weights: bool,
) -> list[dict]:
    """Train, write the model directory, the metrics, what could not be used, and a folder of predictions for held-out
    and test splits; gives the lines of the metrics.

    Args:
        stores: the detector's regions, and, where the task has them, the boxes that its annotations name.
    Raises: ValueError where annotations, features, model and checkpoints do not fit; as `train` does.
    """
    set_seed(settings.seed)
    checkpoints.mkdir(parents=True, exist_ok=True)
    processor = AutoProcessor.from_pretrained(model_path)
    opened = [RegionStore([path]) for path in stores]
    source = TaskSource(
        annotations=annotations,
        store=opened[0],
        given=opened[1] if len(opened) > 1 else None,
        tokenizer=processor.tokenizer,
        settings=settings,
        cache=checkpoints,
    )
    data = TASKS[task](source)
    model = build_task_model(task, model_path, answers=data.answers, has_new_weights=has_new_weights)
    of_task = getattr(settings.of(task), task)
    identity = {
        "task": str(task),
        "finetuning": {"seed": settings.seed, str(task): of_task.model_dump(mode="json")},
        "has_new_weights": has_new_weights,
        "inputs": {str(path): read_manifest(path).sha256 for path in stores}
        | {str(path): sha256_of(path) for path in [*data.files, model_path / "model.safetensors"]},
    }

    def evaluate(model: nn.Module) -> dict[str, float]:
        return {
            f"{split}/{name}": value
            for split, dataset in data.evaluation.items()
            for name, value in dataset.evaluate(model).items()
        }

    trained, metrics = train(
        model,
        data.training,  # type: ignore[arg-type]  # a Dataset
        lengths=data.training.lengths,
        optimizer=of_task.optimizer,
        runtime=runtime,
        seed=settings.seed,
        checkpoints=checkpoints,
        identity=identity,
        loss_weights={"loss": 1},
        count_items=count_examples,
        count_flops=None,
        evaluator=evaluate,
        evaluation_steps=None,
        has_unused_parameters=data.has_unused_parameters,
    )
    if os.environ.get("RANK", "0") == "0":
        write_model(trained, processor, model_output, classes=opened[0].classes, identity=identity)
        shutil.copyfile(checkpoints / "metrics.jsonl", metrics_output)
        write_dropped(dropped_output, data.dropped)
        predictions_output.mkdir(parents=True, exist_ok=True)
        with torch.inference_mode():
            for split, dataset in (data.evaluation | data.unlabelled).items():
                dataset.write_predictions(trained.eval(), predictions_output, split)
    return metrics


def build_task_model(
    task: TaskName, path: Path, *, answers: list[str] | None, has_new_weights: bool
) -> PreTrainedModel:
    """The task's model on the trunk of a model directory, with a new head unless the directory has this very one.

    Raises: ValueError if the directory's head was trained on other answers.
    """
    config = AutoConfig.from_pretrained(path)
    kind = MODELS[task.value][0 if isinstance(config, VilbertConfig) else 1]
    if answers is not None:
        is_named = not str(next(iter(config.id2label.values()))).startswith(UNNAMED)
        if is_named and not has_new_weights:
            demand_answers(config.id2label, answers)
        config.id2label = dict(enumerate(answers))
        config.label2id = {answer: index for index, answer in enumerate(answers)}
    if has_new_weights:
        return kind(config)
    return kind.from_pretrained(path, config=config)


def count_examples(batch: Batch) -> Batch:
    """Over how many examples a batch's loss is a mean."""
    return {"loss": torch.tensor(len(batch["labels"]), device=batch["labels"].device)}


if __name__ == "__main__":
    typer.run(main)
