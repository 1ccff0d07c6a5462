"""Expressions that fit one shape of a scene and no other, where several are of the kind that the expression names.

As in RefCOCO+ none says where in the image a shape is; how it stands to another shape may be said.
"""

import random
from collections.abc import Iterator, Sequence

from extract.drawn.questions import known_by_name, stands_clearly
from extract.drawn.scene import RELATIONS, Scene, Shape, relation

HEADS = (("shape",), ("colour",), ("colour", "shape"))  # what an expression names
CLEARLY_LARGER = 1.15  # as large as the next largest
NUM_RELATIONS = 2  # of a shape's expressions, at most
MIN_ALIKE = 3  # of which size or fill tells one


def make_expressions(scene: Scene, shape: Shape, rng: random.Random, *, count: int) -> list[str]:
    """Up to `count` expressions, relations first; fewer, or none, where few tell the shape from others of its kind."""
    related, looks = [], []
    for head in HEADS:
        alike = [other for other in scene.shapes if all(getattr(other, part) == getattr(shape, part) for part in head)]
        if len(alike) > 1:
            noun = " ".join(getattr(shape, part) for part in head) + (" one" if head == ("colour",) else "")
            looks += [f"{words} {noun}" for words in _told_by_looks(shape, alike)]
            related += [f"{noun} {words} the {other.name}" for words, other in _told_by_relation(shape, alike, scene)]
    said = rng.sample(related, min(NUM_RELATIONS, len(related))) + rng.sample(looks, len(looks))
    return [f"the {words}" if rng.random() < 0.5 else words for words in said[:count]]


def _told_by_looks(shape: Shape, alike: Sequence[Shape]) -> Iterator[str]:
    """Words that tell a shape from those that are alike otherwise, none of them superfluous."""
    sides = [other.side for other in alike if other is not shape]
    if shape.side >= CLEARLY_LARGER * max(sides):
        yield "largest" if len(sides) > 1 else "larger"
    if shape.side * CLEARLY_LARGER <= min(sides):
        yield "smallest" if len(sides) > 1 else "smaller"
    if len(alike) < MIN_ALIKE:
        return
    same = [(other.size == shape.size, other.fill == shape.fill) for other in alike]
    is_size_enough, is_fill_enough = (sum(values) == 1 for values in zip(*same, strict=True))
    if is_size_enough:
        yield shape.size
    if is_fill_enough:
        yield shape.fill
    if same.count((True, True)) == 1 and not is_size_enough and not is_fill_enough:
        yield f"{shape.size} {shape.fill}"


def _told_by_relation(shape: Shape, alike: Sequence[Shape], scene: Scene) -> Iterator[tuple[str, Shape]]:
    """Relations to other shapes in which this one stands, and none that is alike."""
    for other in known_by_name(scene):
        for words in RELATIONS:
            rest = [one for one in alike if one is not shape and one is not other]
            if (
                rest
                and other is not shape
                and relation(shape, other) == words
                and all(stands_clearly(one, words, other, scene=scene) is False for one in rest)
            ):
                yield words, other
