import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from extract.overlap import overlaps

BOXES = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 5, 5]])


def random_boxes(count: int, dtype: type) -> np.ndarray:
    generator = np.random.default_rng(count)
    corners = generator.uniform(0, 97, (count, 2, 2))
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).astype(dtype)


def test_boxes_by_hand_and_without_an_area_none():
    np.testing.assert_array_equal(overlaps(BOXES, BOXES), [[1, 1 / 3, 0], [1 / 3, 1, 0], [0, 0, 0]])


def test_with_a_corner_offset_the_last_pixels_are_inside():
    """Three pixels by three, two of the three columns shared; a box of one pixel has an area."""
    expected = [[1, 6 / 12, 0], [6 / 12, 1, 0], [0, 0, 1]]
    np.testing.assert_array_equal(overlaps(BOXES, BOXES, corner_offset=1), expected)


@pytest.mark.parametrize(("num_boxes", "num_others"), [(0, 3), (5, 0), (0, 0)])
def test_of_no_boxes_there_are_no_overlaps(num_boxes, num_others):
    assert overlaps(np.zeros((num_boxes, 4)), np.zeros((num_others, 4))).shape == (num_boxes, num_others)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_they_are_torchvisions_whatever_the_type(dtype):
    boxes, others = random_boxes(13, dtype), random_boxes(7, dtype)
    expected = box_iou(*(torch.from_numpy(one.astype(np.float64)) for one in (boxes, others))).numpy()
    given = overlaps(boxes, others)
    assert given.dtype == np.float64
    np.testing.assert_allclose(given, expected, rtol=1e-14)
