"""Labels of your own: one of several, or any number of them, for a picture with a text or without.

Dimension key:
    B: batch   N: examples   K: labels
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from extract.captions.text import caption_words
from vilbert.baselines.class_words import class_names, fits
from vilbert.baselines.naive_bayes import NaiveBayes
from vilbert.baselines.rows import Baselines
from vilbert.batches.padding import ANY_WIDTH, Widths, pad_images, pad_texts
from vilbert.batches.sampling import Draw
from vilbert.model.inputs import Batch
from vilbert.model.modeling_single_stream import VilbertSingleStreamForClassification
from vilbert.model.modeling_tasks import LIKELY, MULTI_LABEL, SINGLE_LABEL, VilbertForClassification
from vilbert.settings import OwnTaskSettings
from vilbert.tasks.own_table import has_to_say, named_pictures, parts_of, read_own_table, splits_of
from vilbert.tasks.reading import Dropped, Reading, encode_texts
from vilbert.tasks.task import TaskData, TaskKind, TaskSource, by_split
from vilbert.training.shares import ask_in_shares

EVALUATION_BATCH = 256


@dataclass(frozen=True)
class Labelled:
    """A picture and perhaps a text, with what is right of them; () in a test set, or where no label is."""

    annotation: str
    image_key: str
    split: str
    text: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Labels:
    """The labels that a head tells apart."""

    names: list[str]
    may_be_several: bool

    def truth(self, examples: Sequence[Labelled]) -> np.ndarray:
        """Which labels are right, bool [N, K]; one that no training row has is nowhere in it."""
        return np.array([[name in example.labels for name in self.names] for example in examples], bool)

    def given(self, probabilities: np.ndarray) -> np.ndarray:
        """The labels that a model gives, bool [N, K]: the likeliest one, or all that are likely."""
        if self.may_be_several:
            return probabilities >= LIKELY
        return np.arange(len(self.names)) == probabilities.argmax(axis=1)[:, None]


def read_labelled(source: TaskSource, settings: OwnTaskSettings) -> Reading[Labelled]:
    """The rows of a csv with the columns file, label and, if there are texts, text.

    A row without a label is dropped, but in a test set of which no row has any; with a `separator` it is one of which
    no label is right.
    """
    reading = read_own_table(source, settings, ["label"], optional=["text"])
    labelled, kept, dropped = has_to_say(reading.examples, "label"), [], list(reading.dropped)
    for row in reading.examples:
        labels = tuple(dict.fromkeys(parts_of(row.values["label"], settings.separator)))
        if not labels and settings.separator is None and row.split in labelled:
            dropped.append(Dropped(row.annotation, "no_label", repr(row.values["label"])))
        else:
            kept.append(Labelled(row.annotation, row.image_key, row.split, row.values.get("text", ""), labels))
    return Reading(kept, dropped)


def classification_data(
    source: TaskSource, settings: OwnTaskSettings, reading: Reading[Labelled], *, files: Sequence[Path]
) -> TaskData:
    """What is learnt and measured, whatever format the rows came in. Test rows with a label are measured too.

    Raises: ValueError for labels of one kind only.
    """
    splits = splits_of(reading.examples)
    examples, dropped = by_split(reading, splits, source.store, path=files[0])
    labels = Labels(
        names=sorted({label for example in examples["train"] for label in example.labels}),
        may_be_several=settings.separator is not None,
    )
    if len(labels.names) < (1 if labels.may_be_several else 2):
        raise ValueError(
            f"{files[0]} has {len(labels.names)} labels to learn, {', '.join(labels.names) or 'none'}, expected two"
        )
    for example in (one for split in splits[1:] for one in examples[split]):
        dropped += [
            Dropped(example.annotation, "unknown_label", f"{label}, of no training row: counts as wrong")
            for label in example.labels
            if label not in labels.names
        ]

    def make(split: str, widths: Widths = ANY_WIDTH) -> "ClassificationDataset":
        return ClassificationDataset(
            examples[split], source, labels=labels, max_tokens=settings.max_tokens, widths=widths
        )

    training = make("train", source.widths(settings.max_tokens))
    has_test_labels = any(example.labels for example in examples.get("test", []))
    measured = ["val", *(["test"] if has_test_labels else [])]
    return TaskData(
        training=training,
        evaluation={split: make(split) for split in measured},
        count_baselines=partial(ClassificationBaselines, training),
        dropped=dropped,
        unlabelled={} if has_test_labels or "test" not in splits else {"test": make("test")},
        answers=labels.names,
        config={
            "problem_type": MULTI_LABEL if labels.may_be_several else SINGLE_LABEL,
            "class_weights": None if settings.class_weights is None else balanced_weights(training),
        },
        files=list(files),
    )


def balanced_weights(training: "ClassificationDataset") -> list[float]:
    """N / (K times the examples of a label), [K]: 1 on average over the examples.

    Source: scikit-learn's `class_weight="balanced"`, after King and Zeng 2001.
    """
    counts = training.truth.sum(axis=0)
    return (len(training) / (len(counts) * counts)).tolist()


class ClassificationDataset(Dataset):
    """Examples as batches with `labels`: int64 [B], or float32 [B, K] where there may be several.

    Of a held-out example without features no label is given, and that is wrong.
    """

    def __init__(
        self,
        examples: Sequence[Labelled],
        source: TaskSource,
        *,
        labels: Labels,
        max_tokens: int,
        widths: Widths = ANY_WIDTH,
    ):
        self.examples, self.store, self.labels = examples, source.store, labels
        self.processor, self.widths = source.processor, widths
        self.texts = encode_texts(self.processor.tokenizer, [one.text for one in examples], max_tokens=max_tokens)
        self.truth = labels.truth(examples)
        self.is_seen = np.array([example.image_key in self.store for example in examples], bool)
        known = set(labels.names)
        self.can_be_right = self.is_seen & np.array([known.issuperset(example.labels) for example in examples], bool)

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each text, [N]."""
        return np.array([len(text.ids) for text in self.texts])

    def __getitems__(self, draws: Sequence[Draw]) -> Batch:
        """What VilbertForClassification.forward takes."""
        examples = [draw.example for draw in draws]
        truth = torch.from_numpy(self.truth[examples])
        labels = truth.float() if self.labels.may_be_several else truth.int().argmax(-1)
        return self.inputs(examples) | {"labels": labels}

    def inputs(self, examples: Sequence[int]) -> Batch:
        """The same without labels."""
        texts = [self.texts[example] for example in examples]
        images = [self.store[self.examples[example].image_key] for example in examples]
        batch = pad_texts(texts, pad_token_id=self.processor.tokenizer.pad_token_id, widths=self.widths)
        return batch | pad_images(images, has_whole_image=self.processor.has_whole_image, widths=self.widths)

    def predict(self, model: nn.Module) -> list[list[float]]:
        """The probability of each label, [N][K]; 0 of all where there are no features."""
        device = next(model.parameters()).device

        def probabilities(examples: list[int]) -> list[list[float]]:
            batch = {name: value.to(device) for name, value in self.inputs(examples).items()}
            logits = model(**batch).logits.float()
            return (logits.sigmoid() if self.labels.may_be_several else logits.softmax(-1)).tolist()

        order = [int(row) for row in np.argsort(self.lengths, kind="stable") if self.is_seen[row]]
        found = ask_in_shares(order, probabilities, batch_size=EVALUATION_BATCH)
        return [found.get(row, [0.0] * len(self.labels.names)) for row in range(len(self))]

    def write(self, predictions: list[list[float]], folder: Path, name: str) -> None:
        """{name}.json: of each example the labels that are given, and the probability of every one."""
        given = self.labels.given(np.array(predictions)) & self.is_seen[:, None]
        rows = [
            {
                "annotation": example.annotation,
                "labels": [label for label, is_given in zip(self.labels.names, row, strict=True) if is_given],
                "probabilities": dict(zip(self.labels.names, probabilities, strict=True)),
            }
            for example, row, probabilities in zip(self.examples, given, predictions, strict=True)
        ]
        (folder / f"{name}.json").write_text(json.dumps(rows))

    def measure(self, predictions: Sequence[Sequence[float]]) -> dict[str, float]:
        """Means of what is right; over labels, each counts as much as any other.

        `accuracy`: share of the examples all of whose labels are given, and no other. `macro_f1`: over the labels that
        are right or given anywhere; 0 for one that no training row has. `auroc` and `average_precision`: over those
        that are right of some examples and wrong of others, and not there if none is; an example without features
        stands behind all others for what is right of it, and before them for the rest.
        """
        from sklearn.metrics import average_precision_score, f1_score, roc_auc_score  # takes a second

        scores = np.array(predictions, float)
        given = self.labels.given(scores) & self.is_seen[:, None]
        is_right = (given == self.truth).all(axis=1) & self.can_be_right
        named = np.flatnonzero((self.truth | given).any(axis=0))
        unknown = {label for example in self.examples for label in example.labels}.difference(self.labels.names)
        ranked = np.where(self.is_seen[:, None], scores, np.where(self.truth, -1.0, 2.0))
        told = np.flatnonzero(self.truth.any(axis=0) & ~self.truth.all(axis=0))
        measures = {"accuracy": float(is_right.mean())}
        if len(named):
            of_named = f1_score(self.truth[:, named], given[:, named], average=None)
            measures["macro_f1"] = float(of_named.sum() / (len(named) + len(unknown)))
        if len(told):
            for name, score in (("auroc", roc_auc_score), ("average_precision", average_precision_score)):
                measures[name] = float(np.mean([score(self.truth[:, label], ranked[:, label]) for label in told]))
        return measures


class ClassificationBaselines:
    """Counts of the training examples: which labels they have, and with which words."""

    def __init__(self, training: ClassificationDataset):
        self.labels, self.shares = training.labels, training.truth.mean(axis=0)
        self.have_texts = any(example.text for example in training.examples)
        self.by_words = [NaiveBayes(2) for _ in self.labels.names]  # without the label, with it
        for example, truth in zip(training.examples, training.truth, strict=True):
            words = caption_words(example.text)
            for counts, is_right in zip(self.by_words, truth, strict=True):
                counts.add(words, {int(is_right): 1})

    def of(self, held_out: ClassificationDataset) -> Baselines:
        """Of a split whose labels are known."""
        num_labels = len(self.labels.names)
        even = {"accuracy": 2.0**-num_labels if self.labels.may_be_several else 1 / num_labels}
        even["accuracy"] *= float(held_out.can_be_right.mean())
        no_text = held_out.measure(np.tile(self.shares, (len(held_out), 1)).tolist())
        in_no_order = {name: no_text[name] for name in ("auroc", "average_precision") if name in no_text}
        return Baselines(
            chance=even | in_no_order,
            blind=held_out.measure(self.blind(held_out).tolist()) if self.have_texts else {},
            no_text=no_text,
            rule={} if (seen := seen_labels(held_out)) is None else held_out.measure(seen.tolist()),
            ceiling=held_out.measure(held_out.truth.astype(float).tolist()),
            num_examples=len(held_out),
            num_dropped=int((~held_out.is_seen).sum()),
        )

    def blind(self, held_out: ClassificationDataset) -> np.ndarray:
        """The probability of each label by the text's words, [N, K]."""
        log_odds = np.empty((len(held_out), len(self.by_words)))
        for row, example in enumerate(held_out.examples):
            words = caption_words(example.text)
            log_odds[row] = [np.subtract(*counts.scores(words)[::-1]) for counts in self.by_words]
        return 1 / (1 + np.exp(-np.clip(log_odds, -50, 50)))


def seen_labels(held_out: ClassificationDataset) -> np.ndarray | None:
    """How likely what a label names is seen, [N, K]; 0 for a label that names none of the detector's classes.

    None: no label does.
    """
    names = class_names(held_out.store.classes, held_out.labels.names)
    mentions = [names.mentions(name) for name in held_out.labels.names]
    if not any(mentions):
        return None
    scores = np.zeros(held_out.truth.shape)
    if held_out.is_seen.any():
        seen = (
            held_out.store[one.image_key].class_probs for one in held_out.examples if one.image_key in held_out.store
        )
        scores[held_out.is_seen] = np.exp(fits(mentions, seen)).T
    return scores


def _data(source: TaskSource, settings: OwnTaskSettings) -> TaskData:
    reading = read_labelled(source, settings)
    return classification_data(source, settings, reading, files=[source.annotations / settings.table])


KIND = TaskKind(
    models=(VilbertForClassification, VilbertSingleStreamForClassification), pictures=named_pictures, data=_data
)
