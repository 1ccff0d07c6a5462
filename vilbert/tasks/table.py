"""The table of tasks: which files make the data of each, and which splits measure it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from torch import nn

from extract.regions.store import RegionStore
from vilbert.batches.sampling import Draw
from vilbert.model.inputs import Batch
from vilbert.model.processing_vilbert import VilbertProcessor
from vilbert.settings import FinetuningSettings, VqaSplitSettings
from vilbert.tasks.reading import Dropped, Reading, with_features
from vilbert.tasks.refcoco import RefCocoDataset, read_expressions
from vilbert.tasks.retrieval import RetrievalDataset, read_captions
from vilbert.tasks.vcr import VcrDataset, read_vcr
from vilbert.tasks.vqa import Question, VqaDataset, answer_list, minival, read_answer_list, read_questions


class TaskName(StrEnum):
    """By the keys of `vilbert.conversion.convert.MODELS`."""

    VQA = "vqa"
    VCR = "vcr"
    REFCOCO = "refcoco"
    RETRIEVAL = "retrieval"


class TaskSource(NamedTuple):
    """Where a task's data come from."""

    annotations: Path  # folder
    store: RegionStore  # the detector's regions
    given: RegionStore | None  # of the boxes that the annotations name
    processor: VilbertProcessor
    settings: FinetuningSettings
    cache: Path  # folder for what is found once


class TrainingData(Protocol):
    """A task's data set as training takes it."""

    @property
    def lengths(self) -> np.ndarray: ...

    def __len__(self) -> int: ...

    def __getitems__(self, draws: Sequence[Draw]) -> Batch: ...


class EvaluationData(Protocol):
    """A task's data set as it is measured: what a model says is found once, then measured and written."""

    def predict(self, model: nn.Module) -> Any: ...

    def measure(self, predictions: Any) -> dict[str, float]: ...

    def write(self, predictions: Any, folder: Path, name: str) -> None: ...


@dataclass(frozen=True)
class TaskData:
    """What a fine-tune learns from, and what it is measured on, by name."""

    training: TrainingData
    evaluation: dict[str, EvaluationData]
    dropped: list[Dropped]
    unlabelled: dict[str, EvaluationData] = field(default_factory=dict)  # test sets, of which predictions are written
    answers: list[str] | None = None  # of VQA
    has_unused_parameters: bool = False  # the head reads one stream alone
    files: list[Path] = field(default_factory=list)  # of annotations


def vqa_data(source: TaskSource) -> TaskData:
    """Questions; with a minival, what is not kept back of the validation split is trained on too."""
    settings, folder = source.settings.vqa, source.annotations
    assert settings is not None
    splits = [*settings.train, settings.validation]
    annotations = [folder / split.annotations for split in splits if split.annotations is not None]
    given = [] if settings.answers is None else [folder / settings.answers]
    answers = read_answer_list(given[0]) if given else answer_list(annotations, min_count=settings.min_answer_count)
    readings = [_read_vqa(split, source) for split in splits]
    training = [question for reading in readings[:-1] for question in reading.examples]
    validation = readings[-1].examples
    if settings.minival_size:
        more, validation = minival(validation, size=settings.minival_size)
        training += more

    def make(questions: Sequence[Question]) -> VqaDataset:
        return VqaDataset(questions, source.store, source.processor, answers=answers, max_tokens=settings.max_tokens)

    test = [] if settings.test is None else [_read_vqa(settings.test, source)]
    return TaskData(
        training=make(training),
        evaluation={"validation": make(validation)},
        dropped=[row for reading in readings + test for row in reading.dropped],
        unlabelled={"test": make(test[0].examples)} if test else {},
        answers=answers,
        files=[*annotations, *(folder / split.questions for split in splits), *given],
    )


def _read_vqa(split: VqaSplitSettings, source: TaskSource) -> Reading[Question]:
    annotations = None if split.annotations is None else source.annotations / split.annotations
    reading = read_questions(source.annotations / split.questions, annotations, image_key=split.image_key)
    return with_features(reading, source.store)


def vcr_data(source: TaskSource) -> TaskData:
    """Answers and reasons together; objects' boxes are regions beside the detector's."""
    settings = source.settings.vcr
    assert settings is not None
    names = [settings.train, settings.validation, *([settings.test] if settings.test is not None else [])]
    files = [source.annotations / name for name in names]
    readings = [
        with_features(read_vcr(path, seed=source.settings.seed, has_labels=path not in files[2:]), source.store)
        for path in files
    ]
    training, validation, *test = (
        VcrDataset(reading.examples, source.store, source.processor, given=source.given, max_tokens=settings.max_tokens)
        for reading in readings
    )
    dropped = [row for reading in readings for row in reading.dropped]
    return TaskData(
        training=training,
        evaluation={"validation": validation},
        dropped=dropped,
        unlabelled={"test": test[0]} if test else {},
        files=files,
    )


def refcoco_data(source: TaskSource) -> TaskData:
    """Expressions; annotated boxes are candidates in training alone."""
    settings = source.settings.refcoco
    assert settings is not None
    files = [source.annotations / settings.refs, source.annotations / settings.instances]
    reading = with_features(read_expressions(*files), source.store)

    def make(split: str, *, truth: RegionStore | None) -> RefCocoDataset:
        expressions = [one for one in reading.examples if one.split == split]
        if not expressions:
            raise ValueError(f"{files[0]} holds no expression of the split '{split}' whose image has features")
        return RefCocoDataset(expressions, source.store, source.processor, truth=truth, max_tokens=settings.max_tokens)

    return TaskData(
        training=make("train", truth=source.given),
        evaluation={split: make(split, truth=None) for split in settings.validation_splits},
        dropped=reading.dropped,
        has_unused_parameters=True,
        files=files,
    )


def retrieval_data(source: TaskSource) -> TaskData:
    """Captions, and for training each image's neighbours."""
    settings = source.settings.retrieval
    assert settings is not None
    (training, validation), dropped = retrieval_splits(source, "train", settings.validation_split)
    return TaskData(
        training=training,
        evaluation={"validation": validation},
        dropped=dropped,
        files=[source.annotations / settings.captions],
    )


def retrieval_splits(source: TaskSource, *splits: str) -> tuple[list[RetrievalDataset], list[Dropped]]:
    """The captions of some splits, and what of them cannot be used.

    Raises: ValueError if a split has none.
    """
    settings = source.settings.retrieval
    assert settings is not None
    path = source.annotations / settings.captions
    captions, dropped = read_captions(path)
    reading = with_features(Reading([one for one in captions if one.split in splits], dropped), source.store)

    def make(split: str) -> RetrievalDataset:
        of_split = [one for one in reading.examples if one.split == split]
        if not of_split:
            raise ValueError(f"{path} holds no caption of the split '{split}' whose image has features")
        return RetrievalDataset(
            of_split,
            source.store,
            source.processor,
            max_tokens=settings.max_tokens,
            seed=source.settings.seed,
            neighbours=source.cache / "nearest_images.npz" if split == "train" else None,
        )

    return [make(split) for split in splits], reading.dropped


TASKS: dict[TaskName, Callable[[TaskSource], TaskData]] = {
    TaskName.VQA: vqa_data,
    TaskName.VCR: vcr_data,
    TaskName.REFCOCO: refcoco_data,
    TaskName.RETRIEVAL: retrieval_data,
}
