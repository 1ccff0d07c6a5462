"""Which of the proposed boxes become regions: the rule of the ViLBERT paper.

P proposals, C classes (background first).
"""

from dataclasses import dataclass

import numpy as np

from extract.overlap import overlaps
from extract.settings import SelectionSettings


@dataclass(frozen=True, kw_only=True, eq=False)
class Selection:
    """The K chosen proposals of an image, most confident first; of equals, the earlier proposal first."""

    indices: np.ndarray  # [K] int64 into the proposals
    scores: np.ndarray  # [K] float32, best class probability that survived
    num_confident: int  # of the chosen, how many reach the threshold
    is_short: bool  # there were fewer proposals than regions asked for


def select_regions(
    boxes: np.ndarray, class_probs: np.ndarray, *, settings: SelectionSettings, corner_offset: float = 0.0
) -> Selection:
    """Per class, non-maximum suppression of all boxes by their probability of that class; a box's score is its best
    probability among the classes in which it survived, the background left out, and 0 where it never did. Boxes
    that reach the threshold are chosen, at least `min_regions` and at most `max_regions` by score; where there are
    fewer proposals than that, all of them.

    Args:
        boxes: [P, 4] x1 y1 x2 y2.
        class_probs: [P, C].
        corner_offset: 1 where x2 and y2 are the last pixels inside (Caffe), 0 where they are the edges.

    Source: generate_tsv.py of bottom-up attention (Anderson et al. 2018), Lu et al. 2019, section 3.1. It leaves
    chosen boxes in the order of the proposals if there are between `min_regions` and `max_regions`, and sorts them
    unstably if not.
    """
    scores = _surviving_scores(boxes, class_probs[:, 1:], settings=settings, corner_offset=corner_offset)
    num_reaching = int((scores >= settings.threshold).sum())
    num_chosen = min(max(num_reaching, settings.min_regions), settings.max_regions, len(scores))
    indices = np.argsort(-scores, kind="stable")[:num_chosen]
    return Selection(
        indices=indices,
        scores=scores[indices],
        num_confident=min(num_reaching, num_chosen),
        is_short=len(boxes) < settings.min_regions,
    )


def _surviving_scores(
    boxes: np.ndarray, class_probs: np.ndarray, *, settings: SelectionSettings, corner_offset: float
) -> np.ndarray:
    """Each box's score [P] float32, exact for every box that can be chosen and never too high for the others.

    Classes come by descending best probability. A probability below both the threshold and the score of the last
    box that would be chosen now can change nothing, so most classes are never looked at, and few boxes of the rest.
    """
    scores = np.zeros(len(boxes), np.float32)
    if not class_probs.size:
        return scores
    overlapping = _overlap_bits(boxes, settings.nms_iou, corner_offset)
    best = class_probs.max(axis=0)
    num_wanted, num_at_most = (min(n, len(boxes)) for n in (settings.min_regions, settings.max_regions))
    for index in np.argsort(-best, kind="stable"):
        ranked = np.sort(scores)
        floor = max(min(settings.threshold, ranked[-num_wanted]), ranked[-num_at_most])
        if best[index] < floor:
            break
        probs = class_probs[:, index]
        if not (probs[probs >= floor] > scores[probs >= floor]).any():
            continue
        candidates = np.flatnonzero(probs >= floor)
        survivors = _suppress(candidates[np.argsort(-probs[candidates], kind="stable")].tolist(), overlapping)
        scores[survivors] = np.maximum(scores[survivors], probs[survivors])
    return scores


def _suppress(ranked: list[int], overlapping: list[int]) -> list[int]:
    """Of boxes from best to worst, those that overlap with no better one that is left."""
    suppressed, survivors = 0, []
    for box in ranked:
        if not suppressed >> box & 1:
            survivors.append(box)
            suppressed |= overlapping[box]
    return survivors


def _overlap_bits(boxes: np.ndarray, nms_iou: float, corner_offset: float) -> list[int]:
    """For each box a number whose bit i says that box i overlaps with it by more than `nms_iou`."""
    is_overlapping = overlaps(boxes, boxes, corner_offset=corner_offset) > nms_iou
    bits = np.packbits(is_overlapping, axis=1, bitorder="little")
    return [int.from_bytes(row.tobytes(), "little") for row in bits]
