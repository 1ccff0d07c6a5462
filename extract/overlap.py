"""How far boxes overlap, in numpy."""

import numpy as np


def overlaps(boxes: np.ndarray, others: np.ndarray, *, corner_offset: float = 0.0) -> np.ndarray:
    """Intersection over union of each of `boxes` [N, 4] with each of `others` [M, 4]: float64 [N, M], 0 where neither
    has an area.

    Args:
        boxes, others: x1 y1 x2 y2, any unit.
        corner_offset: 1 where x2 and y2 are the last pixels inside (Caffe), 0 where they are the edges.
    """
    boxes, others = boxes.astype(np.float64), others.astype(np.float64)
    top_left = np.maximum(boxes[:, None, :2], others[:, :2])
    bottom_right = np.minimum(boxes[:, None, 2:], others[:, 2:])
    shared = (bottom_right - top_left + corner_offset).clip(min=0).prod(axis=2)
    areas, other_areas = ((one[:, 2:] - one[:, :2] + corner_offset).prod(axis=1) for one in (boxes, others))
    unions = areas[:, None] + other_areas - shared
    return np.divide(shared, unions, out=np.zeros_like(unions), where=unions > 0)
