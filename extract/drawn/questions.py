"""All questions of some templates that a scene answers in one way, of the kinds that VQA v2 has: yes/no, number, other.

What stands so to something only in the widest sense is neither yes nor no, and is not asked about.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import permutations, product
from typing import NamedTuple

from extract.drawn.phrases import with_article
from extract.drawn.scene import (
    CLASSES,
    COLOURS,
    FILLS,
    RELATIONS,
    SHAPES,
    SIZES,
    Scene,
    Shape,
    is_larger,
    relation,
    stands,
)

COUNTS = ("0", "1", "2", "3", "4")
LEAST_GAP = 0.03  # of the image's side between two centres of which one is said to be further left or up


class Asked(NamedTuple):
    """A question with the one answer that is true."""

    question: str
    answer: str


class Template(NamedTuple):
    """Questions of one form."""

    ask: Callable[[Scene], Iterable[Asked]]
    answers: tuple[str, ...]
    num_answers: int  # that each question has equally often; fewer than there are where most would never occur
    answer_type: str  # 'yes/no', 'number' or 'other'
    question_type: str  # the first words, as VQA v2 groups questions


def known_by_name(scene: Scene) -> list[Shape]:
    """The shapes that are the only ones of their class, so that 'the red circle' is one of them."""
    counts = Counter(shape.name for shape in scene.shapes)
    return [shape for shape in scene.shapes if counts[shape.name] == 1]


def stands_clearly(one: Shape, words: str, other: Shape, *, scene: Scene) -> bool | None:
    """Whether `one` stands so to `other` by its centre; null where it is too near the line to tell."""
    axis = "x" if words in ("left of", "right of") else "y"
    is_clear = abs(getattr(one, axis) - getattr(other, axis)) >= LEAST_GAP * scene.image_size
    return stands(one, words, other) if is_clear else None


def mistakes(template: Template, answer: str, scene: Scene) -> list[str]:
    """What a hasty reader might answer."""
    if template.answer_type == "number":
        return [str(near) for near in (int(answer) - 1, int(answer) + 1) if near >= 0]
    return [other for other in template.answers if other != answer and (other not in CLASSES or other in scene.classes)]


def _is_there(scene: Scene) -> Iterator[Asked]:
    """Also with a size or a fill, where colour and shape may be there and not together."""
    for name in CLASSES:
        kinds = [shape for shape in scene.shapes if shape.name == name]
        yield _yes_no(f"Is there {with_article(name)}?", bool(kinds))
        for word in (*SIZES, *FILLS):
            yield _yes_no(f"Is there a {word} {name}?", any(word in (shape.size, shape.fill) for shape in kinds))


def _is_beside(scene: Scene) -> Iterator[Asked]:
    for one, other in permutations(known_by_name(scene), 2):
        for words in RELATIONS:
            is_true = relation(one, other) == words
            if is_true or not stands(one, words, other):
                yield _yes_no(f"Is the {one.name} {words} the {other.name}?", is_true)


def _is_bigger(scene: Scene) -> Iterator[Asked]:
    for one, other in permutations(known_by_name(scene), 2):
        if one.size != other.size:
            yield _yes_no(f"Is the {one.name} bigger than the {other.name}?", is_larger(one, other))


def _how_many(scene: Scene) -> Iterator[Asked]:
    wordings = [f"{shape}s" for shape in SHAPES]
    wordings += [f"{word} shapes" for word in (*COLOURS, *SIZES, *FILLS)]
    wordings += [f"{word} {shape}s" for word, shape in product((*SIZES, *FILLS), SHAPES)]
    for wording in wordings:
        words = set(wording.removesuffix("s").split()) - {"shape"}
        yield from _count(f"How many {wording} are there?", sum(words <= _words(shape) for shape in scene.shapes))


def _how_many_beside(scene: Scene) -> Iterator[Asked]:
    for other, words, found in _all_beside(scene):
        yield from _count(f"How many shapes are {words} the {other.name}?", len(found))


def _what_is_beside(scene: Scene) -> Iterator[Asked]:
    for other, words, found in _all_beside(scene):
        if len(names := {shape.name for shape in found}) == 1:
            yield Asked(f"What is {words} the {other.name}?", *names)


def _what_colour(scene: Scene) -> Iterator[Asked]:
    for wording, shape in _only_ones(scene, (("shape",), ("size", "shape"), ("fill", "shape"))):
        yield Asked(f"What color is the {wording}?", shape.colour)


def _what_shape(scene: Scene) -> Iterator[Asked]:
    for wording, shape in _only_ones(scene, (("colour",), ("size", "colour"), ("fill", "colour"))):
        yield Asked(f"What shape is the {wording} object?", shape.shape)


def _what_size(scene: Scene) -> Iterator[Asked]:
    for wording, shape in _only_ones(scene, (("colour", "shape"), ("fill", "colour"), ("fill", "shape"))):
        yield Asked(f"What size is the {wording}{' object' if shape.shape not in wording else ''}?", shape.size)


def _what_fill(scene: Scene) -> Iterator[Asked]:
    for wording, shape in _only_ones(scene, (("colour", "shape"), ("size", "colour"), ("size", "shape"))):
        yield Asked(f"What pattern is on the {wording}{' object' if shape.shape not in wording else ''}?", shape.fill)


def _yes_no(question: str, is_true: bool) -> Asked:
    return Asked(question, "yes" if is_true else "no")


def _count(question: str, number: int) -> Iterator[Asked]:
    """Asked where the number is one of COUNTS."""
    if str(number) in COUNTS:
        yield Asked(question, str(number))


def _words(shape: Shape) -> set[str]:
    return {shape.size, shape.fill, shape.colour, shape.shape}


def _only_ones(scene: Scene, wordings: Iterable[tuple[str, ...]]) -> Iterator[tuple[str, Shape]]:
    """Shapes by a description that fits no other shape of the scene."""
    for parts in wordings:
        described = [" ".join(getattr(shape, part) for part in parts) for shape in scene.shapes]
        counts = Counter(described)
        yield from ((words, shape) for words, shape in zip(described, scene.shapes, strict=True) if counts[words] == 1)


def _all_beside(scene: Scene) -> Iterator[tuple[Shape, str, list[Shape]]]:
    """The shapes on one side of another, where none has its centre too near the line to tell."""
    for other in known_by_name(scene):
        rest = [shape for shape in scene.shapes if shape is not other]
        for words in RELATIONS:
            sides = [stands_clearly(shape, words, other, scene=scene) for shape in rest]
            if None not in sides:
                yield other, words, [shape for shape, side in zip(rest, sides, strict=True) if side]


YES_NO = ("no", "yes")
TEMPLATES = (
    Template(_what_is_beside, CLASSES, 2, "other", "what is"),
    Template(_what_colour, tuple(COLOURS), 8, "other", "what color is the"),
    Template(_how_many, COUNTS, 5, "number", "how many"),
    Template(_how_many_beside, COUNTS, 5, "number", "how many shapes are"),
    Template(_what_fill, FILLS, 4, "other", "what"),
    Template(_what_size, tuple(SIZES), 3, "other", "what"),
    Template(_what_shape, SHAPES, 3, "other", "what"),
    Template(_is_bigger, YES_NO, 2, "yes/no", "is the"),
    Template(_is_beside, YES_NO, 2, "yes/no", "is the"),
    Template(_is_there, YES_NO, 2, "yes/no", "is there a"),
)
