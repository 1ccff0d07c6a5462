"""Boxes that come from outside: which are those of an image."""

import numpy as np

OVERSHOOT = 1.0  # pixels that a box may reach beyond the image; it is cut off there


def box_objection(boxes: np.ndarray, image_size: tuple[int, int]) -> str | None:
    """The first of `boxes` [N, 4], x1 y1 x2 y2 in pixels, that is outside the image or has no area; null: none is."""
    width, height = image_size
    limit = np.array([width, height, width, height]) + OVERSHOOT
    is_bad = ~((boxes >= -OVERSHOOT) & (boxes <= limit)).all(axis=1) | (boxes[:, :2] >= boxes[:, 2:]).any(axis=1)
    if not is_bad.any():
        return None
    first = int(np.flatnonzero(is_bad)[0])
    box = " ".join(f"{value:g}" for value in boxes[first])
    return f"box {first}: {box}, the image is {width} x {height}"


def cut_off(boxes: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Boxes [N, 4] float32 that end where the image does."""
    return np.clip(boxes, 0, [*image_size, *image_size]).astype(np.float32)
