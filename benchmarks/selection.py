"""Milliseconds an image that choosing regions takes, leaving early or not: python benchmarks/selection.py.

300 proposals about 20 objects, 1601 classes, on one core. The other side calls torchvision's compiled NMS once a class,
as the original script calls Caffe's, and goes on by the same rule; both must choose the same boxes with equal scores.
"""

import time
from collections.abc import Callable

import numpy as np
import torch
from torchvision.ops import nms

from extract.regions.selection import select_regions
from extract.settings import SelectionSettings

NUM_IMAGES, NUM_PROPOSALS, NUM_OBJECTS, NUM_CLASSES = 5, 300, 20, 1601
SETTINGS = SelectionSettings(threshold=0.2, min_regions=10, max_regions=36, nms_iou=0.3)
KINDS = {"sure": 14.0, "unsure": 7.0, "clueless": 0.0}  # how far the logit of an object's class may stand out

Choice = tuple[np.ndarray, np.ndarray]  # indices [K] and scores [K]
Choose = Callable[[np.ndarray, np.ndarray], Choice]


def main() -> None:
    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    for kind, margin in KINDS.items():
        images = [random_proposals(generator, margin=margin) for _ in range(NUM_IMAGES)]
        early, chosen = milliseconds(leave_early, images)
        full, expected = milliseconds(visit_every_class, images)
        is_equal = all(
            np.array_equal(ours, other)
            for choice, reference in zip(chosen, expected, strict=True)
            for ours, other in zip(choice, reference, strict=True)
        )
        print(
            f"{kind}: {early:.1f} ms leaving early, {full:.1f} ms for all {NUM_CLASSES - 1} classes, a share of "
            f"{early / full:.3f}; {np.mean([len(indices) for indices, _ in chosen]):.1f} regions an image, "
            f"the same: {is_equal}"
        )


def random_proposals(generator: np.random.Generator, *, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Boxes [P, 4] float32 about random objects, and their class probabilities [P, C] float32, background first."""
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


def milliseconds(choose: Choose, images: list[tuple[np.ndarray, np.ndarray]]) -> tuple[float, list[Choice]]:
    """CPU time an image, the least of three rounds, and what was chosen."""
    times = []
    for _ in range(3):
        start = time.process_time()
        chosen = [choose(*image) for image in images]
        times.append(1000 * (time.process_time() - start) / len(images))
    return min(times), chosen


if __name__ == "__main__":
    main()
