"""Reads a caption back and looks for what it says among plain numbers: no code of the generator's sentences."""

import re
from itertools import permutations

from extract.drawn.scene import Scene

NOUN = r"an? (?:(small|medium|large) )?(?:(solid|striped|spotted|hollow) )?(\w+) (circle|square|triangle)"
SAME = r"an? (?:\w+ ){0,3}(?:circle|square|triangle)"
BESIDE = r"(left of|to the left of|right of|to the right of|above|below)"
OPENING = r"^(?:a picture of|a drawing of|this shows|we see|one sees|an image with) "
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
COUNT = {word: number for number, word in enumerate(WORDS)} | {str(number): number for number in range(11, 19)}


def fits(shape, noun: str) -> bool:
    size, fill, colour, form = re.fullmatch(NOUN, noun).groups()
    return (shape.colour, shape.shape) == (colour, form) and size in (None, shape.size) and fill in (None, shape.fill)


def stands(one, words: str, other) -> bool:
    side = words.removeprefix("to the ").removesuffix(" of")
    right, down = one.x - other.x, one.y - other.y
    horizontal = abs(right) > abs(down)
    return {
        "left": horizontal and right < 0,
        "right": horizontal and right > 0,
        "above": not horizontal and down < 0,
        "below": not horizontal and down > 0,
    }[side]


def in_place(shape, words: str, size: int) -> bool:
    column = 0 if "left" in words else 2 if "right" in words else 1
    row = 0 if "top" in words else 2 if "bottom" in words else 1
    return column * size / 3 <= shape.x <= (column + 1) * size / 3 and row * size / 3 <= shape.y <= (row + 1) * size / 3


def on_side(shape, words: str, size: int) -> bool:
    centre = shape.y if words in ("at the top", "at the bottom") else shape.x
    return centre <= size / 3 if words in ("at the top", "on the left") else centre >= 2 * size / 3


def holds(part: str, scene: Scene) -> bool:
    """Whether one part of a caption, up to a comma, is true."""
    shapes = scene.shapes
    pairs = list(permutations(shapes, 2))
    if match := re.fullmatch(rf"({SAME}) {BESIDE} ({SAME})(?: and {BESIDE} ({SAME}))?", part):
        one, first, other, second, third = match.groups()
        found = [a for a, b in pairs if fits(a, one) and stands(a, first, b) and fits(b, other)]
        return any(second is None or any(stands(a, second, b) and fits(b, third) for b in shapes) for a in found)
    if match := re.fullmatch(rf"({SAME}) (bigger|smaller) than ({SAME})", part):
        one, words, other = match.groups()
        sign = 1 if words == "bigger" else -1
        return any(fits(a, one) and fits(b, other) and sign * a.side > sign * b.side for a, b in pairs)
    if match := re.fullmatch(rf"({SAME}) between ({SAME}) and ({SAME})", part):
        middle, one, other = match.groups()
        triples = [triple for triple in permutations(shapes, 3) if all(map(fits, triple, (middle, one, other)))]
        return any(min(b.x, c.x) < a.x < max(b.x, c.x) or min(b.y, c.y) < a.y < max(b.y, c.y) for a, b, c in triples)
    return all(holds_alone(piece, scene) for piece in part.split(" and "))


def holds_alone(piece: str, scene: Scene) -> bool:
    if match := re.fullmatch(r"(\w+) shapes?", piece):
        return len(scene.shapes) == COUNT[match[1]]
    if match := re.fullmatch(r"(\w+) (\w+) (circle|square|triangle)s", piece):
        return sum((shape.colour, shape.shape) == match.groups()[1:] for shape in scene.shapes) == COUNT[match[1]]
    noun, place = re.fullmatch(rf"({SAME})((?: in| at| on) the [\w ]+)?", piece).groups()
    return any(fits(shape, noun) and (not place or in_place(shape, place, scene.image_size)) for shape in scene.shapes)


def is_true(caption: str, scene: Scene) -> bool:
    """Whether all that a caption says is so. Raises AttributeError where it cannot be read."""
    body = re.sub(OPENING, "", caption).removesuffix(" .").replace("among them ", "")
    if match := re.search(r" on a (\w+) background$", body):
        if match[1] != scene.texture:
            return False
        body = body.removesuffix(match[0])
    return all(holds(part, scene) for part in body.split(" , "))
