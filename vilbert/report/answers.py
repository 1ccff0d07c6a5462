"""What a fine-tuned model answered to held-out examples, beside what was expected, whatever the task is."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from transformers import PreTrainedModel

from vilbert.tasks.classification import ClassificationDataset
from vilbert.tasks.metrics import right_pairs, vqa_accuracy
from vilbert.tasks.refcoco import HIT, RefCocoDataset
from vilbert.tasks.retrieval import RetrievalDataset
from vilbert.tasks.vcr import VcrDataset, VcrQuestion, of_choices
from vilbert.tasks.vqa import VqaDataset

NUM_LIKELY = 3  # answers that are told with their scores
NUM_RETRIEVED = 5
ENOUGH = 50  # percent by the official measure: of ten people, two gave this answer
IDS = ("annotation", "question_id", "annot_id")  # columns that name an example

Rows = dict[str, dict[str, Any]]  # of predictions, by annotation
Box = tuple[float, float, float, float]  # x1 y1 x2 y2, pixels


@dataclass(frozen=True)
class Answer:
    """What was asked of a picture, or of all, and what came."""

    kind: Literal["question", "choice", "pointing", "retrieval"]
    example: int  # its place in the data set
    image_keys: tuple[str, ...]  # of its picture; of a retrieval, those that were found, the best first
    text: str
    answer: str
    expected: str
    is_right: bool
    score: float | None = None  # the model's own, where the predictions have one
    alternatives: tuple[tuple[str, float], ...] = ()
    boxes: tuple[Box, Box] | None = None  # pointed at, and meant
    named: tuple[tuple[str, Box], ...] = ()  # objects that the question speaks of
    own: frozenset[str] = frozenset()  # images that a caption is of


def read_predictions(folder: Path, split: str) -> Rows:
    """Those of one split, as a fine-tune has written them."""
    path = folder / f"{split}.csv"
    if path.exists():
        rows = pd.read_csv(path, dtype={"annot_id": str}).to_dict("records")
    else:
        rows = json.loads((folder / f"{split}.json").read_text())
    return {str(row[next(name for name in IDS if name in row)]): row for row in rows}


def answers_of(dataset: Any, rows: Rows) -> list[Answer]:
    """One for each example of a held-out split that has features and a prediction; [] for a data set of another kind,
    which a module of a user's may have."""
    of = next((of for kind, of in KINDS.items() if isinstance(dataset, kind)), None)
    return [] if of is None else of(dataset, rows)


def of_questions(dataset: VqaDataset, rows: Rows) -> list[Answer]:
    """Right where at least half of the official accuracy is reached."""
    return [
        Answer(
            kind="question",
            example=place,
            image_keys=(one.image_key,),
            text=one.text,
            answer=rows[one.annotation]["answer"],
            expected=by_count(one.answers),
            is_right=vqa_accuracy(rows[one.annotation]["answer"], one.answers) >= ENOUGH,
        )
        for place, one in enumerate(dataset.questions)
        if one.annotation in rows
    ]


def by_count(answers: Sequence[str]) -> str:
    """What people answered, the commonest first: '3', or '3 (8), 4 (2)'."""
    counts = Counter(answers).most_common()
    return counts[0][0] if len(counts) == 1 else ", ".join(f"{answer} ({count})" for answer, count in counts)


def of_multiple_choice(dataset: VcrDataset, rows: Rows) -> list[Answer]:
    """The answers alone, without their reasons."""
    told = []
    for place, one in enumerate(dataset.questions):
        if one.annotation in rows and one.answer_label is not None:
            probabilities = [float(rows[one.annotation][column]) for column in of_choices("answer")]
            chosen = int(np.argmax(probabilities))
            told.append(
                Answer(
                    kind="choice",
                    example=place,
                    image_keys=(one.image_key,),
                    text=one.question,
                    answer=one.answers[chosen],
                    expected=one.answers[one.answer_label],
                    is_right=chosen == one.answer_label,
                    score=probabilities[chosen],
                    alternatives=tuple(zip(one.answers, probabilities, strict=True)),
                    named=spoken_of(dataset, one),
                )
            )
    return told


def spoken_of(dataset: VcrDataset, question: VcrQuestion) -> tuple[tuple[str, Box], ...]:
    """The objects that a question or its answers name, where their boxes are given: who Casey is, nobody else tells."""
    if dataset.given is None or question.image_key not in dataset.given:
        return ()
    text = " ".join(["", question.question, *question.answers, ""])
    boxes = dataset.given[question.image_key].boxes.tolist()
    return tuple((name, tuple(box)) for name, box in zip(question.names, boxes, strict=False) if f" {name} " in text)


def of_labels(dataset: ClassificationDataset, rows: Rows) -> list[Answer]:
    """Right where all labels are given, and no other; the likeliest labels are the alternatives."""
    told = []
    for place, one in enumerate(dataset.examples):
        if one.annotation in rows and dataset.is_seen[place]:
            row = rows[one.annotation]
            likeliest = sorted(row["probabilities"].items(), key=lambda pair: -pair[1])
            told.append(
                Answer(
                    kind="choice",
                    example=place,
                    image_keys=(one.image_key,),
                    text=one.text,
                    answer=", ".join(row["labels"]),
                    expected=", ".join(one.labels),
                    is_right=set(row["labels"]) == set(one.labels),
                    score=likeliest[0][1],
                    alternatives=tuple(likeliest[:NUM_LIKELY]),
                )
            )
    return told


def of_expressions(dataset: RefCocoDataset, rows: Rows) -> list[Answer]:
    """The boxes are told by the colours that they are drawn in."""
    return [
        Answer(
            kind="pointing",
            example=place,
            image_keys=(one.image_key,),
            text=one.text,
            answer=f"the red box, which overlaps with the blue one by {rows[one.annotation]['overlap']:.2f}",
            expected="the blue box",
            is_right=rows[one.annotation]["overlap"] > HIT,
            boxes=(tuple(rows[one.annotation]["box"]), one.box),
        )
        for place, one in enumerate(dataset.expressions)
        if one.annotation in rows
    ]


def of_captions(dataset: RetrievalDataset, rows: Rows) -> list[Answer]:
    """Right where an image that the caption, or an equal one, is of comes first."""
    own = right_pairs(dataset.image_of, [one.text for one in dataset.captions], num_images=len(dataset.keys))
    told = []
    for place, one in enumerate(dataset.captions):
        if one.annotation in rows and one.image_key in dataset.store:
            found = [key for key in rows[one.annotation]["images"] if key in dataset.store]
            own_keys = frozenset(dataset.keys[column] for column in np.flatnonzero(own[place]))
            rank = next((rank for rank, key in enumerate(found, start=1) if key in own_keys), None)
            told.append(
                Answer(
                    kind="retrieval",
                    example=place,
                    image_keys=tuple(found[:NUM_RETRIEVED]),
                    text=one.text,
                    answer=f"none of the best {len(found)}" if rank is None else f"number {rank} of what it found",
                    expected="its own image, in a blue frame, as number 1",
                    is_right=rank == 1,
                    own=own_keys,
                )
            )
    return told


KINDS: dict[type, Callable[[Any, Rows], list[Answer]]] = {
    VqaDataset: of_questions,
    VcrDataset: of_multiple_choice,
    ClassificationDataset: of_labels,
    RefCocoDataset: of_expressions,
    RetrievalDataset: of_captions,
}


@torch.inference_mode()
def with_likeliest(answers: Sequence[Answer], dataset: VqaDataset, model: PreTrainedModel) -> list[Answer]:
    """The same with the likeliest answers to each question, which the predictions do not have, and their scores."""
    if not answers:
        return []
    batch = dataset.batch([one.example for one in answers])
    del batch["labels"]
    best = model(**batch).logits.float().sigmoid().topk(min(NUM_LIKELY, len(dataset.answers)), dim=-1)
    told = []
    for one, scores, places in zip(answers, best.values.tolist(), best.indices.tolist(), strict=True):
        likeliest = {dataset.answers[place]: score for place, score in zip(places, scores, strict=True)}
        told.append(replace(one, score=likeliest.get(one.answer), alternatives=tuple(likeliest.items())))
    return told
