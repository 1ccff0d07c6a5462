"""The table of tasks: which files make the data of each, and which splits measure it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from extract.regions.store import RegionStore
from vilbert.baselines.rows import Baselines
from vilbert.batches.padding import ANY_WIDTH, Widths, few_widths
from vilbert.batches.sampling import Draw
from vilbert.model.inputs import Batch
from vilbert.model.processing_vilbert import VilbertProcessor
from vilbert.settings import FinetuningSettings, VqaSplitSettings
from vilbert.tasks.held_out import HeldOut, MeasuredData
from vilbert.tasks.reading import Dropped, Example, Reading, apart, with_features
from vilbert.tasks.refcoco import Expression, RefCocoDataset, of_these_pixels, read_expressions, unknown
from vilbert.tasks.refcoco_baselines import RefCocoBaselines
from vilbert.tasks.retrieval import RetrievalDataset, read_captions
from vilbert.tasks.retrieval_baselines import RetrievalBaselines
from vilbert.tasks.vcr import VcrDataset, VcrQuestion, read_vcr, undecided
from vilbert.tasks.vcr_baselines import VcrBaselines
from vilbert.tasks.vqa import Question, VqaDataset, answer_list, minival, numbered, read_answer_list, read_questions
from vilbert.tasks.vqa_baselines import VqaBaselines, commonest_answer

MOST_REGIONS = 96  # of an image, with those that its annotations name, that layers are compiled for


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
    turned: frozenset[str]  # images whose boxes may be of pixels before EXIF turned them
    processor: VilbertProcessor
    settings: FinetuningSettings
    cache: Path  # folder for what is found once
    has_few_widths: bool = False  # in training, for compiled layers

    def widths(self, max_tokens: int) -> Widths:
        """Of the batches that are trained on."""
        return few_widths(max_tokens=max_tokens, max_regions=MOST_REGIONS) if self.has_few_widths else ANY_WIDTH


class TrainingData(Protocol):
    """A task's data set as training takes it."""

    @property
    def lengths(self) -> np.ndarray: ...

    def __len__(self) -> int: ...

    def __getitems__(self, draws: Sequence[Draw]) -> Batch: ...


class ExampleOfSplit(Example, Protocol):
    """Of a file that holds all splits."""

    @property
    def split(self) -> str: ...


OfSplitT = TypeVar("OfSplitT", bound=ExampleOfSplit)


class CountedBaselines(Protocol):
    """What was counted on the training split, once, for all held-out splits."""

    def of(self, held_out: Any) -> Baselines: ...


@dataclass(frozen=True)
class TaskData:
    """What a fine-tune learns from, and what it is measured on, by name."""

    training: TrainingData
    evaluation: dict[str, MeasuredData]
    count_baselines: Callable[[], CountedBaselines]
    dropped: list[Dropped]
    unlabelled: dict[str, MeasuredData] = field(default_factory=dict)  # test sets, of which predictions are written
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
    readings = [_read_vqa(split, source) for split in settings.train]
    held_out = [_read_vqa(split, source, is_held_out=True) for split in (settings.validation, settings.test) if split]
    learnt, validation = [question for reading in readings for question in reading.examples], held_out[0].examples
    if settings.minival_size:
        more, validation = minival(validation, size=settings.minival_size)
        learnt += apart(more, source.store)[0]

    def make(questions: Sequence[Question], widths: Widths = ANY_WIDTH) -> VqaDataset:
        return VqaDataset(
            questions,
            source.store,
            source.processor,
            answers=answers,
            max_tokens=settings.max_tokens,
            widths=widths,
        )

    training = make(learnt, source.widths(settings.max_tokens))
    if not any(training.scores):
        raise ValueError(
            f"no answer to {len(learnt)} questions is one of the {len(answers)} of the list, such as '{answers[0]}'; "
            "give another one as finetuning.vqa.answers, or null"
        )
    fixed = commonest_answer(training)

    def hold_out(questions: Sequence[Question]) -> HeldOut[VqaDataset]:
        seen, unseen = apart(questions, source.store)
        rows = [{"question_id": numbered(question.annotation), "answer": fixed} for question in unseen]
        return HeldOut(make(seen), num_examples=len(seen), unseen=rows)

    return TaskData(
        training=training,
        evaluation={"validation": hold_out(validation)},
        count_baselines=partial(VqaBaselines, training),
        dropped=[row for reading in readings + held_out for row in reading.dropped],
        unlabelled={"test": hold_out(held_out[1].examples)} if settings.test else {},
        answers=answers,
        files=[*annotations, *(folder / split.questions for split in splits), *given],
    )


def _read_vqa(split: VqaSplitSettings, source: TaskSource, *, is_held_out: bool = False) -> Reading[Question]:
    annotations = None if split.annotations is None else source.annotations / split.annotations
    reading = read_questions(source.annotations / split.questions, annotations, image_key=split.image_key)
    return with_features(reading, source.store, is_held_out=is_held_out)


def vcr_data(source: TaskSource) -> TaskData:
    """Answers and reasons together; objects' boxes are regions beside the detector's."""
    settings = source.settings.vcr
    assert settings is not None
    names = [settings.train, settings.validation, *([settings.test] if settings.test is not None else [])]
    files = [source.annotations / name for name in names]
    readings = [
        with_features(
            read_vcr(path, seed=source.settings.seed, has_labels=number < 2), source.store, is_held_out=number > 0
        )
        for number, path in enumerate(files)
    ]

    def make(questions: Sequence[VcrQuestion], widths: Widths = ANY_WIDTH) -> VcrDataset:
        return VcrDataset(
            questions,
            source.store,
            source.processor,
            given=source.given,
            max_tokens=settings.max_tokens,
            widths=widths,
        )

    def hold_out(questions: Sequence[VcrQuestion]) -> HeldOut[VcrDataset]:
        seen, unseen = apart(questions, source.store)
        return HeldOut(make(seen), num_examples=len(seen), unseen=[undecided(question) for question in unseen])

    training = make(readings[0].examples, source.widths(settings.max_tokens))
    validation, *test = (hold_out(reading.examples) for reading in readings[1:])
    return TaskData(
        training=training,
        evaluation={"validation": validation},
        count_baselines=partial(VcrBaselines, training),
        dropped=[row for reading in readings for row in reading.dropped],
        unlabelled={"test": test[0]} if test else {},
        files=files,
    )


def refcoco_data(source: TaskSource) -> TaskData:
    """Expressions; annotated boxes are candidates in training alone."""
    settings = source.settings.refcoco
    assert settings is not None
    files = [source.annotations / settings.refs, source.annotations / settings.instances]
    splits = ["train", *settings.validation_splits]
    reading = of_these_pixels(read_expressions(*files), source.store, turned=source.turned)
    expressions, dropped = by_split(reading, splits, source.store, path=files[0])

    def make(
        expressions: Sequence[Expression], widths: Widths = ANY_WIDTH, *, truth: RegionStore | None
    ) -> RefCocoDataset:
        return RefCocoDataset(
            expressions,
            source.store,
            source.processor,
            truth=truth,
            max_tokens=settings.max_tokens,
            widths=widths,
        )

    def hold_out(split: str) -> HeldOut[RefCocoDataset]:
        seen, unseen = apart(expressions[split], source.store)
        return HeldOut(make(seen, truth=None), num_examples=len(seen), unseen=[unknown(one) for one in unseen])

    training = make(expressions["train"], source.widths(settings.max_tokens), truth=source.given)
    return TaskData(
        training=training,
        evaluation={split: hold_out(split) for split in settings.validation_splits},
        count_baselines=partial(RefCocoBaselines, training),
        dropped=dropped,
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
        count_baselines=RetrievalBaselines,
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
    captions, dropped = by_split(read_captions(path), splits, source.store, path=path)
    datasets = [
        RetrievalDataset(
            captions[split],
            source.store,
            source.processor,
            max_tokens=settings.max_tokens,
            seed=source.settings.seed,
            neighbours=source.cache / "nearest_images.npz" if split == "train" else None,
            widths=source.widths(settings.max_tokens) if split == "train" else ANY_WIDTH,
        )
        for split in splits
    ]
    return datasets, dropped


def by_split(
    reading: Reading[OfSplitT], splits: Sequence[str], store: RegionStore, *, path: Path
) -> tuple[dict[str, list[OfSplitT]], list[Dropped]]:
    """The examples of some splits of a file that holds them all; only training loses what has no features.

    Raises: ValueError if no image of a split has features.
    """
    examples, dropped = {}, reading.dropped
    for split in splits:
        of_split = [one for one in reading.examples if one.split == split]
        if not apart(of_split, store)[0]:
            first = f"; the first that cannot be used at all: {', '.join(dropped[0])}" if dropped else ""
            raise ValueError(f"{path} holds nothing of the split '{split}' whose image has features{first}")
        examples[split], dropped = with_features(Reading(of_split, dropped), store, is_held_out=split != "train")
    return examples, dropped


TASKS: dict[TaskName, Callable[[TaskSource], TaskData]] = {
    TaskName.VQA: vqa_data,
    TaskName.VCR: vcr_data,
    TaskName.REFCOCO: refcoco_data,
    TaskName.RETRIEVAL: retrieval_data,
}
