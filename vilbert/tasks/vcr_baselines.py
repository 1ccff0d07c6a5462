"""What VCR's accuracies are read against."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd

from extract.captions.text import caption_words
from extract.cleaning.relatedness import relatedness
from vilbert.baselines.class_words import class_names
from vilbert.baselines.naive_bayes import NaiveBayes
from vilbert.baselines.rows import Baselines
from vilbert.tasks.held_out import HeldOut
from vilbert.tasks.vcr import NUM_CHOICES, Step, VcrDataset, VcrQuestion, asked_for_reason, of_choices

SAID_BEFORE = "[said before]"  # stands once for each word of a choice that is asked with as well
CHANCE = {"answer": 1 / NUM_CHOICES, "rationale": 1 / NUM_CHOICES, "both": 1 / NUM_CHOICES**2}
Score = Callable[[VcrQuestion, Step, str, str, int], float]  # of a choice: what is asked, its text, its place


class VcrBaselines:
    """Counts of the training questions: the words of right and of wrong choices, and where the right ones stand."""

    def __init__(self, training: VcrDataset):
        self.words: dict[Step, NaiveBayes] = {"answer": NaiveBayes(2), "rationale": NaiveBayes(2)}  # wrong, right
        self.places: dict[Step, np.ndarray] = {step: np.zeros(NUM_CHOICES) for step in self.words}
        for question in training.questions:
            assert question.answer_label is not None
            labels = {"answer": question.answer_label, "rationale": question.rationale_label}
            for step, asked, choices in steps_of(question, question.answer_label):
                self.places[step][labels[step]] += 1
                for place, choice in enumerate(choices):
                    self.words[step].add(words_of(choice, asked=asked), {int(place == labels[step]): 1})

    def of(self, held_out: HeldOut[VcrDataset]) -> Baselines:
        """Of a split with labels."""

        def accuracies(score: Score) -> dict[str, float]:
            return held_out.over_all(held_out.data.measure(table_of(held_out.data.questions, score)))

        return Baselines(
            chance=held_out.over_all(CHANCE),
            blind=accuracies(self.likelihood),
            no_text=accuracies(self.frequency),
            rule=accuracies(class_score(held_out.data)) if held_out.data.store.classes else {},
            ceiling=held_out.over_all(dict.fromkeys(CHANCE, 1.0)),
            num_examples=held_out.num_examples,
            num_dropped=len(held_out.unseen),
        )

    def likelihood(self, question: VcrQuestion, step: Step, asked: str, choice: str, place: int) -> float:
        """How much likelier right than wrong a choice is by its words, a logarithm."""
        wrong, right = self.words[step].scores(words_of(choice, asked=asked))
        return right - wrong

    def frequency(self, question: VcrQuestion, step: Step, asked: str, choice: str, place: int) -> float:
        """How often the right choice stood at this place."""
        return self.places[step][place]


def class_score(data: VcrDataset) -> Score:
    """How well what a choice names is seen among the detected regions and the objects; 0 where it names nothing."""
    names = class_names(
        data.store.classes, [choice for question in data.questions for choice in question.answers + question.rationales]
    )

    def score(question: VcrQuestion, step: Step, asked: str, choice: str, place: int) -> float:
        return relatedness(names.mentions(choice), data.regions_of(question).class_probs) or 0.0

    return score


def steps_of(question: VcrQuestion, answer: int) -> Iterator[tuple[Step, str, Sequence[str]]]:
    """Both steps with what is asked and the choices, the second given an answer."""
    yield "answer", question.question, question.answers
    yield "rationale", asked_for_reason(question, answer, separator=""), question.rationales


def words_of(choice: str, *, asked: str) -> list[str]:
    """The words of a choice, and a mark for each that what is asked has too."""
    words, before = caption_words(choice), set(caption_words(asked))
    return words + [SAID_BEFORE for word in words if word in before]


def table_of(questions: Sequence[VcrQuestion], score: Score) -> pd.DataFrame:
    """Scores of all choices as the data set's predictions."""
    rows = []
    for question in questions:
        row: dict[str, str | float] = {"annot_id": question.annotation}
        for answer in range(NUM_CHOICES):
            for step, asked, choices in steps_of(question, answer):
                names = of_choices("answer" if step == "answer" else f"rationale_conditioned_on_a{answer}")
                scores = (score(question, step, asked, choice, place) for place, choice in enumerate(choices))
                row |= dict(zip(names, scores, strict=True))
        rows.append(row)
    return pd.DataFrame(rows)
