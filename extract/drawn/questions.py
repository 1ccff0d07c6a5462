"""Questions about a scene and their answers, of the kinds that VQA v2 has: yes/no, number, other."""

import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import permutations

from extract.drawn.phrases import with_article
from extract.drawn.scene import COLOURS, FILLS, RELATIONS, SHAPES, SIZES, Scene, Shape, is_larger, relation


@dataclass(frozen=True)
class Question:
    """A question with the one answer that is true."""

    question: str
    answer: str
    answer_type: str  # 'yes/no', 'number' or 'other'
    question_type: str  # its first words, as VQA v2 groups questions
    mistakes: tuple[str, ...]  # what a hasty reader might answer


Form = Callable[[Scene, random.Random], Question | None]


def make_questions(scene: Scene, rng: random.Random, *, count: int) -> list[Question]:
    """`count` different questions about a scene."""
    questions: dict[str, Question] = {}
    while len(questions) < count:
        form = rng.choice(FORMS)
        if question := form(scene, rng):
            questions.setdefault(question.question, question)
    return list(questions.values())


def known_by_name(scene: Scene) -> list[Shape]:
    """The shapes that are the only ones of their class, so that 'the red circle' is one of them."""
    counts = Counter(shape.name for shape in scene.shapes)
    return [shape for shape in scene.shapes if counts[shape.name] == 1]


def _is_there(scene: Scene, rng: random.Random) -> Question:
    """Yes and no equally often; where no, the colour or the shape is often there apart."""
    anything = f"{rng.choice(list(COLOURS))} {rng.choice(SHAPES)}"
    name = rng.choice((rng.choice(scene.shapes).name, anything))
    return _yes_no("is there a", f"Is there {with_article(name)}?", name in scene.classes)


def _is_beside(scene: Scene, rng: random.Random) -> Question | None:
    pairs = [(one, other) for one, other in permutations(known_by_name(scene), 2) if relation(one, other)]
    if not pairs:
        return None
    one, other = rng.choice(pairs)
    asked = rng.choice((relation(one, other) or "", rng.choice(RELATIONS)))
    return _yes_no("is the", f"Is the {one.name} {asked} the {other.name}?", _stands(one, asked, other))


def _is_bigger(scene: Scene, rng: random.Random) -> Question | None:
    pairs = [(one, other) for one, other in permutations(known_by_name(scene), 2) if one.size != other.size]
    if not pairs:
        return None
    one, other = rng.choice(pairs)
    return _yes_no("is the", f"Is the {one.name} bigger than the {other.name}?", is_larger(one, other))


def _how_many(scene: Scene, rng: random.Random) -> Question:
    kind = rng.choice(("shape", "colour", "all"))
    if kind == "shape":
        asked = rng.choice(SHAPES)
        noun, number = f"{asked}s", sum(shape.shape == asked for shape in scene.shapes)
    elif kind == "colour":
        asked = rng.choice(list(COLOURS))
        noun, number = f"{asked} shapes", sum(shape.colour == asked for shape in scene.shapes)
    else:
        noun, number = "shapes", len(scene.shapes)
    mistakes = tuple(str(near) for near in (number - 1, number + 1) if near >= 0)
    return Question(f"How many {noun} are there?", str(number), "number", "how many", mistakes)


def _what_colour(scene: Scene, rng: random.Random) -> Question | None:
    described = _only_one(scene, lambda shape: f"{shape.size} {shape.shape}")
    described |= _only_one(scene, lambda shape: f"{shape.fill} {shape.shape}")
    described |= _only_one(scene, lambda shape: shape.shape)
    if not described:
        return None
    noun = rng.choice(sorted(described))
    colour = described[noun].colour
    return Question(f"What color is the {noun}?", colour, "other", "what color is the", _others(COLOURS, colour, rng))


def _what_shape(scene: Scene, rng: random.Random) -> Question | None:
    described = _only_one(scene, lambda shape: f"{shape.colour} object")
    described |= _only_one(scene, lambda shape: f"{shape.size} {shape.colour} object")
    if not described:
        return None
    noun = rng.choice(sorted(described))
    shape = described[noun].shape
    return Question(f"What shape is the {noun}?", shape, "other", "what", _others(SHAPES, shape, rng))


def _what_size(scene: Scene, rng: random.Random) -> Question | None:
    if not (shapes := known_by_name(scene)):
        return None
    shape = rng.choice(shapes)
    mistakes = _others(SIZES, shape.size, rng)
    return Question(f"What size is the {shape.name}?", shape.size, "other", "what", mistakes)


def _what_fill(scene: Scene, rng: random.Random) -> Question | None:
    if not (shapes := known_by_name(scene)):
        return None
    shape = rng.choice(shapes)
    mistakes = _others(FILLS, shape.fill, rng)
    return Question(f"What pattern is on the {shape.name}?", shape.fill, "other", "what", mistakes)


def _what_is_beside(scene: Scene, rng: random.Random) -> Question | None:
    """Asked only where one class alone stands so."""
    asked = []
    for other in known_by_name(scene):
        for words in RELATIONS:
            names = {shape.name for shape in scene.shapes if shape is not other and _stands(shape, words, other)}
            asked += [(words, other, name) for name in names if len(names) == 1]
    if not asked:
        return None
    words, other, name = rng.choice(asked)
    mistakes = _others(sorted(scene.classes - {other.name}), name, rng)
    return Question(f"What is {words} the {other.name}?", name, "other", "what is", mistakes)


def _yes_no(question_type: str, question: str, is_true: bool) -> Question:
    answer, mistake = ("yes", "no") if is_true else ("no", "yes")
    return Question(question, answer, "yes/no", question_type, (mistake,))


def _stands(one: Shape, words: str, other: Shape) -> bool:
    """Whether `one` stands so to `other` by its centre, the widest sense of the words."""
    return {
        "left of": one.x < other.x,
        "right of": one.x > other.x,
        "above": one.y < other.y,
        "below": one.y > other.y,
    }[words]


def _only_one(scene: Scene, describe: Callable[[Shape], str]) -> dict[str, Shape]:
    """Shapes by a description that fits no other shape of the scene."""
    counts = Counter(describe(shape) for shape in scene.shapes)
    return {describe(shape): shape for shape in scene.shapes if counts[describe(shape)] == 1}


def _others(values: Iterable[str], value: str, rng: random.Random) -> tuple[str, ...]:
    """Up to two values other than the true one."""
    rest = [other for other in values if other != value]
    return tuple(rng.sample(rest, min(2, len(rest))))


FORMS: tuple[Form, ...] = (
    _is_there,
    _is_beside,
    _is_bigger,
    _how_many,
    _what_colour,
    _what_shape,
    _what_size,
    _what_fill,
    _what_is_beside,
)
