"""How far boxes overlap, in numpy."""

import numpy as np


def overlaps(boxes: np.ndarray, others: np.ndarray, *, corner_offset: float = 0.0) -> np.ndarray:
    """Intersection over union of each of `boxes` [N, 4] with each of `others` [M, 4]: float64 [N, M], 0 where neither
    has an area.

    Args:
        boxes, others: x1 y1 x2 y2, any unit.
        corner_offset: 1 where x2 and y2 are the last pixels inside (Caffe), 0 where they are the edges.
    """
    left, top, right, bottom = boxes.astype(np.float64).T[:, :, None]
    other_left, other_top, other_right, other_bottom = others.astype(np.float64).T
    widths = np.minimum(right, other_right) - np.maximum(left, other_left) + corner_offset
    heights = np.minimum(bottom, other_bottom) - np.maximum(top, other_top) + corner_offset
    shared = np.maximum(widths, 0) * np.maximum(heights, 0)
    areas = (right - left + corner_offset) * (bottom - top + corner_offset)
    other_areas = (other_right - other_left + corner_offset) * (other_bottom - other_top + corner_offset)
    unions = areas + other_areas - shared
    return np.divide(shared, unions, out=np.zeros_like(unions), where=unions > 0)
