"""Captions beside foils: sentences that differ from them in one respect and are false of the image.

Each two sentences stand twice: of one image the first is true and the second false, of another image the second is true
and the first false, of twins where that is possible. So whatever the text alone says of them is right of one in two.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from extract.drawn.balance import Candidate, choose_balanced
from extract.drawn.phrases import Noun
from extract.drawn.scene import OPPOSITES, Scene
from extract.drawn.sentences import Caption, say_relation
from extract.drawn.task_images import TaskImage

NUM_PROBES = 200  # of a kind, at most


class Probe(NamedTuple):
    """A row of the file: of the two texts the first is true of the image."""

    image: str  # file name without suffix
    caption: str
    foil: str
    kind: str


class Statement(NamedTuple):
    """How one thing stands to another."""

    one: Noun
    words: str
    other: Noun

    def said(self) -> Caption:
        return say_relation(self.one, self.words, self.other)


def make_probes(images: Sequence[TaskImage]) -> list[Probe]:
    """The probes of a split, by kind."""
    by_kind: dict[str, list[Candidate[Probe]]] = {}
    for image in images:
        for probe in _all_probes(image):
            asked = " | ".join(sorted((probe.caption, probe.foil)))
            by_kind.setdefault(probe.kind, []).append(Candidate(image, asked, probe.caption, probe))
    return [
        chosen.content
        for kind, candidates in sorted(by_kind.items())
        for chosen in choose_balanced(candidates, images[0].rng(kind), num_answers=2, count=NUM_PROBES)
    ]


def _all_probes(image: TaskImage) -> Iterator[Probe]:
    for kind, true, changed in sorted(set(_changes(image.scene)), key=str):
        names = {(noun.colour, noun.shape) for noun in (changed.one, changed.other)}
        if len(names) == 2 and not changed.said().could_be_said_of(image.scene):
            yield Probe(image.file_name.removesuffix(".jpg"), true.said().text, changed.said().text, kind)


def _changes(scene: Scene) -> Iterator[tuple[str, Statement, Statement]]:
    """Kind, a true statement and what becomes of it; a word that comes into it fits another shape of the scene."""
    for shape, words, other_shape in scene.beside:
        one, other = (Noun(each.colour, each.shape) for each in (shape, other_shape))
        true = Statement(one, words, other)
        yield "relation", true, true._replace(words=OPPOSITES[words])
        if one.colour != other.colour:
            swapped = replace(one, colour=other.colour), replace(other, colour=one.colour)
            yield "swapped_colours", true, Statement(swapped[0], words, swapped[1])
        sized = Statement(replace(one, size=shape.size), words, other)
        for third in scene.shapes:
            if third.colour != one.colour:
                yield "colour", true, true._replace(one=replace(one, colour=third.colour))
            if third.shape != one.shape:
                yield "shape", true, true._replace(one=replace(one, shape=third.shape))
            if third.size != shape.size:
                yield "size", sized, sized._replace(one=replace(sized.one, size=third.size))
