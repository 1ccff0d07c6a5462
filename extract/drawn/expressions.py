"""Expressions that fit one shape of a scene and no other, by its looks alone, as RefCOCO+ asks for."""

import random
from collections.abc import Callable

from extract.drawn.scene import Scene, Shape

PARTS: tuple[tuple[str, ...], ...] = (
    ("colour", "shape"),
    ("size", "shape"),
    ("fill", "shape"),
    ("size", "colour", "shape"),
    ("fill", "colour", "shape"),
    ("size", "fill", "shape"),
    ("size", "fill", "colour", "shape"),
    ("size", "colour"),
    ("fill", "colour"),
    ("colour",),
)


def make_expressions(scene: Scene, shape: Shape, rng: random.Random, *, count: int) -> list[str]:
    """Up to `count` expressions; fewer, or none, where few tell the shape from the rest."""
    parts = rng.sample(PARTS, len(PARTS))
    fitting = [part for part in parts if _fits_only(part, shape, scene)]
    return [rng.choice(WORDINGS)(_say(part, shape), part[-1] == "shape") for part in fitting[:count]]


def _fits_only(parts: tuple[str, ...], shape: Shape, scene: Scene) -> bool:
    """Whether no other shape is alike in these parts."""
    return sum(all(getattr(other, part) == getattr(shape, part) for part in parts) for other in scene.shapes) == 1


def _say(parts: tuple[str, ...], shape: Shape) -> str:
    return " ".join(getattr(shape, part) for part in parts)


WORDINGS: tuple[Callable[[str, bool], str], ...] = (
    lambda words, has_noun: words if has_noun else f"{words} one",
    lambda words, has_noun: f"the {words}" if has_noun else f"the {words} one",
    lambda words, has_noun: words if has_noun else f"the {words} thing",
)
