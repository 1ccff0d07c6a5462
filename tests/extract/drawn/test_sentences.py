import random
import re
from collections import Counter
from itertools import pairwise

import pytest

from extract.drawn.expressions import make_expressions
from extract.drawn.phrases import named_classes
from extract.drawn.questions import make_questions
from extract.drawn.scene import Scene, Shape, make_scene
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
    plain = [word for word in words.split() if word not in ("the", "one", "thing", "object")]
    return [shape for shape in scene.shapes if set(plain) <= {shape.size, shape.fill, shape.colour, shape.shape}]


def test_expressions_fit_one_shape_alone_and_say_nothing_of_places(scenes):
    seen = 0
    for scene in scenes:
        for shape in scene.shapes:
            for said in make_expressions(scene, shape, random.Random(scene.seed), count=3):
                assert by_words(scene, said) == [shape]
                assert not set(said.split()) & {"left", "right", "top", "bottom", "above", "below", "middle"}
                seen += 1
    assert seen > 1000


def answer(question: str, scene: Scene) -> str:
    """The answer, found anew from the words of the question."""
    if match := re.fullmatch(r"Is there an? (.+)\?", question):
        return "yes" if by_words(scene, match[1]) else "no"
    if match := re.fullmatch(r"How many (.+) are there\?", question):
        return str(len(by_words(scene, match[1].replace("shapes", "").replace("es", "e").rstrip("s"))))
    if match := re.fullmatch(r"Is the (.+) (left of|right of|above|below|bigger than) the (.+)\?", question):
        (one,), (other,) = by_words(scene, match[1]), by_words(scene, match[3])
        true = {
            "left of": one.x < other.x,
            "right of": one.x > other.x,
            "above": one.y < other.y,
            "below": one.y > other.y,
            "bigger than": one.side > other.side,
        }
        return "yes" if true[match[2]] else "no"
    if match := re.fullmatch(r"What (color|shape|size) is the (.+)\?", question):
        (shape,) = by_words(scene, match[2])
        return {"color": shape.colour, "shape": shape.shape, "size": shape.size}[match[1]]
    if match := re.fullmatch(r"What pattern is on the (.+)\?", question):
        (shape,) = by_words(scene, match[1])
        return shape.fill
    words, noun = re.fullmatch(r"What is (left of|right of|above|below) the (.+)\?", question).groups()
    (other,) = by_words(scene, noun)
    beside = {
        "left of": [shape for shape in scene.shapes if shape.x < other.x],
        "right of": [shape for shape in scene.shapes if shape.x > other.x],
        "above": [shape for shape in scene.shapes if shape.y < other.y],
        "below": [shape for shape in scene.shapes if shape.y > other.y],
    }[words]
    (name,) = {shape.name for shape in beside}
    return name


def test_every_answer_is_right(scenes):
    kinds = Counter()
    for scene in scenes:
        for question in make_questions(scene, random.Random(scene.seed), count=5):
            assert question.answer == answer(question.question, scene), (question, scene)
            assert question.answer not in question.mistakes
            kinds[question.answer_type] += 1
    assert min(kinds.values()) > 100
    assert len(kinds) == 3
