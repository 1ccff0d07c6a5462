"""What a task is to its fine-tune: where its data come from, and what it gives to learn from and to be measured on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from extract.regions.store import RegionStore
from vilbert.baselines.rows import Baselines
from vilbert.batches.padding import ANY_WIDTH, Widths, few_widths
from vilbert.batches.sampling import Draw
from vilbert.model.inputs import Batch
from vilbert.model.modeling_vilbert import VilbertPreTrainedModel
from vilbert.model.processing_vilbert import VilbertProcessor
from vilbert.settings import FinetuningSettings, OwnTaskSettings
from vilbert.tasks.held_out import DataT, HeldOut, MeasuredData
from vilbert.tasks.pictures import Picture, Pictures
from vilbert.tasks.reading import Dropped, Example, ExampleT, Reading, apart, with_features

MOST_REGIONS = 96  # of an image, with those that its annotations name, that layers are compiled for


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
    pictures: Pictures | None = None  # that a task of one's own names

    def widths(self, max_tokens: int) -> Widths:
        """Of the batches that are trained on."""
        return few_widths(max_tokens=max_tokens, max_regions=MOST_REGIONS) if self.has_few_widths else ANY_WIDTH

    def picture(self, file: str) -> Picture:
        """What a task's own table names."""
        assert self.pictures is not None
        return self.pictures[file]


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
    answers: list[str] | None = None  # that the head tells apart, in its order
    config: dict[str, Any] = field(default_factory=dict)  # what the model is told beside them
    has_unused_parameters: bool = False  # the head reads one stream alone
    files: list[Path] = field(default_factory=list)  # of annotations


class TaskKind(NamedTuple):
    """A kind of task, which the file that defines it has as `KIND`."""

    models: tuple[type[VilbertPreTrainedModel], type[VilbertPreTrainedModel]]  # two streams, and a single one
    pictures: Callable[[Path], list[str]]  # that a table names
    data: Callable[[TaskSource, OwnTaskSettings], TaskData]


def hold_out(
    examples: Sequence[ExampleT],
    store: RegionStore,
    *,
    make: Callable[[list[ExampleT]], DataT],
    unknown: Callable[[ExampleT], dict],
) -> HeldOut[DataT]:
    """What is measured: the data set of the examples with features, and what is said of the others."""
    seen, unseen = apart(examples, store)
    return HeldOut(make(seen), num_examples=len(seen), unseen=[unknown(example) for example in unseen])


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
