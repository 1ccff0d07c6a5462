"""A scene: coloured shapes on a textured background, where they are and how they stand to each other.

Lengths are pixels; y grows downwards. The same seed string gives the same scene.
"""

import math
import random
from dataclasses import dataclass
from functools import cached_property

SHAPES = ("circle", "square", "triangle")
COLOURS = {
    "red": (214, 48, 49),
    "orange": (238, 132, 32),
    "yellow": (247, 214, 72),
    "green": (46, 148, 80),
    "blue": (42, 96, 204),
    "purple": (134, 66, 168),
    "white": (246, 246, 240),
    "black": (34, 34, 40),
}
CLASSES = tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)
FILLS = ("solid", "striped", "spotted", "hollow")
SIZES = {"small": 18, "medium": 29, "large": 42}  # side of the shape at 128 pixels an image
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
FILL_WEIGHTS = (6, 2, 2, 2)
SIZE_WEIGHTS = (3, 4, 3)
LARGEST_TILT = math.radians(14)
LARGEST_OVERLAP = 0.06  # of the smaller of two boxes
PLACING_TRIES = 60


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


def make_scene(seed: str, *, image_size: int, min_objects: int, max_objects: int) -> Scene:
    """The scene of a seed, with min_objects to max_objects shapes that hardly overlap.

    Raises: ValueError if so many shapes do not fit.
    """
    rng = random.Random(seed)
    background, texture = rng.choice(BACKGROUNDS), rng.choice(TEXTURES)
    wanted = rng.randint(min_objects, max_objects)
    for _ in range(PLACING_TRIES):
        shapes = _place_shapes(rng, wanted=wanted, image_size=image_size)
        if len(shapes) == wanted:
            return Scene(seed, image_size, background, texture, tuple(shapes))
    raise ValueError(f"{wanted} shapes do not fit into a scene; set world.max_objects to 9 or less")


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


def _place_shapes(rng: random.Random, *, wanted: int, image_size: int) -> list[Shape]:
    """Up to `wanted` shapes, each where it fits; the large ones first, while there is room."""
    sizes = sorted(rng.choices(list(SIZES), SIZE_WEIGHTS, k=wanted), key=lambda size: -SIZES[size])
    if wanted > 7:
        sizes = [size if number < 3 else "small" if size == "large" else size for number, size in enumerate(sizes)]
    placed: list[Shape] = []
    for size in sizes:
        for _ in range(PLACING_TRIES):
            shape = _draw_lots(rng, size=size, image_size=image_size)
            if all(_overlap(shape, other) <= LARGEST_OVERLAP for other in placed):
                placed.append(shape)
                break
    return placed


def _draw_lots(rng: random.Random, *, size: str, image_size: int) -> Shape:
    """A shape of one size, wholly inside the image."""
    side = SIZES[size] * rng.uniform(0.9, 1.1) * image_size / 128
    reach = side * 0.75
    return Shape(
        shape=rng.choice(SHAPES),
        colour=rng.choice(list(COLOURS)),
        fill=rng.choices(FILLS, FILL_WEIGHTS)[0],
        size=size,
        x=rng.uniform(reach, image_size - reach),
        y=rng.uniform(reach, image_size - reach),
        side=side,
        tilt=rng.uniform(-LARGEST_TILT, LARGEST_TILT),
    )


def _overlap(one: Shape, other: Shape) -> float:
    """Area that two boxes share, as a fraction of the smaller."""
    width = min(one.box[2], other.box[2]) - max(one.box[0], other.box[0])
    height = min(one.box[3], other.box[3]) - max(one.box[1], other.box[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one.box, other.box)]
    return width * height / min(areas)
