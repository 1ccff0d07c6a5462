"""VCR: four answers to a question, and four reasons for the right answer, about objects of the image.

Dimension key:
    B: batch   M: choices   T: tokens   R: regions (the first is the whole image)
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as shown
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from extract.regions.store import Regions, RegionStore
from vilbert.batches.padding import ANY_WIDTH, Tokens, Widths, pad_images, pad_texts, together
from vilbert.batches.sampling import Draw
from vilbert.model.inputs import Batch
from vilbert.model.processing_vilbert import VilbertProcessor
from vilbert.tasks.reading import Dropped, Reading, encode_texts, read_lines, text_in, text_of, whole_number
from vilbert.training.shares import ask_in_shares

Words = list[str | list[int]]  # a list is objects of the image, by their number
Step = Literal["answer", "rationale"]

NUM_CHOICES = 4
FIELDS = {"annot_id", "img_fn", "objects", "question", "answer_choices", "rationale_choices"}
LABELS = ("answer_label", "rationale_label")
EVALUATION_BATCH = 32  # questions
# For persons, as the data set's authors do: names that say nothing of sex.
NAMES = (
    "Avery",
    "Casey",
    "Charlie",
    "Emerson",
    "Finley",
    "Jackie",
    "Jaime",
    "Jessie",
    "Jody",
    "Kendall",
    "Kerry",
    "Marion",
    "Morgan",
    "Pat",
    "Peyton",
    "Quinn",
    "Riley",
    "Robbie",
    "Skyler",
    "Taylor",
)


@dataclass(frozen=True)
class VcrQuestion:
    """A question with its choices in words, objects named; the labels are None in the test set."""

    annotation: str  # annot_id
    image_key: str  # stem of the image's file name
    question: str
    answers: tuple[str, ...]  # 4
    rationales: tuple[str, ...]  # 4
    answer_label: int | None
    rationale_label: int | None
    names: tuple[str, ...] = ()  # of the image's objects, in the order of their boxes


def read_vcr(path: Path, *, seed: int, has_labels: bool = True) -> Reading[VcrQuestion]:
    """One split's jsonl. Persons get names by `seed` and their image, the same in every text and every run.

    Args:
        has_labels: False for the test set.
    Raises: FileNotFoundError; ValueError for a file of another format.
    """
    kept, dropped = [], []
    for number, line in enumerate(read_lines(path), start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            dropped.append(Dropped(f"line {number}", "no_json", str(error)))
            continue
        if not isinstance(row, dict) or not row.keys() >= FIELDS:
            raise ValueError(f"{path}, line {number}, holds no question with choices and objects, expected VCR's jsonl")
        annotation = f"line {number}"
        try:
            annotation = text_in(row, "annot_id")
            question = _question(row, annotation, seed=seed, has_labels=has_labels)
        except ValueError as error:
            dropped.append(Dropped(annotation, "bad_text", str(error)))
            continue
        if has_labels and None in (question.answer_label, question.rationale_label):
            name = LABELS[question.answer_label is not None]
            detail = f"{name} is {shown(row.get(name))}, expected 0 to {NUM_CHOICES - 1}"
            dropped.append(Dropped(annotation, "bad_label", detail))
        else:
            kept.append(question)
    return Reading(kept, dropped)


def _question(row: dict, annotation: str, *, seed: int, has_labels: bool) -> VcrQuestion:
    for field in ("objects", "answer_choices", "rationale_choices"):
        if not isinstance(row[field], list):
            raise ValueError(f"{field} is {shown(row[field])}, expected a list")
    image_key = Path(text_in(row, "img_fn")).stem
    objects = [text_of(kind, name="an object") for kind in row["objects"]]
    names = object_names(objects, seed=seed, image_key=image_key)
    choices = {}
    for field in ("answer_choices", "rationale_choices"):
        choices[field] = tuple(in_words(words, names) for words in row[field])
        if len(choices[field]) != NUM_CHOICES:
            raise ValueError(f"{field} are {len(choices[field])}, expected {NUM_CHOICES}")
    return VcrQuestion(
        annotation=annotation,
        image_key=image_key,
        question=in_words(row["question"], names),
        answers=choices["answer_choices"],
        rationales=choices["rationale_choices"],
        answer_label=choice_of(row.get("answer_label")) if has_labels else None,
        rationale_label=choice_of(row.get("rationale_label")) if has_labels else None,
        names=tuple(names),
    )


def choice_of(label: Any) -> int | None:
    """The number of a choice, such as 2 or 2.0; None: it is none."""
    number = whole_number(label)
    return number if number in range(NUM_CHOICES) else None


def object_names(objects: Sequence[str], *, seed: int, image_key: str) -> list[str]:
    """What each object is called: a person by a name of its own, while there are names, anything else by its class."""
    names = random.Random(f"{seed}/{image_key}").sample(NAMES, len(NAMES))
    return [names.pop() if kind == "person" and names else kind for kind in objects]


def in_words(words: Words, names: Sequence[str]) -> str:
    """Text with names for objects; empty tokens are left out.

    Raises: ValueError for a number that is no object, something else than words, or a text without one.
    """
    if not isinstance(words, list):
        raise ValueError(f"a text is {shown(words)}, expected a list of words")
    parts = []
    for word in words:
        if isinstance(word, str):
            parts.append(text_of(word, name="a word"))
            continue
        numbers = [whole_number(index) for index in word] if isinstance(word, list) else [None]
        if any(number not in range(len(names)) for number in numbers):
            raise ValueError(f"objects {shown(word)} are named, the image has {len(names)}")
        parts.append(" and ".join(names[number] for number in numbers if number is not None))
    text = " ".join(part for part in parts if part.strip())
    if not text:
        raise ValueError("a text has no word")
    return text


class VcrDataset(Dataset):
    """Questions as batches of four texts each with `labels`, the right one; first the answers, then the reasons.

    Example i below the number of questions asks for the answer of question i; the others for the reason, with the right
    answer as part of the question.

    Args:
        given: features of the annotated boxes, in the order of the objects; None: the detector's alone.
    """

    def __init__(
        self,
        questions: Sequence[VcrQuestion],
        store: RegionStore,
        processor: VilbertProcessor,
        *,
        given: RegionStore | None,
        max_tokens: int,
        widths: Widths = ANY_WIDTH,
    ):
        self.questions, self.store, self.given, self.processor = questions, store, given, processor
        self.max_tokens, self.widths = max_tokens, widths
        self.answers = self._encode([(one.question, one.answers) for one in questions])
        labelled = [one for one in questions if one.answer_label is not None]
        assert len(labelled) in (0, len(questions))
        rationales = self._for_reasons(labelled, [one.answer_label for one in labelled])
        self.choices = self.answers + rationales

    def __len__(self) -> int:
        return len(self.choices)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of the longest choice of each example, [N]."""
        return np.array([max(len(text.ids) for text in choices) for choices in self.choices])

    def __getitems__(self, draws: Sequence[Draw]) -> Batch:
        examples = [draw.example for draw in draws]
        choices = [self.choices[example] for example in examples]
        questions = [self.questions[example % len(self.questions)] for example in examples]
        labels = [
            one.answer_label if example < len(self.questions) else one.rationale_label
            for example, one in zip(examples, questions, strict=True)
        ]
        return self.batch(choices, questions) | {"labels": torch.tensor(labels)}

    def batch(self, choices: Sequence[Sequence[Tokens]], questions: Sequence[VcrQuestion]) -> Batch:
        """What VilbertForMultipleChoice.forward takes: texts [B, M, T], images [B, R, ...]."""
        texts = pad_texts(
            [text for four in choices for text in four],
            pad_token_id=self.processor.tokenizer.pad_token_id,
            widths=self.widths,
        )
        texts = {name: value.unflatten(0, (len(choices), -1)) for name, value in texts.items()}
        images = [self.regions_of(question) for question in questions]
        return texts | pad_images(images, has_whole_image=self.processor.has_whole_image, widths=self.widths)

    def regions_of(self, question: VcrQuestion) -> Regions:
        """The detected regions of a question's image, and its objects where they are given."""
        found = self.store[question.image_key]
        if self.given is None or question.image_key not in self.given:
            return found
        return together(found, self.given[question.image_key])

    def _for_reasons(self, questions: Sequence[VcrQuestion], answers: Sequence[int | None]) -> list[list[Tokens]]:
        """The reasons for an answer to each question."""
        separator = self.processor.tokenizer.sep_token
        asked = [
            (asked_for_reason(one, answer, separator=separator), one.rationales)
            for one, answer in zip(questions, answers, strict=True)
        ]
        return self._encode(asked)

    def _encode(self, asked: Sequence[tuple[str, Sequence[str]]]) -> list[list[Tokens]]:
        """Of each question and its four choices, the pairs as ids."""
        if not asked:
            return []
        texts = encode_texts(
            self.processor.tokenizer,
            [question for question, choices in asked for _ in choices],
            [choice for _, choices in asked for choice in choices],
            max_tokens=self.max_tokens,
        )
        return [texts[start : start + NUM_CHOICES] for start in range(0, len(texts), NUM_CHOICES)]

    def probabilities(self, model: nn.Module, choices: Sequence[Sequence[Tokens]]) -> Tensor:
        """Of each question, how likely each of its four choices is: [questions, 4]."""
        device = next(model.parameters()).device
        lengths = np.array([max(len(text.ids) for text in four) for four in choices])

        def of_each(examples: list[int]) -> list[list[float]]:
            batch = self.batch([choices[one] for one in examples], [self.questions[one] for one in examples])
            logits = model(**{name: value.to(device) for name, value in batch.items()}).logits
            return logits.float().softmax(-1).tolist()

        order = np.argsort(lengths, kind="stable").tolist()
        found = ask_in_shares(order, of_each, batch_size=EVALUATION_BATCH)
        return torch.tensor([found[example] for example in range(len(choices))])

    def predict(self, model: nn.Module) -> pd.DataFrame:
        """The leaderboard's table: the answers' probabilities, then those of the reasons for each answer in turn."""
        parts = [("answer", self.probabilities(model, self.answers))]
        for answer in range(NUM_CHOICES):
            reasons = self._for_reasons(self.questions, [answer] * len(self.questions))
            parts.append((f"rationale_conditioned_on_a{answer}", self.probabilities(model, reasons)))
        table = pd.DataFrame({"annot_id": [one.annotation for one in self.questions]})
        for name, values in parts:
            table[of_choices(name)] = values.numpy()
        return table

    def write(self, table: pd.DataFrame, folder: Path, name: str) -> None:
        """{name}.csv, as the leaderboard takes it."""
        table.to_csv(folder / f"{name}.csv", index=False)

    def measure(self, table: pd.DataFrame) -> dict[str, float]:
        """Accuracies: `answer` (Q -> A), `rationale` (QA -> R, given the right answer), `both` (Q -> AR)."""
        labels = np.array([one.answer_label for one in self.questions])
        reasons = np.stack([table[of_choices(f"rationale_conditioned_on_a{answer}")] for answer in range(NUM_CHOICES)])
        is_answer = table[of_choices("answer")].to_numpy().argmax(axis=1) == labels
        chosen = reasons[labels, np.arange(len(labels))].argmax(axis=1)
        is_rationale = chosen == [one.rationale_label for one in self.questions]
        right = {"answer": is_answer, "rationale": is_rationale, "both": is_answer & is_rationale}
        return {name: float(values.mean()) for name, values in right.items()}


def undecided(question: VcrQuestion) -> dict:
    """A row of the leaderboard's table that says nothing: all choices alike."""
    parts = ["answer", *(f"rationale_conditioned_on_a{answer}" for answer in range(NUM_CHOICES))]
    columns = [column for part in parts for column in of_choices(part)]
    return {"annot_id": question.annotation} | dict.fromkeys(columns, 1 / NUM_CHOICES)


def of_choices(name: str) -> list[str]:
    """Columns of the leaderboard's table."""
    return [f"{name}_{choice}" for choice in range(NUM_CHOICES)]


def asked_for_reason(question: VcrQuestion, answer: int | None, *, separator: str) -> str:
    """The question as QA -> R asks it, with a separator as between any two texts.

    Source: vilbert_beta.
    """
    assert answer is not None
    return f"{question.question} {separator} {question.answers[answer]}"
