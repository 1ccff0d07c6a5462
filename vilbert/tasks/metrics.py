"""The tasks' official measures."""

import re
from collections.abc import Sequence
from statistics import mean

import numpy as np

from vilbert.retrieval.ranks import best_ranks, chance_summary, recalls

# As the official evaluator has them: a word that lacks one of its apostrophes gets it back.
CONTRACTIONS = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd
he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've
needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've
somebody'll somebody's someone'd someone'd've someone'll someone's something'd something'd've something'll
that's there'd there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've
weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll who's who've
why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're
you've
""".split()  # noqa: SIM905 (a list would be a page long)
MENDED = {
    word[:place] + word[place + 1 :]: word for word in CONTRACTIONS for place in range(len(word)) if word[place] == "'"
} | {"somebody'd": "somebodyd"}
NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
NUMBERS = {"none": "0"} | {word: str(number) for number, word in enumerate(NUMBER_WORDS)}
ARTICLES = {"a", "an", "the"}
PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
NUM_PEOPLE = 10  # who answer a question of VQA v2
ENOUGH = 0.3  # of them
MAX_PERIODS = 32  # so many does the official evaluator take out


def vqa_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """Percent of the ten people who are right to agree with: the mean, over leaving each out, of min(1, agreeing / 3).

    As in the official evaluator, words are normalised only if the people do not all agree. Where they are not ten, it
    is min(1, the share that agrees / 0.3), of `named_answer`s: of one answer, whether it is this one.
    Source: Antol et al. 2015, section 5; GT-Vision-Lab/VQA, vqaEval.py.
    """
    prediction, people = one_line(prediction), [one_line(answer) for answer in answers]
    if len(people) != NUM_PEOPLE:
        agreeing = [named_answer(answer) for answer in people].count(named_answer(prediction))
        return round(100 * min(1.0, agreeing / (ENOUGH * len(people))), 2)
    if len(set(people)) > 1:
        prediction, people = normalised_answer(prediction), [normalised_answer(answer) for answer in people]
    agreeing = people.count(prediction)
    return round(100 * mean(min(1.0, (agreeing - (answer == prediction)) / 3) for answer in people), 2)


def normalised_answer(answer: str) -> str:
    """Lower case; punctuation, articles and number words as the official evaluator has them."""
    text = one_line(answer)
    words = (NUMBERS.get(word, word) for word in without_punctuation(text).lower().split())
    return " ".join(MENDED.get(word, word) for word in words if word not in ARTICLES)


def named_answer(answer: str) -> str:
    """As `normalised_answer`; what nothing would be left of, such as the A of four choices, stays in lower case."""
    return normalised_answer(answer) or one_line(answer).lower()


def one_line(answer: str) -> str:
    return answer.replace("\n", " ").replace("\t", " ").strip()


def without_punctuation(text: str) -> str:
    """A mark beside a blank, or any in a text with '1,000' in it, goes; others become blanks. Decimal points stay."""
    has_thousands = re.search(r"\d,\d", text) is not None
    stripped = text
    for mark in PUNCTUATION:
        is_beside_blank = f"{mark} " in text or f" {mark}" in text
        stripped = stripped.replace(mark, "" if is_beside_blank or has_thousands else " ")
    return re.sub(r"\.(?!\d)", "", stripped, count=MAX_PERIODS)


def retrieval_metrics(scores: np.ndarray, image_of_caption: Sequence[int], texts: Sequence[str]) -> dict[str, float]:
    """Recall at 1, 5 and 10 and median rank, of images by captions and of captions by images.

    A caption that stands on several images has them all right, and an image all captions of these texts.

    Args:
        scores: [C captions, I images].
        image_of_caption: [C], column of each caption's image.
        texts: [C].
    """
    is_right = right_pairs(image_of_caption, texts, num_images=scores.shape[1])
    image_ranks = best_ranks(scores, is_right)
    has_caption = is_right.any(axis=0)
    text_ranks = best_ranks(scores.T[has_caption], is_right.T[has_caption])
    return both_ways(_summary(image_ranks), _summary(text_ranks))


def right_pairs(image_of_caption: Sequence[int], texts: Sequence[str], *, num_images: int) -> np.ndarray:
    """Which images each caption is right of: all that its text stands on, bool [C, I]."""
    is_right = np.zeros((len(texts), num_images), bool)
    rows_of: dict[str, list[int]] = {}
    for row, text in enumerate(texts):
        rows_of.setdefault(text, []).append(row)
    for rows in rows_of.values():
        is_right[np.ix_(rows, sorted({image_of_caption[row] for row in rows}))] = True
    return is_right


def retrieval_chance(is_right: np.ndarray, columns_seen: Sequence[int]) -> dict[str, float]:
    """What `retrieval_metrics` come to, in the mean, in an even draw of the order; images not seen stand last.

    Args:
        is_right: [C, I].
        columns_seen: of the images that have features.
    """
    seen = is_right[:, columns_seen]
    num_unseen = is_right.shape[1] - seen.shape[1]
    of_images = np.pad(seen.sum(axis=0), (0, num_unseen))  # an image not seen finds no caption
    return both_ways(chance_summary(seen.sum(axis=1), seen.shape[1]), chance_summary(of_images, len(seen)))


def both_ways(of_images: dict[str, float], of_texts: dict[str, float]) -> dict[str, float]:
    """The summaries of both ways' ranks as one."""
    image = {f"image_{name}": value for name, value in of_images.items()}
    return image | {f"text_{name}": value for name, value in of_texts.items()}


def _summary(ranks: np.ndarray) -> dict[str, float]:
    return recalls(ranks) | {"median_rank": float(np.median(ranks))}
