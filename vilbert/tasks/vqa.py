"""VQA v2: a question about an image, answered by one of a list of answers.

Dimension key:
    B: batch   A: answers
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as shown
from statistics import mean

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from extract.regions.store import RegionStore
from vilbert.batches.padding import ANY_WIDTH, Widths, pad_images, pad_texts
from vilbert.batches.sampling import Draw
from vilbert.model.inputs import Batch
from vilbert.model.processing_vilbert import VilbertProcessor
from vilbert.tasks.metrics import NUM_PEOPLE, named_answer, normalised_answer, vqa_accuracy
from vilbert.tasks.reading import Dropped, Reading, demand_fields, encode_texts, read_json, text_in, text_of
from vilbert.training.shares import ask_in_shares

MIN_COUNT = 9  # times that an answer has to be the most frequent one of a question
SCORE_A_PERSON = 0.3
EVALUATION_BATCH = 256
NUMBER = re.compile("0|[1-9][0-9]{0,17}")  # a text that says nothing else than its number


@dataclass(frozen=True)
class Question:
    """A question, and what ten people answered; () in a test set."""

    annotation: str  # question_id
    image_key: str
    text: str
    answers: tuple[str, ...]
    split: str = ""  # where one file holds them all


def read_questions(questions: Path, annotations: Path | None, *, image_key: str) -> Reading[Question]:
    """One split as it is published.

    Args:
        annotations: None for a test set.
        image_key: how images are called, such as 'COCO_val2014_{image_id:012d}'.
    Raises: FileNotFoundError; ValueError for a file that is cut off or of another format.
    """
    kept: list[Question] = []
    answers, dropped = ({}, []) if annotations is None else read_answers(annotations)
    asked: set[str] = set()
    for number, row in enumerate(rows_of(questions, "questions", fields=("question_id", "image_id", "question"))):
        annotation = f"row {number}"
        try:
            annotation = text_in(row, "question_id")
            asked.add(annotation)
            text, key = text_in(row, "question"), image_key_of(row, image_key)
        except ValueError as error:
            dropped.append(Dropped(annotation, "bad_value", str(error)))
            continue
        if not text:
            dropped.append(Dropped(annotation, "empty_question", repr(row["question"])))
        elif annotations is not None and annotation not in answers:
            dropped.append(Dropped(annotation, "no_annotation", annotations.name))
        elif annotations is not None and not answers[annotation]:
            dropped.append(Dropped(annotation, "no_answer", annotations.name))
        else:
            kept.append(Question(annotation, key, text, answers.get(annotation, ())))
    dropped += [Dropped(annotation, "no_question", questions.name) for annotation in answers if annotation not in asked]
    return Reading(kept, dropped)


def read_answers(annotations: Path) -> tuple[dict[str, tuple[str, ...]], list[Dropped]]:
    """What people answered, by question_id; of a question that stands twice, the first."""
    answers: dict[str, tuple[str, ...]] = {}
    dropped = []
    for number, row in enumerate(rows_of(annotations, "annotations", fields=("question_id", "answers"))):
        annotation = f"row {number}"
        try:
            annotation = text_in(row, "question_id")
            given = [text_in(one, "answer") for one in demand_fields(row["answers"], ("answer",), source="answers")]
        except ValueError as error:
            dropped.append(Dropped(annotation, "bad_value", f"{annotations.name}: {error}"))
            continue
        if annotation in answers:
            dropped.append(Dropped(annotation, "duplicate_annotation", annotations.name))
        else:
            answers[annotation] = tuple(given)
    return answers, dropped


def image_key_of(row: dict, image_key: str) -> str:
    """How an image is called; its number may stand as a text.

    Raises: ValueError for an `image_id` that the pattern cannot take.
    """
    text = text_in(row, "image_id")
    if "{image_id}" in image_key:
        return image_key.format(image_id=text)
    if not text.isdecimal():
        raise ValueError(f"image_id is {shown(text)}, expected a number for '{image_key}'")
    return image_key.format(image_id=int(text))


def rows_of(path: Path, name: str, *, fields: Sequence[str]) -> list[dict]:
    """Raises: ValueError for a file of another format."""
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get(name), list):
        raise ValueError(f"{path} holds no list '{name}', expected VQA v2's {name} file")
    return demand_fields(content[name], fields, source=f"{path}, {name}")


def minival(questions: Sequence[Question], *, size: int) -> tuple[list[Question], list[Question]]:
    """What is trained on and what is kept back of the validation set: the `size` highest question ids, texts last.

    Raises: ValueError if nothing would be left to train on.
    Source: vilbert_beta and vilbert-multi-task keep back 3,000.
    """
    if size >= len(questions):
        raise ValueError(f"minival_size is {size}, expected less than the {len(questions)} questions of the split")

    def order(question: Question) -> tuple[bool, int, str]:
        number = numbered(question.annotation)
        return (False, number, "") if isinstance(number, int) else (True, 0, number)

    ordered = sorted(questions, key=order)
    return ordered[: len(ordered) - size], ordered[len(ordered) - size :]


def numbered(question_id: str) -> int | str:
    """As the challenge's server takes it: a number, where it is one."""
    return int(question_id) if NUMBER.fullmatch(question_id) else question_id


def answered_by(answer: str) -> Callable[[Question], dict]:
    """Predictions that give one answer to all."""
    return lambda question: {"question_id": numbered(question.annotation), "answer": answer}


def answer_list(annotations: Iterable[Path], *, min_count: int = MIN_COUNT) -> list[str]:
    """Answers that are the most frequent one of at least `min_count` questions, the commonest first: 3,129 of VQA v2.

    Raises: ValueError if there is none, or for one that is no text.
    """
    counts: Counter[str] = Counter()
    for path in annotations:
        for number, row in enumerate(rows_of(path, "annotations", fields=("multiple_choice_answer",))):
            try:
                counts[normalised_answer(text_in(row, "multiple_choice_answer"))] += 1
            except ValueError as error:
                raise ValueError(f"{path}, annotations: row {number}: {error}") from error
    answers = [
        answer for answer, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if count >= min_count
    ]
    if not answers:
        raise ValueError(f"no answer stands {min_count} times or more; lower min_answer_count")
    return answers


def read_answer_list(path: Path) -> list[str]:
    """A list of answers by their number, such as the trainval_label2ans.json that comes with published weights; as the
    annotations' answers are compared with it, in the words of the official evaluator.

    Raises: ValueError for something else, or an answer that stands twice.
    """
    given = read_json(path)
    if not isinstance(given, list) or not given:
        raise ValueError(f"{path} holds no list of answers")
    try:
        answers = [normalised_answer(text_of(answer, name=f"answer {number}")) for number, answer in enumerate(given)]
    except ValueError as error:
        raise ValueError(f"{path} holds no list of answers: {error}") from error
    if len(set(answers)) != len(answers):
        twice = next(answer for answer, count in Counter(answers).items() if count > 1)
        raise ValueError(f"{path} holds '{twice}' more than once")
    return answers


def demand_answers(id2label: dict[int, str], answers: Sequence[str]) -> None:
    """Raises: ValueError if a model's head was trained on another list of answers, or on another order of this one."""
    known = [id2label[index] for index in sorted(id2label)]
    if known != list(answers):
        differs = [index for index, (one, other) in enumerate(zip(known, answers, strict=False)) if one != other]
        first = (
            f"answer {differs[0]} is '{known[differs[0]]}' and '{answers[differs[0]]}'" if differs else "one is longer"
        )
        raise ValueError(
            f"the model knows {len(known)} answers, the list has {len(answers)}, and {first}; give the model's own "
            "list as finetuning.vqa.answers"
        )


def demand_own_list(num_known: int, answers: Sequence[str], *, is_given: bool) -> None:
    """Of a head that knows its answers by number alone, as published ones do.

    Raises: ValueError for a list that was found in the annotations, whose order is another, or is of another length.
    """
    if not is_given or len(answers) != num_known:
        raise ValueError(
            f"the model knows {num_known} answers, but not their names, the list has {len(answers)}; give the list "
            "that came with its weights as finetuning.vqa.answers"
        )


def soft_scores(answers: Sequence[str], index: dict[str, int]) -> dict[int, float]:
    """Score of each answer that somebody gave and the list has: 0.3, 0.6, 0.9, 1 for one, two, three, more people of
    ten; of fewer people each counts for more, and the answer of a single one is right.

    Source: Anderson et al. 2018; Lu et al. 2019, section 3.3, for ten.
    """
    name = normalised_answer if "" in index else named_answer  # as a published list has '' for all articles
    counts = Counter(name(answer) for answer in answers)
    of_one = SCORE_A_PERSON if len(answers) == NUM_PEOPLE else SCORE_A_PERSON * NUM_PEOPLE / max(1, len(answers))
    return {index[answer]: min(1.0, of_one * count) for answer, count in counts.items() if answer in index}


class VqaDataset(Dataset):
    """Questions as batches with `labels`, the scores of all answers [B, A]."""

    def __init__(
        self,
        questions: Sequence[Question],
        store: RegionStore,
        processor: VilbertProcessor,
        *,
        answers: Sequence[str],
        max_tokens: int,
        widths: Widths = ANY_WIDTH,
    ):
        self.questions, self.store, self.answers = questions, store, answers
        self.processor, self.widths = processor, widths
        self.texts = encode_texts(processor.tokenizer, [one.text for one in questions], max_tokens=max_tokens)
        index = {answer: number for number, answer in enumerate(answers)}
        self.scores = [soft_scores(question.answers, index) for question in questions]

    def __len__(self) -> int:
        return len(self.questions)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each question, [N]."""
        return np.array([len(text.ids) for text in self.texts])

    def __getitems__(self, draws: Sequence[Draw]) -> Batch:
        return self.batch([draw.example for draw in draws])

    def batch(self, examples: Sequence[int]) -> Batch:
        """What VilbertForQuestionAnswering.forward takes."""
        labels = torch.zeros(len(examples), len(self.answers))
        for row, example in enumerate(examples):
            for answer, score in self.scores[example].items():
                labels[row, answer] = score
        texts = [self.texts[example] for example in examples]
        images = [self.store[self.questions[example].image_key] for example in examples]
        batch = pad_texts(texts, pad_token_id=self.processor.tokenizer.pad_token_id, widths=self.widths)
        batch |= pad_images(images, has_whole_image=self.processor.has_whole_image, widths=self.widths)
        return batch | {"labels": labels}

    def predict(self, model: nn.Module) -> list[dict]:
        """What the challenge's server takes: question_id and answer."""
        device = next(model.parameters()).device

        def answers(examples: list[int]) -> list[int]:
            batch = self.batch(examples)
            del batch["labels"]
            return model(**{name: value.to(device) for name, value in batch.items()}).logits.argmax(-1).tolist()

        order = np.argsort(self.lengths, kind="stable").tolist()
        answered = ask_in_shares(order, answers, batch_size=EVALUATION_BATCH)
        return [
            {"question_id": numbered(question.annotation), "answer": self.answers[answered[number]]}
            for number, question in enumerate(self.questions)
        ]

    def write(self, predictions: list[dict], folder: Path, name: str) -> None:
        """{name}.json, as the challenge's server takes it."""
        (folder / f"{name}.json").write_text(json.dumps(predictions))

    def measure(self, predictions: list[dict]) -> dict[str, float]:
        """`accuracy`, the official one, in percent."""
        return {
            "accuracy": mean(
                vqa_accuracy(prediction["answer"], question.answers)
                for prediction, question in zip(predictions, self.questions, strict=True)
            )
        }
