"""Captions that are true of a scene, as Conceptual Captions has them: lower case, tokenised, 4 to 40 words.

A shape is said to be there ('a red circle': at least one), a plural is exact ('two red circles': two and no more), and
a size is one of three. Each caption names at least one class of the scene, and says something that is false of the
scene's near miss, if it has one.
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import permutations
from typing import NamedTuple

from extract.drawn.phrases import Noun, describe, in_words, listing, number_word, place, with_article
from extract.drawn.scene import Beside, Scene, Shape, is_larger, stands

OPENINGS = ("a picture of", "a drawing of", "this shows", "we see", "one sees", "an image with")
OPENING_SHARE = 0.15
FULL_STOP_SHARE = 0.15
FORM_TRIES = 60


class Caption(NamedTuple):
    """A sentence, and whether it could be said of a scene, where words are taken as widely as they can be."""

    text: str
    could_be_said_of: Callable[[Scene], bool]


Form = Callable[[Scene, random.Random], Caption | None]


def make_captions(scene: Scene, rng: random.Random, *, count: int, others: Sequence[Scene] = ()) -> list[str]:
    """`count` different true captions of a scene, as a rule none that could be said of one of `others`.

    Raises: ValueError if there is not so much to say.
    """
    captions: dict[str, None] = {}
    for _ in range(40 * count):
        captions.setdefault(make_caption(scene, rng, others=others))
        if len(captions) == count:
            return list(captions)
    raise ValueError(f"{count} different captions of one scene are too many; lower world.captions_per_image")


def make_caption(scene: Scene, rng: random.Random, *, others: Sequence[Scene] = ()) -> str:
    """One true caption, of a form that the scene allows; the last one tried where all could be said of `others`."""
    said = None
    for form in rng.choices(list(FORMS), list(FORMS.values()), k=FORM_TRIES):
        caption = form(scene, rng)
        said = caption or said
        if caption and not any(caption.could_be_said_of(other) for other in others):
            break
    assert said is not None, f"no caption fits scene {scene.seed}"  # a listing always does
    opening = f"{rng.choice(OPENINGS)} " if rng.random() < OPENING_SHARE else ""
    return f"{opening}{said.text}{' .' if rng.random() < FULL_STOP_SHARE else ''}"


def _related(scene: Scene, rng: random.Random) -> Caption | None:
    """'a small red circle left of a blue square'."""
    return _say(rng.choice(scene.beside), rng) if scene.beside else None


def _related_twice(scene: Scene, rng: random.Random) -> Caption | None:
    """'a red circle left of a blue square and above a green triangle'."""
    pairs = rng.sample(scene.beside, len(scene.beside))
    for first in pairs:
        for second in pairs:
            is_another = second.other.name != first.other.name and second.words != first.words
            if second.one is first.one and is_another:
                return _say_twice(first, second, rng)
    return None


def _two_relations(scene: Scene, rng: random.Random) -> Caption | None:
    """'a red circle left of a blue square , a green triangle above a pink circle'."""
    first, *rest = rng.sample(scene.beside, len(scene.beside)) or [None]
    for second in rest:
        if second.one is not first.one and {second.one, second.other} != {first.one, first.other}:
            return _all_of([_say(first, rng), _say(second, rng)], " , ".join)
    return None


def _listed(scene: Scene, rng: random.Random) -> Caption:
    """'a red circle , a large blue square and a green triangle'."""
    one_each = list({shape.name: shape for shape in rng.sample(scene.shapes, len(scene.shapes))}.values())
    return _all_of([_there_is(shape, rng) for shape in one_each[: rng.randint(2, 4)]], listing)


def _counted(scene: Scene, rng: random.Random) -> Caption | None:
    """'two red circles and a blue square'."""
    counts = Counter(shape.name for shape in scene.shapes)
    several = [name for name, count in counts.items() if count > 1]
    if not several:
        return None
    name = rng.choice(several)
    others = [shape for shape in scene.shapes if shape.name != name]
    parts = [
        Caption(
            f"{number_word(counts[name])} {name}s",
            lambda other: sum(shape.name == name for shape in other.shapes) == counts[name],
        )
    ]
    if others:
        parts.append(_there_is(rng.choice(others), rng))
    return _all_of(rng.sample(parts, len(parts)), listing)


def _counted_all(scene: Scene, rng: random.Random) -> Caption:
    """'five shapes , among them a red circle and a blue square'."""
    number = len(scene.shapes)
    shapes = list({shape.name: shape for shape in rng.sample(scene.shapes, number)}.values())[:2]
    total = Caption(
        f"{number_word(number)} shape{'s' if number > 1 else ''}", lambda other: len(other.shapes) == number
    )
    among = _all_of([_there_is(shape, rng) for shape in shapes], listing)
    return _all_of([total, among], " , among them ".join)


def _placed(scene: Scene, rng: random.Random) -> Caption:
    """'a red circle in the top left corner and a blue square in the middle'."""
    return _all_of(
        [_there_is_at(shape, scene, rng) for shape in rng.sample(scene.shapes, min(2, len(scene.shapes)))], listing
    )


def _compared(scene: Scene, rng: random.Random) -> Caption | None:
    """'a red circle bigger than a blue square'."""
    pairs = [(one, other) for one, other in permutations(scene.shapes, 2) if is_larger(one, other)]
    pairs = [(one, other) for one, other in pairs if one.name != other.name]
    if not pairs:
        return None
    one, other = rng.choice(pairs)
    large, small = (describe(shape, rng, size=False) for shape in (one, other))
    first, words, second = (large, "bigger", small) if rng.random() < 0.5 else (small, "smaller", large)
    return Caption(
        f"{with_article(first)} {words} than {with_article(second)}",
        lambda scene: any(
            large.fits(one) and small.fits(other) and is_larger(one, other)
            for one, other in permutations(scene.shapes, 2)
        ),
    )


def _on_background(scene: Scene, rng: random.Random) -> Caption:
    """'a red circle and a blue square on a dotted background'."""
    ground = Caption(f"a {scene.texture} background", lambda other: other.texture == scene.texture)
    return _all_of([_listed(scene, rng), ground], " on ".join)


def _between(scene: Scene, rng: random.Random) -> Caption | None:
    """'a red circle between a blue square and a green triangle'."""
    pairs = rng.sample(scene.beside, len(scene.beside))
    for one, first, middle in pairs:
        for start, second, other in pairs:
            if start is middle and second == first and other.name != one.name:
                return _say_between(middle, rng.sample((one, other), 2), rng)
    return None


def _there_is(shape: Shape, rng: random.Random) -> Caption:
    """'a large blue square'."""
    noun = describe(shape, rng)
    return Caption(with_article(noun), lambda scene: any(map(noun.fits, scene.shapes)))


def _there_is_at(shape: Shape, scene: Scene, rng: random.Random) -> Caption:
    """'a large blue square in the middle'."""
    noun, where = describe(shape, rng), place(shape, scene)
    return Caption(
        f"{with_article(noun)} {where}",
        lambda scene: any(noun.fits(shape) and place(shape, scene) == where for shape in scene.shapes),
    )


def _say(beside: Beside, rng: random.Random) -> Caption:
    """A relation in words."""
    one, other = describe(beside.one, rng), describe(beside.other, rng)
    return Caption(
        f"{with_article(one)} {in_words(beside.words, rng)} {with_article(other)}",
        lambda scene: any(_any_stands(shape, beside.words, other, scene) for shape in scene.shapes if one.fits(shape)),
    )


def _say_twice(first: Beside, second: Beside, rng: random.Random) -> Caption:
    """Two relations of one shape in words."""
    nouns = [describe(shape, rng) for shape in (first.one, first.other, second.other)]
    relations = list(zip((first.words, second.words), nouns[1:], strict=True))
    said = [f"{in_words(words, rng)} {with_article(noun)}" for words, noun in relations]
    return Caption(
        f"{with_article(nouns[0])} {' and '.join(said)}",
        lambda scene: any(
            all(_any_stands(shape, words, noun, scene) for words, noun in relations)
            for shape in scene.shapes
            if nouns[0].fits(shape)
        ),
    )


def _say_between(middle: Shape, ends: Sequence[Shape], rng: random.Random) -> Caption:
    """That one shape stands between two others in words."""
    noun, *of_ends = (describe(shape, rng) for shape in (middle, *ends))
    return Caption(
        f"{with_article(noun)} between {listing([with_article(end) for end in of_ends])}",
        lambda scene: _any_between(noun, of_ends[0], of_ends[1], scene),
    )


def _all_of(parts: Sequence[Caption], join: Callable[[list[str]], str]) -> Caption:
    """All that the parts say."""
    return Caption(
        join([part.text for part in parts]), lambda scene: all(part.could_be_said_of(scene) for part in parts)
    )


def _any_stands(one: Shape, words: str, noun: Noun, scene: Scene) -> bool:
    """Whether `one` stands so to something that the noun fits."""
    return any(noun.fits(other) and stands(one, words, other) for other in scene.shapes if other is not one)


def _any_between(middle: Noun, first: Noun, second: Noun, scene: Scene) -> bool:
    """Whether something of the first noun stands between two others."""
    ends = [(one, other) for one, other in permutations(scene.shapes, 2) if first.fits(one) and second.fits(other)]
    return any(
        stands(shape, words, one) != stands(shape, words, other)
        for shape in scene.shapes
        if middle.fits(shape)
        for one, other in ends
        if shape not in (one, other)
        for words in ("left of", "above")
    )


FORMS: dict[Form, int] = {
    _related: 9,
    _related_twice: 3,
    _two_relations: 2,
    _listed: 3,
    _counted: 2,
    _counted_all: 1,
    _placed: 3,
    _compared: 2,
    _on_background: 1,
    _between: 2,
}
