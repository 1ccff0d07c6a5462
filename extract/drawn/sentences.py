"""Captions that are true of a scene, as Conceptual Captions has them: lower case, tokenised, 4 to 40 words.

A shape is said to be there ('a red circle': at least one), a plural is exact ('two red circles': two and no more), and
a size is one of three. Each caption names at least one class of the scene.
"""

import random
from collections import Counter
from collections.abc import Callable
from itertools import permutations

from extract.drawn.phrases import RELATION_WORDS, describe, listing, number_word, place, with_article
from extract.drawn.scene import Scene, Shape, is_larger, relation

Form = Callable[[Scene, random.Random], str | None]

OPENINGS = ("a picture of", "a drawing of", "there is", "this shows", "we see", "an image with")
OPENING_SHARE = 0.3
FULL_STOP_SHARE = 0.3
FORM_TRIES = 40


def make_captions(scene: Scene, rng: random.Random, *, count: int) -> list[str]:
    """`count` different true captions of a scene.

    Raises: ValueError if there is not so much to say.
    """
    captions: dict[str, None] = {}
    for _ in range(40 * count):
        captions.setdefault(make_caption(scene, rng))
        if len(captions) == count:
            return list(captions)
    raise ValueError(f"{count} different captions of one scene are too many; lower world.captions_per_image")


def make_caption(scene: Scene, rng: random.Random) -> str:
    """One true caption, of a form that the scene allows."""
    for form in rng.choices(list(FORMS), list(FORMS.values()), k=FORM_TRIES):
        if body := form(scene, rng):
            opening = f"{rng.choice(OPENINGS)} " if rng.random() < OPENING_SHARE else ""
            return f"{opening}{body}{' .' if rng.random() < FULL_STOP_SHARE else ''}"
    raise AssertionError(f"no caption fits scene {scene.seed}")  # a listing always does


def related_pairs(scene: Scene) -> list[tuple[Shape, str, Shape]]:
    """Every ordered pair of shapes of different classes of which one stands clearly beside the other."""
    pairs = [
        (one, relation(one, other), other) for one, other in permutations(scene.shapes, 2) if one.name != other.name
    ]
    return [(one, found, other) for one, found, other in pairs if found]


def _related(scene: Scene, rng: random.Random) -> str | None:
    """'a small red circle left of a blue square'."""
    if not (pairs := related_pairs(scene)):
        return None
    return _say(*rng.choice(pairs), rng)


def _related_twice(scene: Scene, rng: random.Random) -> str | None:
    """'a red circle left of a blue square and above a green triangle'."""
    pairs = related_pairs(scene)
    rng.shuffle(pairs)
    for one, first, other in pairs:
        rest = [pair for pair in pairs if pair[0] is one and pair[2].name != other.name and pair[1] != first]
        if rest:
            _, second, third = rest[0]
            words = rng.choice(RELATION_WORDS[second])
            return f"{_say(one, first, other, rng)} and {words} {with_article(describe(third, rng))}"
    return None


def _two_relations(scene: Scene, rng: random.Random) -> str | None:
    """'a red circle left of a blue square , a green triangle above an orange circle'."""
    pairs = related_pairs(scene)
    rng.shuffle(pairs)
    for pair in pairs[1:]:
        if pair[0] is not pairs[0][0] and {pair[0], pair[2]} != {pairs[0][0], pairs[0][2]}:
            return f"{_say(*pairs[0], rng)} , {_say(*pair, rng)}"
    return None


def _listed(scene: Scene, rng: random.Random) -> str:
    """'a red circle , a large blue square and a green triangle'."""
    one_each = list({shape.name: shape for shape in rng.sample(scene.shapes, len(scene.shapes))}.values())
    shapes = one_each[: rng.randint(2, 4)]
    return listing([with_article(describe(shape, rng)) for shape in shapes])


def _counted(scene: Scene, rng: random.Random) -> str | None:
    """'two red circles and a blue square'."""
    counts = Counter(shape.name for shape in scene.shapes)
    several = [name for name, count in counts.items() if count > 1]
    if not several:
        return None
    name = rng.choice(several)
    others = [shape for shape in scene.shapes if shape.name != name]
    parts = [f"{number_word(counts[name])} {name}s"]
    if others:
        parts.append(with_article(describe(rng.choice(others), rng)))
    rng.shuffle(parts)
    return listing(parts)


def _counted_all(scene: Scene, rng: random.Random) -> str:
    """'five shapes , among them a red circle and a blue square'."""
    shapes = list({shape.name: shape for shape in rng.sample(scene.shapes, len(scene.shapes))}.values())[:2]
    return (
        f"{number_word(len(scene.shapes))} shape{'s' if len(scene.shapes) > 1 else ''} , among them "
        f"{listing([with_article(describe(shape, rng)) for shape in shapes])}"
    )


def _placed(scene: Scene, rng: random.Random) -> str:
    """'a red circle in the top left corner and a blue square in the middle'."""
    shapes = rng.sample(scene.shapes, min(2, len(scene.shapes)))
    return listing([f"{with_article(describe(shape, rng))} {place(shape, scene)}" for shape in shapes])


def _compared(scene: Scene, rng: random.Random) -> str | None:
    """'a red circle bigger than a blue square'."""
    pairs = [(one, other) for one, other in permutations(scene.shapes, 2) if is_larger(one, other)]
    pairs = [(one, other) for one, other in pairs if one.name != other.name]
    if not pairs:
        return None
    one, other = rng.choice(pairs)
    large, small = (with_article(describe(shape, rng, size=False)) for shape in (one, other))
    return f"{large} bigger than {small}" if rng.random() < 0.5 else f"{small} smaller than {large}"


def _on_background(scene: Scene, rng: random.Random) -> str:
    """'a red circle and a blue square on a dotted background'."""
    return f"{_listed(scene, rng)} on a {scene.texture} background"


def _between(scene: Scene, rng: random.Random) -> str | None:
    """'a red circle between a blue square and a green triangle'."""
    pairs = related_pairs(scene)
    rng.shuffle(pairs)
    for one, first, middle in pairs:
        for start, second, other in pairs:
            if start is middle and second == first and other.name != one.name:
                ends = [with_article(describe(shape, rng)) for shape in rng.sample((one, other), 2)]
                return f"{with_article(describe(middle, rng))} between {listing(ends)}"
    return None


def _say(one: Shape, found: str, other: Shape, rng: random.Random) -> str:
    """A relation in words."""
    words = rng.choice(RELATION_WORDS[found])
    return f"{with_article(describe(one, rng))} {words} {with_article(describe(other, rng))}"


FORMS: dict[Form, int] = {
    _related: 6,
    _related_twice: 4,
    _two_relations: 3,
    _listed: 4,
    _counted: 3,
    _counted_all: 2,
    _placed: 3,
    _compared: 1,
    _on_background: 2,
    _between: 2,
}
