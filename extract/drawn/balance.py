"""Choose among all that could be asked so that the words of a question do not tell its answer."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

from extract.drawn.task_images import TaskImage

T = TypeVar("T")


class Candidate(NamedTuple, Generic[T]):
    """Something that could be asked of an image."""

    image: TaskImage
    asked: str  # all that a reader sees of the question
    answer: str
    content: T


def choose_balanced(
    candidates: Sequence[Candidate[T]], rng: random.Random, *, num_answers: int, count: int
) -> list[Candidate[T]]:
    """About `count` candidates, fewer where there are not so many: of each question rounds of `num_answers` answers.

    A round has one image an answer, so that each image has another one of which the same is asked with another answer,
    its twin where that is possible. Where `num_answers` are all there are, the answers of a question are equally
    frequent; where there are more, the rarest so far come first.
    """
    answers: dict[tuple[str, str], set[str]] = defaultdict(set)
    for image, asked, answer, _ in candidates:
        answers[asked, _pair(image)].add(answer)
    of_twins = {key for key, of_pair in answers.items() if len(of_pair) > 1}
    places = _places(sorted(answers), of_twins, rng)
    stock: dict[str, dict[str, list[Candidate[T]]]] = defaultdict(lambda: defaultdict(list))
    for candidate in sorted(candidates, key=lambda candidate: places[candidate.asked, _pair(candidate.image)]):
        stock[candidate.asked][candidate.answer].append(candidate)
    chosen: list[Candidate[T]] = []
    counts: Counter[str] = Counter()
    asked_of_twins = {asked for asked, _ in of_twins}
    open_questions = sorted(rng.sample(sorted(stock), len(stock)), key=lambda asked: asked not in asked_of_twins)
    while open_questions:
        still_open = []
        for asked in open_questions:
            left = [answer for answer, of_answer in stock[asked].items() if of_answer]
            if len(left) < num_answers:
                continue
            if len(chosen) + num_answers > count:
                return chosen
            rarest = sorted(left, key=lambda answer: (counts[answer], rng.random()))[:num_answers]
            chosen += [stock[asked][answer].pop() for answer in rarest]
            counts.update(rarest)
            still_open.append(asked)
        open_questions = still_open
    return chosen


def _places(
    keys: Sequence[tuple[str, str]], of_twins: set[tuple[str, str]], rng: random.Random
) -> dict[tuple[str, str], tuple[bool, int, float]]:
    """Where each question to a pair of twins stands in the stock, which is used from behind.

    Twins come together and behind the others; then each pair has its first question, each its second, and so on.
    """
    numbers: Counter[str] = Counter()
    places = {}
    for key in rng.sample(keys, len(keys)):
        numbers[key[1]] += 1
        places[key] = (key in of_twins, -numbers[key[1]], rng.random())
    return places


def _pair(image: TaskImage) -> str:
    """The same for an image and its twin, and for no other."""
    return min(image.scene.seed, image.twin.seed)
