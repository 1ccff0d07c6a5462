"""Questions with four answers and four reasons in the format of VCR: objects of the image stand as numbers in the
text, and one of four is true."""

import random
from collections.abc import Sequence
from itertools import permutations

from extract.drawn.phrases import with_article
from extract.drawn.scene import CLASSES, RELATIONS, Scene, Shape, relation
from extract.drawn.task_images import TaskImage

Tokens = list[str | list[int]]

QUESTIONS_PER_IMAGE = 3


def make_vcr(images: Sequence[TaskImage], *, split: str) -> list[dict]:
    """The lines of one split's jsonl. Fields as VCR's; file names are relative to the images' folder."""
    lines: list[dict] = []
    for image in images:
        rng = image.rng("vcr")
        pairs = [
            (one, other)
            for one, other in permutations(range(len(image.scene.shapes)), 2)
            if relation(image.scene.shapes[one], image.scene.shapes[other])
        ]
        for number, (one, other) in enumerate(rng.sample(pairs, min(QUESTIONS_PER_IMAGE, len(pairs)))):
            lines.append(
                {
                    "movie": "drawn",
                    "objects": [shape.shape for shape in image.scene.shapes],
                    "interesting_scores": [0],
                    "answer_likelihood": "likely",
                    "img_fn": f"{split}/{image.file_name}",
                    "metadata_fn": f"{split}/{metadata_name(image)}",
                    **_question(image.scene, one, other, rng),
                    "img_id": f"{split}-{image.image_id}",
                    "question_number": number,
                    "annot_id": f"{split}-{len(lines)}",
                    "match_fold": f"{split}-0",
                    "match_index": len(lines),
                }
            )
    return lines


def metadata_name(image: TaskImage) -> str:
    """The file beside the image with its boxes and outlines."""
    return image.file_name.replace(".jpg", ".json")


def make_metadata(image: TaskImage) -> dict:
    """Boxes x1 y1 x2 y2 score, outlines (a list of polygons an object) and names, in the order of `objects`."""
    shapes = image.scene.shapes
    return {
        "boxes": [[*(round(value, 2) for value in shape.box), 1.0] for shape in shapes],
        "segms": [[[[round(x, 2), round(y, 2)] for x, y in shape.outline]] for shape in shapes],
        "names": [shape.shape for shape in shapes],
        "width": image.scene.image_size,
        "height": image.scene.image_size,
    }


def _question(scene: Scene, one: int, other: int, rng: random.Random) -> dict:
    """Where one object is, or what stands there, because of what stands beside it.

    Wrong looks have the right shape, which the names of the objects tell, and reasons say of the place what the answer
    says: only the image tells the four apart.
    """
    first, second = scene.shapes[one], scene.shapes[other]
    found = relation(first, second)
    assert found is not None
    asked: Tokens = ["Where", "is", [one], "?"]
    if rng.random() < 0.5:
        asked = ["What", "stands", "where", [one], "is", "?"]
        answers = [_looks(name, one, other, found) for name in (first.name, *_wrong_names(first, rng))]
    else:
        wrong = [words for words in RELATIONS if words != found]
        answers = [[[one], "is", *words.split(), [other], "."] for words in (found, *wrong)]
    names = (second.name, *_wrong_names(second, rng))
    reasons = [_reason(first.name, found, name, one, other) for name in names]
    answer_order, reason_order = (rng.sample(range(4), 4) for _ in range(2))
    return {
        "question": asked,
        "question_orig": _as_written(asked, scene),
        "answer_choices": [answers[place] for place in answer_order],
        "answer_orig": _as_written(answers[0], scene),
        "answer_label": answer_order.index(0),
        "answer_match_iter": [0, 1, 2, 3],
        "answer_sources": [0, 0, 0, 0],
        "rationale_choices": [reasons[place] for place in reason_order],
        "rationale_orig": _as_written(reasons[0], scene),
        "rationale_label": reason_order.index(0),
        "rationale_match_iter": [0, 1, 2, 3],
        "rationale_sources": [0, 0, 0, 0],
    }


def _looks(name: str, one: int, other: int, found: str) -> Tokens:
    """'[0] is a red circle , left of [1] .'"""
    return [[one], "is", *with_article(name).split(), ",", *found.split(), [other], "."]


def _reason(name: str, words: str, other_name: str, one: int, other: int) -> Tokens:
    """'[0] , a red circle , stands left of [1] , a blue square .'"""
    looks, other_looks = with_article(name).split(), with_article(other_name).split()
    return [[one], ",", *looks, ",", "stands", *words.split(), [other], ",", *other_looks, "."]


def _wrong_names(shape: Shape, rng: random.Random) -> list[str]:
    """Three names of its shape in other colours."""
    return rng.sample([name for name in CLASSES if name.endswith(f" {shape.shape}") and name != shape.name], 3)


def _as_written(tokens: Tokens, scene: Scene) -> str:
    """Text with '[circle1]' for the first object, as people wrote it."""
    words = [
        token
        if isinstance(token, str)
        else " and ".join(f"[{scene.shapes[index].shape}{index + 1}]" for index in token)
        for token in tokens
    ]
    return " ".join(words)
