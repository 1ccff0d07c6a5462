"""The table of tasks: which files make the data of each, and which splits measure it."""

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module

from extract.regions.store import RegionStore
from vilbert.batches.padding import ANY_WIDTH, Widths
from vilbert.conversion.convert import MODELS
from vilbert.model.modeling_vilbert import VilbertPreTrainedModel
from vilbert.settings import FinetuningSettings, VqaSplitSettings
from vilbert.tasks.reading import Dropped, Reading, apart, with_features
from vilbert.tasks.refcoco import Expression, RefCocoDataset, of_these_pixels, read_expressions, unknown
from vilbert.tasks.refcoco_baselines import RefCocoBaselines
from vilbert.tasks.retrieval import RetrievalDataset, make_dataset, read_captions
from vilbert.tasks.retrieval_baselines import RetrievalBaselines
from vilbert.tasks.task import TaskData, TaskKind, TaskSource, by_split, hold_out
from vilbert.tasks.vcr import VcrDataset, VcrQuestion, read_vcr, undecided
from vilbert.tasks.vcr_baselines import VcrBaselines
from vilbert.tasks.vqa import (
    Question,
    VqaDataset,
    answer_list,
    answered_by,
    minival,
    read_answer_list,
    read_questions,
)
from vilbert.tasks.vqa_baselines import VqaBaselines, commonest_answer


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
    measure = partial(hold_out, store=source.store, make=make, unknown=answered_by(commonest_answer(training)))
    return TaskData(
        training=training,
        evaluation={"validation": measure(validation)},
        count_baselines=partial(VqaBaselines, training),
        dropped=[row for reading in readings + held_out for row in reading.dropped],
        unlabelled={"test": measure(held_out[1].examples)} if settings.test else {},
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

    training = make(readings[0].examples, source.widths(settings.max_tokens))
    validation, *test = (
        hold_out(reading.examples, source.store, make=make, unknown=undecided) for reading in readings[1:]
    )
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
        expressions: Sequence[Expression], widths: Widths = ANY_WIDTH, *, truth: RegionStore | None = None
    ) -> RefCocoDataset:
        return RefCocoDataset(
            expressions,
            source.store,
            source.processor,
            truth=truth,
            max_tokens=settings.max_tokens,
            widths=widths,
        )

    training = make(expressions["train"], source.widths(settings.max_tokens), truth=source.given)
    return TaskData(
        training=training,
        evaluation={
            split: hold_out(expressions[split], source.store, make=make, unknown=unknown)
            for split in settings.validation_splits
        },
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
    return [make_dataset(captions[split], split, source, max_tokens=settings.max_tokens) for split in splits], dropped


TASKS: dict[str, Callable[[TaskSource], TaskData]] = {
    "vqa": vqa_data,
    "vcr": vcr_data,
    "refcoco": refcoco_data,
    "retrieval": retrieval_data,
}  # by the keys of `vilbert.conversion.convert.MODELS`
KINDS = {
    "classification": "vilbert.tasks.classification",
    "vqa": "vilbert.tasks.own_vqa",
    "retrieval": "vilbert.tasks.own_retrieval",
    "grounding": "vilbert.tasks.own_grounding",
    "snli_ve": "vilbert.tasks.snli_ve",
}  # of tasks of one's own, by name


def kind_named(name: str) -> TaskKind:
    """A kind of task by its name, or by that of a module that has one as `KIND`.

    Raises: ValueError for a module that is not there, or has none.
    """
    try:
        kind = getattr(import_module(KINDS.get(name, name)), "KIND", None)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{KINDS.get(name, name)}.".startswith(f"{error.name}."):
            raise
        kind = None
    if not isinstance(kind, TaskKind):
        raise ValueError(f"kind is '{name}', expected one of {', '.join(KINDS)}, or a module with a TaskKind as KIND")
    return kind


def data_of(task: str, source: TaskSource) -> TaskData:
    """A task's data, be it published or one's own."""
    if task in source.settings.tasks:
        section = source.settings.tasks[task]
        return kind_named(section.kind).data(source, section)
    return TASKS[task](source)


def models_of(task: str, settings: FinetuningSettings) -> tuple[type[VilbertPreTrainedModel], ...]:
    """The classes of its model, of two streams and of a single one."""
    return kind_named(settings.tasks[task].kind).models if task in settings.tasks else MODELS[task]  # type: ignore[index]
