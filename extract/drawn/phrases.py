"""Names of shapes, as sentences use them: 'small striped red circle', 'in the top left corner', 'three'.

The name of a class ('red circle', 'red circles') always stands in one piece, after the size and the fill.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from extract.drawn.scene import CLASSES, Scene, Shape

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
PLACES = (
    ("in the top left corner", "at the top", "in the top right corner"),
    ("on the left", "in the middle", "on the right"),
    ("in the bottom left corner", "at the bottom", "in the bottom right corner"),
)
OPPOSITE_SIDES = {
    "on the left": "on the right",
    "on the right": "on the left",
    "at the top": "at the bottom",
    "at the bottom": "at the top",
}
SYNONYMS = {"left of": "to the left of", "right of": "to the right of"}
NAMED_CLASS = re.compile(rf"\b(?:{'|'.join(CLASSES)})(?=s?\b)")
SIZE_SHARE = 0.65  # of the mentions of a shape that tell its size
FILL_SHARE = 0.25
SYNONYM_SHARE = 0.2  # of the relations that have one, those that are said by it


@dataclass(frozen=True)
class Noun:
    """What is said of a shape; null: not said."""

    colour: str
    shape: str
    size: str | None = None
    fill: str | None = None

    def __str__(self) -> str:
        return " ".join(word for word in (self.size, self.fill, self.colour, self.shape) if word)

    def fits(self, shape: Shape) -> bool:
        """Whether a shape may be called so."""
        return (
            (self.colour, self.shape) == (shape.colour, shape.shape)
            and self.size in (None, shape.size)
            and self.fill in (None, shape.fill)
        )


def describe(shape: Shape, rng: random.Random, *, size: bool = True) -> Noun:
    """A shape with what one chooses to say of it: 'red circle', 'large red circle', 'large striped red circle'."""
    is_size_said = size and rng.random() < SIZE_SHARE
    is_fill_said = shape.fill != "solid" and rng.random() < FILL_SHARE
    return Noun(shape.colour, shape.shape, shape.size if is_size_said else None, shape.fill if is_fill_said else None)


def with_article(noun: str | Noun) -> str:
    """'a red circle', 'an image'."""
    return f"{'an' if str(noun)[0] in 'aeiou' else 'a'} {noun}"


def in_words(relation: str, rng: random.Random) -> str:
    """'left of', or, less often, 'to the left of'."""
    return SYNONYMS.get(relation, relation) if rng.random() < SYNONYM_SHARE else relation


def number_word(number: int) -> str:
    """'three', and digits above ten."""
    return NUMBERS[number] if number < len(NUMBERS) else str(number)


def listing(parts: Sequence[str]) -> str:
    """'x', 'x and y', 'x , y and z'."""
    return " and ".join(filter(None, [" , ".join(parts[:-1]), parts[-1]]))


def place(shape: Shape, scene: Scene) -> str:
    """In which ninth of the image the centre of a shape lies."""
    column, row = _thirds(shape, scene)
    return PLACES[row][column]


def sides(shape: Shape, scene: Scene) -> list[str]:
    """On which sides of the image a shape is, by the thirds in which its centre lies: 'on the left', 'at the top'."""
    column, row = _thirds(shape, scene)
    across, down = (PLACES[1][column], PLACES[row][1])
    return [side for side in (across, down) if side in OPPOSITE_SIDES]


def named_classes(sentence: str) -> set[str]:
    """The classes that a sentence names."""
    return set(NAMED_CLASS.findall(sentence))


def _thirds(shape: Shape, scene: Scene) -> tuple[int, int]:
    """The column and the row of thirds of the image in which the centre of a shape lies, each 0 to 2."""
    column, row = (min(int(3 * centre / scene.image_size), 2) for centre in (shape.x, shape.y))
    return column, row
