"""Questions with four answers and four reasons in the format of VCR: objects of the image stand as numbers in the
text, and one of four is true.

The four are two times two: whatever stands in one of them stands in two, so that they are alike to who sees no image.
Objects are called by their classes. The texts speak of those that are the only ones of their class, and never of
classes: it is clear what a name means, and the names tell nothing.
"""

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import permutations, product
from typing import NamedTuple

from extract.drawn.balance import Candidate, choose_balanced
from extract.drawn.phrases import OPPOSITE_SIDES, sides
from extract.drawn.questions import known_by_name, stands_clearly
from extract.drawn.scene import OPPOSITES, SIZES, Scene, relation
from extract.drawn.task_images import TaskImage

Tokens = list[str | list[int]]

QUESTIONS_PER_IMAGE = 3  # on average
ACROSS = dict.fromkeys(("left of", "right of"), ("above", "below"))
ACROSS |= dict.fromkeys(("above", "below"), ("left of", "right of"))


class Choices(NamedTuple):
    """A question with four answers and four reasons, the true ones first."""

    kind: str  # questions of one kind have the same words in all their choices
    true: str  # which of them
    question: Tokens
    answers: list[Tokens]
    reasons: list[Tokens]


def make_vcr(images: Sequence[TaskImage], *, split: str) -> list[dict]:
    """The lines of one split's jsonl. Fields as VCR's; file names are relative to the images' folder."""
    lines: list[dict] = []
    of_images = choose_choices(images)
    for image in images:
        rng = image.rng("vcr")
        of_image = of_images[image.image_id]
        for number, choices in enumerate(rng.sample(of_image, len(of_image))):
            lines.append(
                {
                    "movie": "drawn",
                    "objects": [shape.name for shape in image.scene.shapes],
                    "interesting_scores": [0],
                    "answer_likelihood": "likely",
                    "img_fn": f"{split}/{image.file_name}",
                    "metadata_fn": f"{split}/{metadata_name(image)}",
                    **_fields(choices, image.scene, rng),
                    "img_id": f"{split}-{image.image_id}",
                    "question_number": number,
                    "annot_id": f"{split}-{len(lines)}",
                    "match_fold": f"{split}-0",
                    "match_index": len(lines),
                }
            )
    return lines


def choose_choices(images: Sequence[TaskImage]) -> dict[int, list[Choices]]:
    """Questions by image_id; half of them ask where something is, half how it looks, if the images hold so many."""
    of_images = defaultdict(list)
    for ask, num_true in ((_ask_where, 2), (_ask_looks, 8)):
        candidates = [
            Candidate(image, choices.kind, choices.true, choices)
            for image in images
            for choices in _one_each(ask(image.scene, image.rng(ask.__name__)))
        ]
        count = QUESTIONS_PER_IMAGE * len(images) // 2
        for chosen in choose_balanced(candidates, images[0].rng("vcr/all"), num_answers=num_true, count=count):
            of_images[chosen.image.image_id].append(chosen.content)
    return of_images


def metadata_name(image: TaskImage) -> str:
    """The file beside the image with its boxes and outlines."""
    return image.file_name.replace(".jpg", ".json")


def make_metadata(image: TaskImage) -> dict:
    """Boxes x1 y1 x2 y2 score, outlines (a list of polygons an object) and names, in the order of `objects`."""
    shapes = image.scene.shapes
    return {
        "boxes": [[*(round(value, 2) for value in shape.box), 1.0] for shape in shapes],
        "segms": [[[[round(x, 2), round(y, 2)] for x, y in shape.outline]] for shape in shapes],
        "names": [shape.name for shape in shapes],
        "width": image.scene.image_size,
        "height": image.scene.image_size,
    }


def _ask_where(scene: Scene, rng: random.Random) -> Iterator[Choices]:
    """Beside which of two others one object is, and on which side; because of a third one that stands between."""
    known = _known(scene)
    triples = list(permutations(known, 3))
    for one, other, wrong in rng.sample(triples, len(triples)):
        if (words := relation(scene.shapes[one], scene.shapes[other])) is None:
            continue
        for across in ACROSS[words]:
            false = ((words, wrong), (across, other), (across, wrong))
            if any(_stands(scene, one, *wrongly) is not False for wrongly in false):
                continue
            for beyond in rng.sample(ACROSS[words], 2):
                rest = [index for index in known if index not in (one, other)]
                sides = {
                    index: (_stands(scene, one, words, index), _stands(scene, index, words, other)) for index in rest
                }
                between = [index for index in rest if all(sides[index]) and _stands(scene, index, beyond, other)]
                outside = [index for index in rest if False in sides[index]]
                if between and outside:
                    thirds = rng.choice(between), rng.choice(outside)
                    yield Choices(
                        kind=" ".join(sorted((words, across))),
                        true=words,
                        question=["Where", "is", [one], "?"],
                        answers=[
                            [[one], "is", *said.split(), [index], "."]
                            for said, index in product((words, across), (other, wrong))
                        ],
                        reasons=[
                            _between(one, words, third, f"{words} and {side}", other)
                            for side, third in product((beyond, OPPOSITES[beyond]), thirds)
                        ],
                    )


def _ask_looks(scene: Scene, rng: random.Random) -> Iterator[Choices]:
    """What size an object has and on which side of the image it is; because another one is as big, and beside it."""
    known = _known(scene)
    triples = list(permutations(known, 3))
    for one, like, unlike in rng.sample(triples, len(triples)):
        shape, same, other = (scene.shapes[index] for index in (one, like, unlike))
        words = relation(same, shape)
        if same.size != shape.size or other.size == shape.size or words is None:
            continue
        for size, side in product([size for size in SIZES if size != shape.size], sides(shape, scene)):
            all_sides = side, OPPOSITE_SIDES[side]
            yield Choices(
                kind=" ".join([*sorted((shape.size, size)), *sorted(all_sides), *sorted((words, OPPOSITES[words]))]),
                true=f"{shape.size} {side} {words}",
                question=["What", "does", [one], "look", "like", "?"],
                answers=[
                    [[one], "is", said_size, "and", *said_side.split(), "."]
                    for said_size, said_side in product((shape.size, size), all_sides)
                ],
                reasons=[
                    [[one], "is", "as", "big", "as", [index], ",", "which", "is", *said.split(), "it", "."]
                    for said, index in product((words, OPPOSITES[words]), (like, unlike))
                ],
            )


def _between(one: int, words: str, third: int, other_words: str, other: int) -> Tokens:
    """'[0] is left of [2] , which is left of and above [1] .'"""
    return [[one], "is", *words.split(), [third], ",", "which", "is", *other_words.split(), [other], "."]


def _one_each(all_choices: Iterator[Choices]) -> list[Choices]:
    """The first of each kind and truth."""
    first: dict[tuple[str, str], Choices] = {}
    for choices in all_choices:
        first.setdefault((choices.kind, choices.true), choices)
    return list(first.values())


def _known(scene: Scene) -> list[int]:
    """The objects that are the only ones of their class."""
    known = known_by_name(scene)
    return [index for index, shape in enumerate(scene.shapes) if shape in known]


def _stands(scene: Scene, one: int, words: str, other: int) -> bool | None:
    return stands_clearly(scene.shapes[one], words, scene.shapes[other], scene=scene)


def _fields(choices: Choices, scene: Scene, rng: random.Random) -> dict:
    """The texts with their choices in random order."""
    answer_order, reason_order = (rng.sample(range(4), 4) for _ in range(2))
    return {
        "question": choices.question,
        "question_orig": _as_written(choices.question, scene),
        "answer_choices": [choices.answers[place] for place in answer_order],
        "answer_orig": _as_written(choices.answers[0], scene),
        "answer_label": answer_order.index(0),
        "answer_match_iter": [0, 1, 2, 3],
        "answer_sources": [0, 0, 0, 0],
        "rationale_choices": [choices.reasons[place] for place in reason_order],
        "rationale_orig": _as_written(choices.reasons[0], scene),
        "rationale_label": reason_order.index(0),
        "rationale_match_iter": [0, 1, 2, 3],
        "rationale_sources": [0, 0, 0, 0],
    }


def _as_written(tokens: Tokens, scene: Scene) -> str:
    """Text with '[red circle1]' for the first object, as people wrote it."""
    words = [
        token if isinstance(token, str) else " and ".join(f"[{scene.shapes[index].name}{index + 1}]" for index in token)
        for token in tokens
    ]
    return " ".join(words)
