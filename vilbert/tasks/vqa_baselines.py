"""What VQA's accuracy is read against."""

from collections.abc import Iterable, Sequence
from statistics import mean

from extract.captions.text import caption_words
from extract.cleaning.relatedness import seen_probability
from vilbert.baselines.class_words import class_names
from vilbert.baselines.naive_bayes import NaiveBayes
from vilbert.baselines.rows import Baselines
from vilbert.tasks.held_out import HeldOut
from vilbert.tasks.metrics import named_answer, normalised_answer, vqa_accuracy
from vilbert.tasks.vqa import VqaDataset

SEEN = 0.5  # probability from which a class is there


class VqaBaselines:
    """Counts of the training questions: which answers were given, and to which words."""

    def __init__(self, training: VqaDataset):
        self.answers, self.commonest = training.answers, commonest_answer(training)
        self.by_words = NaiveBayes(len(training.answers))
        for question, scores in zip(training.questions, training.scores, strict=True):
            self.by_words.add(caption_words(question.text), scores)

    def of(self, held_out: HeldOut[VqaDataset]) -> Baselines:
        """Of a split with people's answers."""
        questions, listed = held_out.data.questions, set(self.answers)
        worths = [worth_of_answers(question.answers, listed) for question in questions]
        blind = [self.answers[int(self.by_words.scores(caption_words(one.text)).argmax())] for one in questions]

        def accuracy(answers: Iterable[str]) -> dict[str, float]:
            return held_out.over_all(held_out.data.measure([{"answer": answer} for answer in answers]))

        has_classes = bool(held_out.data.store.classes)
        return Baselines(
            chance=held_out.over_all({"accuracy": mean(sum(one.values()) / len(self.answers) for one in worths)}),
            blind=accuracy(blind),
            no_text=accuracy([self.commonest] * len(questions)),
            rule=accuracy(seen_or_blind(held_out.data, blind)) if has_classes else {},
            ceiling=held_out.over_all({"accuracy": mean(max(one.values(), default=0) for one in worths)}),
            num_examples=held_out.num_examples,
            num_dropped=len(held_out.unseen),
        )


def commonest_answer(training: VqaDataset) -> str:
    """The answer that people gave most often, by the scores of answers; of equals the first of the list."""
    totals = [0.0] * len(training.answers)
    for scores in training.scores:
        for answer, score in scores.items():
            totals[answer] += score
    return training.answers[totals.index(max(totals))]


def worth_of_answers(people: Sequence[str], listed: set[str]) -> dict[str, float]:
    """The accuracy of each listed answer that has any."""
    given = {*people, *map(normalised_answer, people), *map(named_answer, people)} & listed
    return {answer: vqa_accuracy(answer, people) for answer in given}


def seen_or_blind(data: VqaDataset, blind: Sequence[str]) -> list[str]:
    """Where the blind answer is yes or no: whether each class that is named is seen. Else the blind answer."""
    names = class_names(data.store.classes, [question.text for question in data.questions])
    answers = list(blind)
    for number, question in enumerate(data.questions):
        if blind[number] in ("yes", "no") and (mentions := names.mentions(question.text)):
            class_probs = data.store[question.image_key].class_probs
            are_seen = all(seen_probability(mention, class_probs) >= SEEN for mention in mentions)
            answers[number] = "yes" if are_seen else "no"
    return answers
