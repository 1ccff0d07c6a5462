"""How well detected boxes agree with the true ones: average precision at an overlap of a half (AP50)."""

from dataclasses import dataclass

import numpy as np

from extract.overlap import overlaps

MIN_OVERLAP = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Boxes:
    """The boxes of one image, found or true."""

    boxes: np.ndarray  # [N, 4] x1 y1 x2 y2
    labels: np.ndarray  # [N] int
    scores: np.ndarray  # [N]; of true boxes: not looked at


def average_precision(found: list[Boxes], true: list[Boxes], *, labels: list[int]) -> dict[int, float | None]:
    """For each of `labels`, the mean over 101 recalls of the best precision at that recall or above, 0 to 1; None for
    a class without a true box.

    In the order of their scores, found boxes take the true box of their image and class with which they overlap most,
    at least by a half, if no better one took it; else they are wrong.

    Source: COCO's evaluation, for boxes of all sizes and without crowds.
    """
    return {label: _of_class(found, true, label) for label in labels}


def _of_class(found: list[Boxes], true: list[Boxes], label: int) -> float | None:
    num_true = sum(int((image.labels == label).sum()) for image in true)
    if not num_true:
        return None
    judged = [
        _judge(detected.boxes[chosen], detected.scores[chosen], truth.boxes[truth.labels == label])
        for detected, truth in zip(found, true, strict=True)
        if (chosen := detected.labels == label).any()
    ]
    if not judged:
        return 0.0
    scores, hits = (np.concatenate(column) for column in zip(*judged, strict=True))
    num_hits = np.cumsum(hits[np.argsort(-scores, kind="stable")])
    precision = num_hits / np.arange(1, len(num_hits) + 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(num_hits / num_true, np.linspace(0, 1, 101), side="left")
    return float(np.append(best_from_here, 0.0)[places].mean())


def _judge(boxes: np.ndarray, scores: np.ndarray, true_boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores in descending order, and for each whether it is right."""
    order = np.argsort(-scores, kind="stable")
    left = overlaps(boxes[order], true_boxes)
    hits = np.zeros(len(order), bool)
    for row, overlap in enumerate(left):
        if len(overlap) and overlap[best := int(overlap.argmax())] >= MIN_OVERLAP:
            hits[row] = True
            left[:, best] = 0
    return scores[order], hits
