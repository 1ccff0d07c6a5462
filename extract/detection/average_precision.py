"""How well detected boxes agree with the true ones: average precision at an overlap of a half (AP50)."""

import contextlib
import io
from dataclasses import dataclass

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

MIN_OVERLAP = 0.5
MOST_FOUND = 100  # boxes of a class in an image, those with the highest scores


@dataclass(frozen=True, kw_only=True, eq=False)
class Boxes:
    """The boxes of one image, found or true."""

    boxes: np.ndarray  # [N, 4] x1 y1 x2 y2
    labels: np.ndarray  # [N] int
    scores: np.ndarray  # [N]; of true boxes: not looked at


def average_precision(found: list[Boxes], true: list[Boxes], *, labels: list[int]) -> dict[int, float | None]:
    """For each of `labels`, the mean over 101 recalls of the best precision at that recall or above, 0 to 1; None for
    a class without a true box.

    By COCO's own evaluation, for boxes of all sizes and without crowds.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # on which it counts its steps
        evaluation = COCOeval(as_coco(true, labels), as_coco(found, labels), "bbox")
        asked = evaluation.params
        asked.catIds, asked.iouThrs, asked.maxDets = labels, np.array([MIN_OVERLAP]), [MOST_FOUND]
        asked.areaRng, asked.areaRngLbl = asked.areaRng[:1], asked.areaRngLbl[:1]  # the first is all sizes
        evaluation.evaluate()
        evaluation.accumulate()
    precisions = evaluation.eval["precision"][0, :, :, 0, 0]  # [recalls, classes], -1 where there is no true box
    return {
        label: float(at_recalls.mean()) if at_recalls[0] >= 0 else None
        for label, at_recalls in zip(labels, precisions.T, strict=True)
    }


def as_coco(images: list[Boxes], labels: list[int]) -> COCO:
    """Boxes as COCO's evaluation takes them."""
    coco = COCO()
    annotations: list[dict] = []
    for place, image in enumerate(images):
        for box, label, score in zip(image.boxes.tolist(), image.labels.tolist(), image.scores.tolist(), strict=True):
            x1, y1, x2, y2 = box
            width, height = x2 - x1, y2 - y1
            annotations.append(
                {
                    "id": len(annotations) + 1,  # 0 is taken for no match
                    "image_id": place,
                    "category_id": label,
                    "bbox": [x1, y1, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                    "score": score,
                }
            )
    coco.dataset = {
        "images": [{"id": place} for place in range(len(images))],
        "categories": [{"id": label} for label in labels],
        "annotations": annotations,
    }
    coco.createIndex()
    return coco
