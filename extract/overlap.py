"""How far boxes overlap, in numpy."""

import numpy as np


def overlaps(boxes: np.ndarray, others: np.ndarray, *, corner_offset: float = 0.0) -> np.ndarray:
    """Intersection over union of each of `boxes` [N, 4] with each of `others` [M, 4]: float64 [N, M], 0 where neither
    has an area.

    Args:
        boxes, others: x1 y1 x2 y2, any unit.
        corner_offset: 1 where x2 and y2 are the last pixels inside (Caffe), 0 where they are the edges.
    """
    corners, other_corners = boxes.astype(np.float64).T, others.astype(np.float64).T
    lower, upper, other_lower, other_upper = corners[:2], corners[2:], other_corners[:2], other_corners[2:]
    sides = np.minimum(upper[..., None], other_upper[:, None]) - np.maximum(lower[..., None], other_lower[:, None])
    shared = np.multiply(*np.maximum(sides + corner_offset, 0))
    areas = np.multiply(*(upper - lower + corner_offset))
    other_areas = np.multiply(*(other_upper - other_lower + corner_offset))
    unions = areas[:, None] + other_areas - shared
    return np.divide(shared, unions, out=np.zeros_like(unions), where=unions > 0)
