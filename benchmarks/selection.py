"""Choosing an image's regions, leaving early or not.

300 proposals about 20 objects, 1601 classes. The other way calls torchvision's compiled NMS once a class, as the
original script calls Caffe's, and goes on by the same rule; both must choose the same boxes with equal scores.
"""

from dataclasses import dataclass
from itertools import cycle

import numpy as np
import pytest
import torch
from torchvision.ops import nms

from benchmarks.clock import Clock
from extract.regions.selection import select_regions
from extract.settings import SelectionSettings

NUM_PROPOSALS, NUM_OBJECTS, NUM_CLASSES = 300, 20, 1601
SETTINGS = SelectionSettings(threshold=0.2, min_regions=10, max_regions=36, nms_iou=0.3)
KINDS = {"sure": 14.0, "unsure": 7.0, "clueless": 0.0}  # how far the logit of an object's class may stand out

Proposals = tuple[np.ndarray, np.ndarray]  # boxes [P, 4] and class probabilities [P, C], float32, background first
Choice = tuple[np.ndarray, np.ndarray]  # indices [K] and scores [K]


@dataclass(frozen=True)
class Detections:
    kind: str
    images: list[Proposals]
    expected: list[Choice]


@pytest.fixture(scope="module", params=KINDS)
def detections(request, quick) -> Detections:
    generator = np.random.default_rng(0)
    images = [random_proposals(generator, margin=KINDS[request.param]) for _ in range(1 if quick else 5)]
    return Detections(request.param, images, [visit_every_class(*image) for image in images])


def random_proposals(generator: np.random.Generator, *, margin: float) -> Proposals:
    """Proposals about random objects."""
    corners = generator.uniform(0, 400, (NUM_OBJECTS, 2))
    objects = np.concatenate([corners, corners + generator.uniform(40, 200, corners.shape)], axis=1)
    of_object = generator.integers(NUM_OBJECTS, size=NUM_PROPOSALS)
    boxes = objects[of_object] + generator.normal(0, 10, (NUM_PROPOSALS, 4))
    logits = generator.normal(0, 1, (NUM_PROPOSALS, NUM_CLASSES))
    classes = generator.integers(1, NUM_CLASSES, NUM_OBJECTS)[of_object]
    logits[np.arange(NUM_PROPOSALS), classes] += margin * generator.random(NUM_PROPOSALS)
    return boxes.astype(np.float32), torch.from_numpy(logits).softmax(dim=1).float().numpy()


def leave_early(boxes: np.ndarray, class_probs: np.ndarray) -> Choice:
    selection = select_regions(boxes, class_probs, settings=SETTINGS)
    return selection.indices, selection.scores


def visit_every_class(boxes: np.ndarray, class_probs: np.ndarray) -> Choice:
    """The rule word by word."""
    corners, best = torch.from_numpy(boxes), torch.zeros(len(boxes))
    for probs in torch.from_numpy(class_probs[:, 1:].T.copy()):
        kept = nms(corners, probs, SETTINGS.nms_iou)
        best[kept] = torch.maximum(best[kept], probs[kept])
    number = min(max(int((best >= SETTINGS.threshold).sum()), SETTINGS.min_regions), SETTINGS.max_regions)
    scores = best.numpy()
    indices = np.argsort(-scores, kind="stable")[:number]
    return indices, scores[indices]


WAYS = {
    "leaving early": (leave_early, 30),
    "NMS of every class": (visit_every_class, 1),
}  # passes a turn: about as long


@pytest.mark.parametrize("way", WAYS)
def bench_choosing(clock: Clock, detections, way, quick):
    choose, passes = WAYS[way]
    images = detections.images * (1 if quick else passes)
    what = f"choice of regions, {detections.kind} detector"
    chosen = clock(lambda: [choose(*image) for image in images], what=what, way=way, count=len(images), unit="images")
    for choice, expected in zip(chosen, cycle(detections.expected), strict=False):
        np.testing.assert_equal(choice, expected)
