"""VQA v2: a question about an image, answered by one of a list of answers.

Dimension key:
    B: batch   A: answers
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
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
from vilbert.tasks.metrics import normalised_answer, vqa_accuracy
from vilbert.tasks.reading import Dropped, Reading, demand_fields, encode_texts, read_json
from vilbert.training.shares import ask_in_shares

MIN_COUNT = 9  # times that an answer has to be the most frequent one of a question
SCORE_A_PERSON = 0.3
EVALUATION_BATCH = 256


@dataclass(frozen=True)
class Question:
    """A question, and what ten people answered; () in a test set."""

    annotation: str  # question_id
    image_key: str
    text: str
    answers: tuple[str, ...]


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
    for row in rows_of(questions, "questions", fields=("question_id", "image_id", "question")):
        annotation = str(row["question_id"])
        asked.add(annotation)
        text = str(row["question"]).strip()
        if not text:
            dropped.append(Dropped(annotation, "empty_question", repr(row["question"])))
        elif annotations is not None and annotation not in answers:
            dropped.append(Dropped(annotation, "no_annotation", annotations.name))
        elif annotations is not None and not answers[annotation]:
            dropped.append(Dropped(annotation, "no_answer", annotations.name))
        else:
            key = image_key.format(image_id=row["image_id"])
            kept.append(Question(annotation, key, text, answers.get(annotation, ())))
    dropped += [Dropped(annotation, "no_question", questions.name) for annotation in answers if annotation not in asked]
    return Reading(kept, dropped)


def read_answers(annotations: Path) -> tuple[dict[str, tuple[str, ...]], list[Dropped]]:
    """What people answered, by question_id; of a question that stands twice, the first."""
    answers: dict[str, tuple[str, ...]] = {}
    dropped = []
    for row in rows_of(annotations, "annotations", fields=("question_id", "answers")):
        annotation = str(row["question_id"])
        if annotation in answers:
            dropped.append(Dropped(annotation, "duplicate_annotation", annotations.name))
            continue
        given = demand_fields(row["answers"], ("answer",), source=f"{annotations}, answers to question {annotation}")
        answers[annotation] = tuple(one["answer"] for one in given)
    return answers, dropped


def rows_of(path: Path, name: str, *, fields: Sequence[str]) -> list[dict]:
    """Raises: ValueError for a file of another format."""
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get(name), list):
        raise ValueError(f"{path} holds no list '{name}', expected VQA v2's {name} file")
    return demand_fields(content[name], fields, source=f"{path}, {name}")


def minival(questions: Sequence[Question], *, size: int) -> tuple[list[Question], list[Question]]:
    """What is trained on and what is kept back of the validation set: the `size` highest question ids.

    Raises: ValueError if nothing would be left to train on.
    Source: vilbert_beta and vilbert-multi-task keep back 3,000.
    """
    if size >= len(questions):
        raise ValueError(f"minival_size is {size}, expected less than the {len(questions)} questions of the split")
    ordered = sorted(questions, key=lambda question: int(question.annotation))
    return ordered[: len(ordered) - size], ordered[len(ordered) - size :]


def answer_list(annotations: Iterable[Path], *, min_count: int = MIN_COUNT) -> list[str]:
    """Answers that are the most frequent one of at least `min_count` questions, the commonest first: 3,129 of VQA v2.

    Raises: ValueError if there is none.
    """
    counts = Counter(
        normalised_answer(row["multiple_choice_answer"])
        for path in annotations
        for row in rows_of(path, "annotations", fields=("multiple_choice_answer",))
    )
    answers = [
        answer for answer, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if count >= min_count
    ]
    if not answers:
        raise ValueError(f"no answer stands {min_count} times or more; lower min_answer_count")
    return answers


def read_answer_list(path: Path) -> list[str]:
    """A list of answers by their number, such as the trainval_label2ans.json that comes with published weights.

    Raises: ValueError for something else, or an answer that stands twice.
    """
    answers = read_json(path)
    if not isinstance(answers, list) or not all(isinstance(answer, str) for answer in answers):
        raise ValueError(f"{path} holds no list of answers")
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
    """Score of each answer that somebody gave and the list has: 0.3, 0.6, 0.9, 1 for one, two, three, more people.

    Source: Anderson et al. 2018; Lu et al. 2019, section 3.3.
    """
    counts = Counter(normalised_answer(answer) for answer in answers)
    return {index[answer]: min(1.0, SCORE_A_PERSON * count) for answer, count in counts.items() if answer in index}


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
            {"question_id": int(question.annotation), "answer": self.answers[answered[number]]}
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
