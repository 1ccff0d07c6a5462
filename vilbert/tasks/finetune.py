"""A fine-tune as a command: python -m vilbert.tasks.finetune TASK MODEL STORE ANNOTATIONS OUTPUT..."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import torch
import typer
from torch import nn
from transformers import AutoConfig, PreTrainedModel, set_seed

from extract.command import run
from extract.regions.store import RegionStore, read_manifest
from extract.tables import naming
from extract.terminal import plain_table
from vilbert.baselines.rows import Row, write_rows
from vilbert.model.card import model_card
from vilbert.model.configuration_vilbert import VilbertConfig
from vilbert.model.directory import (
    WEIGHTS,
    demand_model,
    read_processor,
    sha256_beside_weights,
    sha256_of,
    write_model,
)
from vilbert.model.inputs import Batch
from vilbert.model.modeling_tasks import VilbertForImageTextRetrieval
from vilbert.model.modeling_vilbert import VilbertPreTrainedModel
from vilbert.model.origin import demand_same_regions, origin_of
from vilbert.settings import FinetuningSettings, RuntimeSettings, finetuning_made_of
from vilbert.tasks.pictures import Pictures
from vilbert.tasks.reading import write_dropped
from vilbert.tasks.refcoco import turned_images
from vilbert.tasks.table import data_of, models_of
from vilbert.tasks.task import TaskData, TaskSource
from vilbert.tasks.vqa import demand_answers, demand_own_list
from vilbert.training.devices import compiles, is_first_process
from vilbert.training.folder import TrainingFolder
from vilbert.training.loop import train
from vilbert.training.machine import machine_of_training
from vilbert.training.metrics_file import last_evaluation
from vilbert.training.precision import multiplied_in
from vilbert.training.scratch import on_scratch

UNNAMED = "LABEL_"  # what HF calls the labels of a model that was given none


def main(
    task: str,
    model: Path,
    store: Path,
    annotations: Path,
    model_output: Path,
    metrics_output: Path,
    dropped_output: Path,
    predictions_output: Path,
    baselines_output: Path,
    checkpoints: Annotated[Path, typer.Option(help="folder that outlives a killed run")],
    earlier: Annotated[Path, typer.Option(help="folder that ended trainings are set aside in when another begins")],
    settings: Annotated[FinetuningSettings, typer.Option(parser=FinetuningSettings.model_validate_json)],
    runtime: Annotated[RuntimeSettings, typer.Option(parser=RuntimeSettings.model_validate_json)],
    given: Annotated[Path | None, typer.Option(help="store of the boxes that the annotations name")] = None,
    left_out: Annotated[Path | None, typer.Option(help="csv of the images that it has no record of, and why")] = None,
    images: Annotated[Path | None, typer.Option(help="table of the pictures that a task of one's own names")] = None,
) -> None:
    """Fine-tune MODEL on a task; go on where an earlier run was killed.

    OUT_PREDICTIONS is a folder of predictions for the held-out and the test splits. What does not fit ends the command
    with what it is; the last good checkpoint stays. The results of a training that has ended
    are given again.
    """
    kinds = models_of(task, settings)
    if runtime.fsdp and issubclass(kinds[0], VilbertForImageTextRetrieval):
        raise ValueError("runtime.fsdp is true, but retrieval is scored by layers whose weights it spreads")
    set_seed(settings.seed)
    checkpoints.mkdir(parents=True, exist_ok=True)
    of_task = settings.section(task)
    processor, detected = read_processor(model), RegionStore([store])
    demand_same_regions(model, detected, are_given=getattr(of_task, "detections", None) is not None)
    of_boxes = None if given is None else RegionStore([given])
    if of_boxes is not None:
        demand_same_regions(model, of_boxes, are_given=True)
    source = TaskSource(
        annotations=annotations,
        store=detected,
        given=of_boxes,
        turned=frozenset() if left_out is None else turned_images(left_out),
        processor=processor,
        settings=settings,
        cache=checkpoints,
        has_few_widths=compiles(runtime),
        pictures=Pictures(detected, images),
    )
    data = data_of(task, source)
    network = build_task_model(
        kinds,
        model,
        answers=data.answers,
        told=data.config,
        are_answers_given=getattr(of_task, "answers", None) is not None,
        is_own=task in settings.tasks,
    )
    demand_room(of_task.max_tokens, num_positions=network.config.max_position_embeddings)
    identity = finetuning_made_of(task, settings)
    identity["regions"] = origin_of(detected)
    identity["inputs"] = digests(
        model, [path for path in (store, given) if path is not None], data.files, annotations=annotations
    )
    folder = TrainingFolder(checkpoints, identity, earlier=earlier)
    outputs = [model_output, metrics_output, dropped_output, predictions_output, baselines_output]
    if folder.has_ended:
        if is_first_process():
            folder.give(outputs)
        return
    evaluator = TaskEvaluator(data)
    with on_scratch([one for one in (detected, of_boxes) if one is not None], runtime.scratch):
        trained, _ = train(
            network,
            data.training,  # type: ignore[arg-type]  # a Dataset
            lengths=data.training.lengths,
            optimizer=of_task.optimizer,
            runtime=runtime,
            seed=settings.seed,
            folder=folder,
            loss_weights={"loss": 1},
            count_items=count_examples,
            expected_items={"loss": 1},
            count_flops=None,
            evaluator=evaluator,
            evaluation_steps=None,
            has_unused_parameters=data.has_unused_parameters,
        )
        with multiplied_in(folder.dtype, trained.device.type):  # as it was measured
            evaluator.complete(trained)
    if is_first_process():
        with naming(model_output.parent):
            rows = baseline_rows(data, last_evaluation(checkpoints / "metrics.jsonl"))
            names = ", ".join(sorted(path.name for path in data.files))
            card = model_card(
                f"ViLBERT, fine-tuned: {task}",
                trained,
                rows,
                data=f"{len(data.training):,} examples of {names}",
                made_of=folder.provenance,
            )
            write_model(
                trained,
                processor,
                model_output,
                classes=detected.classes,
                provenance=folder.provenance
                | {"detector": detected.manifest.detector, "machine": machine_of_training()},
                card=card,
            )
            write_rows(baselines_output, rows)
            shutil.copyfile(checkpoints / "metrics.jsonl", metrics_output)
            write_dropped(dropped_output, data.dropped)
            evaluator.write(predictions_output)
            folder.end(outputs)
        print(plain_table(rows))


def digests(model: Path, stores: Sequence[Path], files: Sequence[Path], *, annotations: Path) -> dict[str, Any]:
    """Of everything that is read, the sha256."""
    return {
        "model": sha256_of(model / WEIGHTS),
        "beside_weights": sha256_beside_weights(model),
        "stores": [read_manifest(path).sha256 for path in stores],
        "annotations": {os.path.relpath(path, annotations): sha256_of(path) for path in files},
    }


def baseline_rows(data: TaskData, measured: dict[str, float]) -> list[Row]:
    """What the held-out splits' measures are read against.

    Args:
        measured: by '{split}/{measure}'.
    """
    counted, rows = data.count_baselines(), []
    for split, held_out in data.evaluation.items():
        values = {name.removeprefix(f"{split}/"): value for name, value in measured.items()}
        rows += counted.of(held_out).rows(split, values)
    return rows


class TaskEvaluator:
    """The measures of every held-out split, as '{split}/{measure}'; keeps the predictions that they are of."""

    def __init__(self, data: TaskData):
        self.data = data
        self.predictions: dict[str, Any] = {}

    def __call__(self, model: nn.Module) -> dict[str, float]:
        held_out = self.data.evaluation
        self.predictions = {split: dataset.predict(model) for split, dataset in held_out.items()}
        return {
            f"{split}/{name}": value
            for split, predictions in self.predictions.items()
            for name, value in held_out[split].measure(predictions).items()
        }

    @torch.inference_mode()
    def complete(self, model: PreTrainedModel) -> None:
        """Ask for what has not been: test splits, and held-out ones that a killed run had measured. In every process.

        Args:
            model: as it was measured last.
        """
        for split, dataset in (self.data.evaluation | self.data.unlabelled).items():
            if split not in self.predictions:
                self.predictions[split] = dataset.predict(model.eval())

    def write(self, folder: Path) -> None:
        """A file for each held-out and test split, as the task's leaderboard takes it."""
        folder.mkdir(parents=True, exist_ok=True)
        for split, dataset in (self.data.evaluation | self.data.unlabelled).items():
            dataset.write(self.predictions[split], folder, split)


def build_task_model(
    kinds: tuple[type[VilbertPreTrainedModel], ...],
    path: Path,
    *,
    answers: list[str] | None,
    are_answers_given: bool,
    is_own: bool = False,
    told: Mapping[str, Any] = MappingProxyType({}),
) -> PreTrainedModel:
    """The task's model on the trunk of a model directory, with a new head unless the directory has this very one.

    Args:
        kinds: the model of two streams, and of a single one.
        are_answers_given: by a file, not found in the annotations.
        is_own: a task of one's own, whose answers are those of its table.
        told: beside the answers, of the configuration.
    Raises: ValueError if the directory's head was, or may have been, trained on other answers.
    """
    demand_model(path)
    config = AutoConfig.from_pretrained(path)
    kind = kinds[0 if isinstance(config, VilbertConfig) else 1]
    if answers is not None:
        has_head = kind.__name__ in (config.architectures or [])
        if has_head and is_own:
            demand_this_head(path, config.id2label, answers)
        elif has_head and str(config.id2label[0]).startswith(UNNAMED):
            demand_own_list(config.num_labels, answers, is_given=are_answers_given)
        elif has_head:
            demand_answers(config.id2label, answers)
        config.id2label = dict(enumerate(answers))
        config.label2id = {answer: index for index, answer in enumerate(answers)}
    for name, value in told.items():
        setattr(config, name, value)
    return kind.from_pretrained(path, config=config)


def demand_this_head(path: Path, id2label: Mapping[int, str], answers: Sequence[str]) -> None:
    """Raises: ValueError if a model's head is of other answers or labels than those of a table, or of another order."""
    if [id2label[index] for index in sorted(id2label)] != list(answers):
        raise ValueError(
            f"{path} has a head of {len(id2label)} answers or labels that are not the {len(answers)} of the table; "
            "start from the model that it was made of, or from another without this head"
        )


def demand_room(max_tokens: int, *, num_positions: int) -> None:
    """Raises: ValueError if texts may be longer than the model takes: one of them would end a training half-way."""
    if max_tokens > num_positions:
        raise ValueError(f"max_tokens is {max_tokens}, the model takes {num_positions} at most")


def count_examples(batch: Batch) -> Batch:
    """Over how many examples a batch's loss is a mean."""
    return {"loss": torch.tensor(len(batch["labels"]), device=batch["labels"].device)}


if __name__ == "__main__":
    run(main)
