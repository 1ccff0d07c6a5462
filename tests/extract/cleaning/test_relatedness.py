import math

import numpy as np
import pytest

from extract.cleaning.relatedness import LEAST_PROBABILITY, ClassNames, common_noun, relatedness

CLASSES = ("background", "red circle", "blue square", "circle", "stop sign,stopsign", "man", "tennis player", "ladies")
COUNTS = {"": 99, "red": 49, "circle": 24, "blue": 9, "square": 4}


@pytest.fixture
def names() -> ClassNames:
    return ClassNames(CLASSES, word_counts=COUNTS)


def probs(**by_class: float) -> np.ndarray:
    """[2, C]: one region with these probabilities, one of background."""
    regions = np.zeros((2, len(CLASSES)), dtype=np.float16)
    for name, probability in by_class.items():
        regions[0, CLASSES.index(name.replace("_", " "))] = probability
    regions[1, 0] = 1
    return regions


def phrases(names: ClassNames, caption: str) -> list[str]:
    return [mention.phrase for mention in names.mentions(caption)]


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a small red circle left of a blue square .", ["red circle", "blue square"]),
        ("two red circles , a red circle and three circles", ["red circle", "circle"]),
        ("a red square and a blue circle", ["circle"]),
        ("Two Stop Signs near a stopsign", ["stop sign", "stopsign"]),
        ("no such thing", []),
        ("", []),
    ],
)
def test_the_longest_names_are_found_once_each(names, caption, expected):
    assert phrases(names, caption) == expected


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("you can see a dog", ["dog"]),
        ("a can of soda", []),
        ("cans beside a trash can", ["can", "trash can"]),
        ("a dog in a short black dress", ["dog"]),
        ("shorts and oranges", ["short", "orange"]),
        ("the dog stands and watches the leaves", ["dog", "watch", "leaf"]),
        ("portrait of a dog on a white background", ["dog"]),
        ("the picture frame", ["picture frame"]),
    ],
)
def test_a_name_that_is_another_word_as_it_stands_is_not_found(caption, expected):
    classes = ("none", "can", "trash can", "dog", "shorts", "black", "orange", "stand", "watch", "leaf", "portrait")
    classes += ("background", "picture", "picture frame")
    assert phrases(ClassNames(classes, word_counts={}), caption) == expected


def test_what_is_seen_is_judged_alone_where_a_caption_says_that_one_can_see_it():
    names = ClassNames(("background", "can", "dog"), word_counts={})
    dog = np.array([[0, 0, 1]], dtype=np.float16)
    assert relatedness(names.mentions("a view of what you can see , a dog"), dog) == 1


def test_all_kinds_of_people_are_people(names):
    (mention,) = names.mentions("actors and politicians")
    assert mention.classes == (5, 6, 7)
    assert relatedness([mention], probs(man=0.25, tennis_player=0.5)) == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("word", "noun"),
    [
        ("circles", "circle"),
        ("boxes", "box"),
        ("berries", "berry"),
        ("glass", "glass"),
        ("glasses", "glass"),
        ("buses", "bus"),
        ("bus", "bus"),
        ("women", "person"),
        ("tennis", "tennis"),
        ("leaves", "leaf"),
        ("gas", "gas"),
    ],
)
def test_plurals_meet_their_singular(word, noun):
    assert common_noun(word) == noun


def test_the_score_is_the_mean_of_logarithms_weighted_by_rarity(names):
    """Weights by hand: ln(1 + 100/50) + ln(1 + 100/25) = ln 15, ln(1 + 100/10) + ln(1 + 100/5) = ln 231."""
    mentions = names.mentions("a red circle and a blue square")
    score = relatedness(mentions, probs(red_circle=0.5, blue_square=0.125))
    expected = math.exp((math.log(15) * math.log(0.5) + math.log(231) * math.log(0.125)) / math.log(15 * 231))
    assert score == pytest.approx(expected)


def test_rare_names_weigh_more(names):
    mentions = names.mentions("a red circle and a blue square")
    assert relatedness(mentions, probs(blue_square=1)) > relatedness(mentions, probs(red_circle=1))


def test_the_score_is_1_for_what_is_seen_for_certain_and_never_0(names):
    mentions = names.mentions("a red circle")
    assert relatedness(mentions, probs(red_circle=1)) == 1
    assert relatedness(mentions, probs()) == pytest.approx(LEAST_PROBABILITY)
    assert relatedness(mentions, np.zeros((0, len(CLASSES)), dtype=np.float16)) == pytest.approx(LEAST_PROBABILITY)


def test_a_caption_that_names_nothing_known_has_no_score(names):
    assert relatedness(names.mentions("a green triangle"), probs(red_circle=1)) is None


def test_words_that_no_caption_has_weigh_something():
    (mention,) = ClassNames(("background", "cat"), word_counts={}).mentions("cats")
    assert mention.weight > 0
