import random
import re
from collections import Counter
from itertools import pairwise

import pytest

from extract.drawn.expressions import make_expressions
from extract.drawn.phrases import named_classes
from extract.drawn.questions import COUNTS, TEMPLATES, mistakes
from extract.drawn.scene import CLASSES, Scene, Shape, make_scene, make_twin
from extract.drawn.sentences import make_captions

from .truth import is_true


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [make_scene(f"5/{number}", image_size=128, min_objects=3, max_objects=9) for number in range(307)]


def captions_of(scene: Scene) -> list[str]:
    return make_captions(scene, random.Random(scene.seed), count=7)


def test_every_caption_is_true_of_its_scene(scenes):
    for scene in scenes:
        for caption in captions_of(scene):
            assert is_true(caption, scene), (caption, scene)


def test_the_check_of_truth_can_say_no(scenes):
    """Captions of the next scene are mostly false of this one."""
    false = [not is_true(caption, scene) for scene, other in pairwise(scenes) for caption in captions_of(other)]
    assert sum(false) > 0.9 * len(false)


def test_captions_are_false_of_the_twin(scenes):
    for scene in scenes[:101]:
        twin = make_twin(scene, f"{scene.seed}/twin")
        for caption in make_captions(scene, random.Random(scene.seed), count=5, others=[twin]):
            assert is_true(caption, scene)
            assert not is_true(caption, twin), (caption, twin)


def test_captions_name_classes_of_the_scene_and_seldom_repeat(scenes):
    captions = [(caption, scene) for scene in scenes for caption in captions_of(scene)]
    for caption, scene in captions:
        assert named_classes(caption)
        assert named_classes(caption) <= scene.classes
        assert 3 <= len(caption.split()) <= 40
        assert caption == caption.lower()
    assert max(Counter(re.sub(r"\W+", " ", caption) for caption, _ in captions).values()) <= 3


def test_a_scene_has_only_so_much_to_say():
    shape = Shape("circle", "red", "solid", "small", x=50, y=50, side=18, tilt=0)
    scene = Scene("a", 128, (150, 150, 150), "plain", (shape,))
    assert len(make_captions(scene, random.Random(1), count=5)) == 5
    with pytest.raises(ValueError, match="captions_per_image"):
        make_captions(scene, random.Random(1), count=503)


def by_words(scene: Scene, words: str) -> list[Shape]:
    """The shapes that fit each word of a description, read anew."""
    plain = [word for word in words.split() if word not in ("the", "one", "object", "shape")]
    return [shape for shape in scene.shapes if set(plain) <= {shape.size, shape.fill, shape.colour, shape.shape}]


ORDER = {"largest": max, "larger": max, "smallest": min, "smaller": min}


def meant(said: str, scene: Scene) -> list[Shape]:
    """The shapes that an expression fits, read anew; relations in their widest sense."""
    noun, words, other = re.fullmatch(r"(?:the )?(.+?)(?: (left of|right of|above|below) the (.+))?", said).groups()
    first = noun.split()[0]
    found = by_words(scene, noun.removeprefix(f"{first} ") if first in ORDER else noun)
    assert len(found) > 1 or not words
    if first in ORDER:
        assert (len(found) == 2) == first.endswith("er")
        return [ORDER[first](found, key=lambda shape: shape.side)]
    if words is None:
        return found
    (landmark,) = by_words(scene, other)
    return [shape for shape in found if shape is not landmark and holds_widely(shape, words, landmark)]


def holds_widely(one: Shape, words: str, other: Shape) -> bool:
    return {
        "left of": one.x < other.x,
        "right of": one.x > other.x,
        "above": one.y < other.y,
        "below": one.y > other.y,
    }[words]


def test_expressions_fit_one_shape_alone_and_say_nothing_of_places_in_the_image(scenes):
    forms = Counter()
    for scene in scenes:
        for shape in scene.shapes:
            for said in make_expressions(scene, shape, random.Random(scene.seed), count=3):
                assert meant(said, scene) == [shape], (said, scene)
                assert not set(said.split()) & {"top", "bottom", "middle", "corner"}
                forms["relation" if " of the " in said or "e the " in said or "w the " in said else "looks"] += 1
    assert min(forms.values()) > 300


def test_the_one_shape_of_its_kind_needs_no_expression():
    shapes = [
        Shape("circle", colour, "solid", "small", x, 50, side=18, tilt=0)
        for colour, x in zip("ab", (20, 70), strict=True)
    ]
    scene = Scene("a", 96, (0, 0, 0), "plain", tuple(shapes))
    assert make_expressions(scene, shapes[0], random.Random(1), count=3) == []


def answer(question: str, scene: Scene) -> str:
    """The answer, found anew from the words of the question."""
    if match := re.fullmatch(r"Is there an? (.+)\?", question):
        return "yes" if by_words(scene, match[1]) else "no"
    if match := re.fullmatch(r"How many (.+) are there\?", question):
        return str(len(by_words(scene, match[1].removesuffix("s"))))
    if match := re.fullmatch(r"How many shapes are (.+ of|above|below) the (.+)\?", question):
        (other,) = by_words(scene, match[2])
        return str(sum(holds_widely(shape, match[1], other) for shape in scene.shapes))
    if match := re.fullmatch(r"Is the (.+) (left of|right of|above|below|bigger than) the (.+)\?", question):
        (one,), (other,) = by_words(scene, match[1]), by_words(scene, match[3])
        if match[2] == "bigger than":
            return "yes" if one.side > other.side else "no"
        return "yes" if holds_widely(one, match[2], other) else "no"
    if match := re.fullmatch(r"What (color|shape|size) is the (.+)\?", question):
        (shape,) = by_words(scene, match[2])
        return {"color": shape.colour, "shape": shape.shape, "size": shape.size}[match[1]]
    if match := re.fullmatch(r"What pattern is on the (.+)\?", question):
        (shape,) = by_words(scene, match[1])
        return shape.fill
    words, noun = re.fullmatch(r"What is (left of|right of|above|below) the (.+)\?", question).groups()
    (other,) = by_words(scene, noun)
    (name,) = {shape.name for shape in scene.shapes if shape is not other and holds_widely(shape, words, other)}
    return name


@pytest.mark.parametrize("number", range(len(TEMPLATES)))
def test_every_answer_is_right(scenes, number):
    template, answers = TEMPLATES[number], Counter()
    for scene in scenes[:101]:
        asked = list(template.ask(scene))
        assert len({question for question, _ in asked}) == len(asked)
        for question, true in random.Random(scene.seed).sample(asked, min(7, len(asked))):
            assert true == answer(question, scene), (question, scene)
            assert true in template.answers
            wrong = mistakes(template, true, scene)
            assert wrong
            assert true not in wrong
            answers[true] += 1
    assert answers.keys() == set(template.answers) or template.answers == CLASSES


def test_more_than_can_be_counted_at_a_glance_is_not_asked_for(scenes):
    shapes = [Shape("circle", "red", "solid", "small", x, 50, side=9, tilt=0) for x in range(5, 95, 10)]
    scene = Scene("a", 96, (0, 0, 0), "plain", tuple(shapes))
    (how_many,) = [template for template in TEMPLATES if dict(template.ask(scene)).get("How many squares are there?")]
    assert "How many circles are there?" not in dict(how_many.ask(scene))
    assert COUNTS[-1] == "4"
