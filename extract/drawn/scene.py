"""A scene: coloured shapes on a textured background, where they are and how they stand to each other.

Lengths are pixels; y grows downwards. The same seed string gives the same scene.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, permutations
from typing import NamedTuple

from extract.settings import WorldSettings

SHAPES = ("circle", "square", "triangle")
COLOURS = {
    "red": (214, 48, 49),
    "pink": (240, 138, 178),
    "yellow": (247, 214, 72),
    "green": (46, 148, 80),
    "blue": (42, 96, 204),
    "purple": (134, 66, 168),
    "white": (246, 246, 240),
    "black": (34, 34, 40),
}
CLASSES = tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)
FILLS = ("solid", "striped", "spotted", "hollow")
SIZES = {"small": 14, "medium": 22, "large": 34}  # side of the shape at 128 pixels an image
TEXTURES = ("plain", "dotted", "lined", "wavy", "woven")
BACKGROUNDS = (
    (168, 158, 142),
    (142, 158, 150),
    (140, 152, 170),
    (172, 148, 148),
    (158, 148, 166),
    (150, 150, 150),
    (176, 164, 132),
    (134, 160, 164),
)
RELATIONS = ("left of", "right of", "above", "below")
OPPOSITES = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
FILL_WEIGHTS = (6, 2, 2, 2)
SIZE_WEIGHTS = (3, 4, 3)
LARGEST_TILT = math.radians(14)
LARGEST_OVERLAP = 0.06  # of the smaller of two boxes
LARGEST_COVER = 0.34  # of the image by the squares around its shapes
CROWDING = 3  # the higher, the fewer scenes hold nearly as many shapes as they may
PLACING_TRIES = 60
EXCHANGED = ("colour", "shape", "size", "fill")  # what two shapes of a scene may have exchanged in its twin


@dataclass(frozen=True)
class Shape:
    """One object of a scene."""

    shape: str
    colour: str
    fill: str
    size: str
    x: float  # centre
    y: float
    side: float  # diameter of a circle, side of a square or triangle
    tilt: float  # radians

    @property
    def name(self) -> str:
        """Its class, such as 'red circle'."""
        return f"{self.colour} {self.shape}"

    @cached_property
    def outline(self) -> list[tuple[float, float]]:
        """Corners in order; of a circle, the corners of a polygon that is one to the eye."""
        if self.shape == "circle":
            corners, start, radius = 48, 0.0, self.side / 2
        elif self.shape == "square":
            corners, start, radius = 4, math.pi / 4, self.side / math.sqrt(2)
        else:
            corners, start, radius = 3, -math.pi / 2, self.side / math.sqrt(3)
        turns = [self.tilt + start + 2 * math.pi * corner / corners for corner in range(corners)]
        return [(self.x + radius * math.cos(turn), self.y + radius * math.sin(turn)) for turn in turns]

    @cached_property
    def box(self) -> tuple[float, float, float, float]:
        """Its extent: x1 y1 x2 y2."""
        xs, ys = zip(*self.outline, strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    @property
    def area(self) -> float:
        """What the outline holds, in square pixels."""
        points = self.outline
        pairs = zip(points, points[1:] + points[:1], strict=True)
        return abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairs)) / 2


@dataclass(frozen=True)
class Scene:
    """What one image shows."""

    seed: str
    image_size: int  # both sides
    background: tuple[int, int, int]
    texture: str
    shapes: tuple[Shape, ...]  # in the order of drawing

    @property
    def classes(self) -> set[str]:
        """The names of what it shows."""
        return {shape.name for shape in self.shapes}

    @cached_property
    def beside(self) -> "list[Beside]":
        """Every ordered pair of shapes of different classes of which one stands clearly beside the other."""
        pairs = [(one, relation(one, other), other) for one, other in permutations(self.shapes, 2)]
        return [Beside(one, found, other) for one, found, other in pairs if found and one.name != other.name]


class Beside(NamedTuple):
    """How one shape stands to another."""

    one: Shape
    words: str  # of RELATIONS
    other: Shape


def make_scene(seed: str, *, image_size: int, min_objects: int, max_objects: int) -> Scene:
    """The scene of a seed, with min_objects to max_objects shapes that hardly overlap, seldom many.

    Raises: ValueError if so many shapes do not fit.
    """
    rng = random.Random(seed)
    wanted = min_objects + int((max_objects - min_objects + 1) * rng.random() ** CROWDING)
    drawn = [_draw_lots(rng, size, image_size=image_size) for size in _draw_sizes(rng, wanted)]
    return _compose(seed, rng, drawn, image_size=image_size, texture=rng.choice(TEXTURES))


def scene_and_twin(family: str, number: int, settings: WorldSettings) -> tuple[Scene, Scene]:
    """The scene of an image of a family, and that of its neighbour, of the same shapes: 0 and 1 are twins, 2 and 3.

    Every image has a near miss of its own, so that to find a caption's image takes more than a list of what it shows.
    """
    scene = make_scene(
        f"{settings.seed}/{family}/{number // 2}",
        image_size=settings.image_size,
        min_objects=settings.min_objects,
        max_objects=settings.max_objects,
    )
    twin = make_twin(scene, f"{scene.seed}/twin")
    return (scene, twin) if number % 2 == 0 else (twin, scene)


def make_twin(scene: Scene, seed: str) -> Scene:
    """A scene of the same shapes elsewhere; in most, two of them have also exchanged one of EXCHANGED.

    So that no list of what a picture shows tells the two apart: it takes what belongs to what, or what is where.

    Raises: ValueError if the shapes do not fit.
    """
    rng = random.Random(seed)
    shapes = list(scene.shapes)
    what = rng.choice((None, *EXCHANGED))
    if what is not None:
        places = combinations(range(len(shapes)), 2)
        pairs = [(first, second) for first, second in places if _differ(shapes[first], shapes[second], what)]
        if pairs:
            first, second = rng.choice(pairs)
            shapes[first], shapes[second] = _exchanged(shapes[first], shapes[second], what)
    return _compose(seed, rng, shapes, image_size=scene.image_size, texture=scene.texture)


def relation(one: Shape, other: Shape) -> str | None:
    """How `one` stands to `other`, where anybody would say so: wholly beside it, and more beside than beyond."""
    right, down = one.x - other.x, one.y - other.y
    if abs(right) > abs(down):
        if one.box[2] <= other.box[0]:
            return "left of"
        if one.box[0] >= other.box[2]:
            return "right of"
    if abs(down) > abs(right):
        if one.box[3] <= other.box[1]:
            return "above"
        if one.box[1] >= other.box[3]:
            return "below"
    return None


def is_larger(one: Shape, other: Shape) -> bool:
    """Whether `one` is of a larger size than `other`."""
    return SIZES[one.size] > SIZES[other.size]


def stands(one: Shape, words: str, other: Shape) -> bool:
    """Whether `one` stands so to `other` by its centre, the widest sense of the words."""
    return {
        "left of": one.x < other.x,
        "right of": one.x > other.x,
        "above": one.y < other.y,
        "below": one.y > other.y,
    }[words]


def _draw_sizes(rng: random.Random, count: int) -> list[str]:
    """The sizes of `count` shapes, the large ones first; small ones for as many as would fill the image."""
    sizes = rng.choices(list(SIZES), SIZE_WEIGHTS, k=count)
    smaller = {"large": "medium", "medium": "small"}
    for place in range(count):
        while sum(SIZES[size] ** 2 for size in sizes) > LARGEST_COVER * 128**2 and sizes[place] != "small":
            sizes[place] = smaller[sizes[place]]
    return sizes


def _draw_lots(rng: random.Random, size: str, *, image_size: int) -> Shape:
    """A shape of one size that has no place yet."""
    return Shape(
        shape=rng.choice(SHAPES),
        colour=rng.choice(list(COLOURS)),
        fill=rng.choices(FILLS, FILL_WEIGHTS)[0],
        size=size,
        x=0,
        y=0,
        side=_draw_side(rng, size, image_size=image_size),
        tilt=rng.uniform(-LARGEST_TILT, LARGEST_TILT),
    )


def _draw_side(rng: random.Random, size: str, *, image_size: int) -> float:
    return SIZES[size] * rng.uniform(0.9, 1.1) * image_size / 128


def _differ(one: Shape, other: Shape, what: str) -> bool:
    """Whether to exchange `what` makes two other shapes of them."""
    rest = [name for name in ("colour", "shape", "size") if name != what]
    return getattr(one, what) != getattr(other, what) and any(
        getattr(one, name) != getattr(other, name) for name in rest
    )


def _exchanged(one: Shape, other: Shape, what: str) -> tuple[Shape, Shape]:
    """The two with each other's value of `what`; a size has its side."""
    names = ("size", "side") if what == "size" else (what,)
    first, second = ({name: getattr(shape, name) for name in names} for shape in (one, other))
    return replace(one, **second), replace(other, **first)


def _compose(seed: str, rng: random.Random, shapes: Sequence[Shape], *, image_size: int, texture: str) -> Scene:
    """A scene of these shapes, each where it fits; the large ones find their places first.

    Raises: ValueError if they do not fit.
    """
    background = rng.choice(BACKGROUNDS)
    by_size = sorted(shapes, key=lambda shape: -shape.side)
    for _ in range(PLACING_TRIES):
        placed = _place(rng, by_size, image_size=image_size)
        if len(placed) == len(shapes):
            return Scene(seed, image_size, background, texture, tuple(placed))
    raise ValueError(f"{len(shapes)} shapes do not fit into a scene; set world.max_objects to 30 or less")


def _place(rng: random.Random, shapes: Sequence[Shape], *, image_size: int) -> list[Shape]:
    """The shapes up to the first that finds no place, wholly inside the image."""
    placed: list[Shape] = []
    for shape in shapes:
        reach = shape.side * 0.75
        for _ in range(PLACING_TRIES):
            x, y = (rng.uniform(reach, image_size - reach) for _ in range(2))
            there = replace(shape, x=x, y=y)
            if all(_overlap(there, other) <= LARGEST_OVERLAP for other in placed):
                placed.append(there)
                break
        else:
            break
    return placed


def _overlap(one: Shape, other: Shape) -> float:
    """Area that two boxes share, as a fraction of the smaller."""
    width = min(one.box[2], other.box[2]) - max(one.box[0], other.box[0])
    height = min(one.box[3], other.box[3]) - max(one.box[1], other.box[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one.box, other.box)]
    return width * height / min(areas)
