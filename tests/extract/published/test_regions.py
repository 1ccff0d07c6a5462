"""What makes a row of published features bad, rule by rule."""

import numpy as np
import pytest
from published_rows import EXPECTED, NUM_CLASSES, as_base64, make_row

from extract.published.formats import RowError
from extract.published.regions import to_regions

NAN, INF = float("nan"), float("inf")


def changed(name: str, index: tuple[int, ...], value: float) -> np.ndarray:
    array = make_row("a")[name].copy()
    array[index] = value
    return array


def without(row: dict, *names: str) -> dict:
    return {name: value for name, value in row.items() if name not in names}


@pytest.mark.parametrize("as_text", [False, True], ids=["arrays", "base64"])
@pytest.mark.parametrize(
    ("field", "value", "reason", "detail"),
    [
        ("image_w", 0, "bad_number", "image_w is '0', expected a whole number from 1 to 1000000"),
        ("image_w", "wide", "bad_number", "image_w is 'wide'"),
        pytest.param("image_h", 10**5000, "bad_number", "image_h is 'int'", id="more digits than Python prints"),
        ("image_h", 59.5, "bad_number", "image_h is '59.5'"),
        ("num_boxes", NAN, "bad_number", "num_boxes is 'nan'"),
        ("num_boxes", -1, "bad_number", "num_boxes is '-1'"),
        ("boxes", changed("boxes", (1, 2), 54.5), "bad_box", "box 1: "),
        ("boxes", changed("boxes", (2, 0), -1.5), "bad_box", "box 2: -1.5 "),
        ("boxes", changed("boxes", (0, 0), 52.5), "bad_box", "box 0: 52.5 "),
        ("boxes", changed("boxes", (0, 3), NAN), "bad_box", "the image is 53 x 59"),
        ("boxes", make_row("a")["boxes"][:2], "wrong_count", "boxes "),
        ("features", changed("features", (1, 6), NAN), "not_finite", "features of region 1"),
        ("features", changed("features", (2, 0), 70_000), "not_finite", "features of region 2"),  # float16: 65,504
        ("features", make_row("a")["features"][:, :6], "wrong_count", "features "),
        ("cls_prob", make_row("a")["cls_prob"][:, 1:], "wrong_count", "cls_prob "),
        ("cls_prob", changed("cls_prob", (1, 0), 0.9), "bad_probabilities", "region 1 sums to "),
        ("cls_prob", changed("cls_prob", (2, 1), NAN), "bad_probabilities", "region 2 sums to nan"),
        ("cls_prob", changed("cls_prob", (0, 1), -0.5), "bad_probabilities", "region 0 sums to "),
        ("cls_prob", None, "no_numbers", "cls_prob is NoneType"),
    ],
)
def test_a_bad_field_is_named_with_its_value(field, value, reason, detail, as_text):
    row = make_row("a") | {field: value}
    with pytest.raises(RowError) as raised:
        to_regions(as_base64(row) if as_text else row, expected=EXPECTED)
    assert raised.value.reason == reason
    assert detail in raised.value.detail


@pytest.mark.parametrize(
    ("field", "value", "reason", "detail"),
    [
        ("objects_id", np.array([0, 4, 1]), "bad_class", "objects_id from 0 to 4, expected 0 to 3"),
        ("objects_id", np.array([0, -1, 1]), "bad_class", "objects_id from -1 to 1"),
        ("objects_id", np.array([0.0, 1.0, 1.0]), "no_numbers", "objects_id is float64"),
        ("attrs_id", np.array([0, 11, 1]), "bad_class", "attrs_id from 0 to 11, expected 0 to 10"),
        ("attrs_conf", np.array([0.5, -0.5, 0.5], np.float32), "bad_probabilities", "attrs_conf from -0.5 to 0.5"),
        ("objects_conf", np.array([0.5, 1.5, 0.5], np.float32), "bad_probabilities", "objects_conf from 0.5 to 1.5"),
        ("objects_conf", np.array([0.5, NAN, 0.5], np.float32), "bad_probabilities", "objects_conf from nan"),
        ("objects_conf", np.array(["a", "b", "c"]), "no_numbers", "objects_conf is <U1"),
        ("features", np.zeros(3, object), "no_numbers", "features is object"),
    ],
)
def test_a_bad_likeliest_class_is_named(field, value, reason, detail):
    with pytest.raises(RowError) as raised:
        to_regions(without(make_row("a"), "cls_prob") | {field: value}, expected=EXPECTED)
    assert raised.value.reason == reason
    assert detail in raised.value.detail


@pytest.mark.parametrize("missing", ["image_w", "boxes", "features"])
def test_a_missing_field_is_named(missing):
    with pytest.raises(RowError, match=missing):
        to_regions(without(make_row("a"), missing), expected=EXPECTED)


@pytest.mark.parametrize(
    ("cut", "reason", "detail"),
    [
        (lambda text: text[:-2], "bad_base64", "features: Incorrect padding"),
        (lambda text: text[:-4], "wrong_count", "features has 81 bytes, expected 84 for (3, 7)"),
        (lambda text: "é" + text[1:], "bad_base64", "features: "),
        (lambda text: "*" + text[1:], "bad_base64", "features: "),
        (lambda text: "", "wrong_count", "features has 0 bytes"),
    ],
)
def test_base64_that_is_cut_or_changed_is_named(cut, reason, detail):
    row = as_base64(make_row("a"))
    with pytest.raises(RowError) as raised:
        to_regions(row | {"features": cut(row["features"])}, expected=EXPECTED)
    assert raised.value.reason == reason
    assert detail in raised.value.detail


def test_without_a_box_there_is_no_record():
    for row in (make_row("a", num_boxes=0), as_base64(make_row("a", num_boxes=0))):
        with pytest.raises(RowError, match="no_regions"):
            to_regions(row, expected=EXPECTED)


def test_arrays_may_have_more_rows_than_boxes_that_were_counted_and_not_fewer():
    """vilbert-multi-task counts those with a score, and reads all."""
    assert len(to_regions(make_row("a") | {"num_boxes": 2}, expected=EXPECTED)) == 3
    with pytest.raises(RowError, match="wrong_count: num_boxes is 4, features are 3"):
        to_regions(make_row("a") | {"num_boxes": 4}, expected=EXPECTED)


@pytest.mark.parametrize("value", [53, "53", "53.0", 53.0, np.int32(53), np.array(53), np.array([53])])
def test_sizes_come_in_any_dress(value):
    assert to_regions(make_row("a") | {"image_w": value}, expected=EXPECTED).image_size == (53, 59)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int32])
def test_arrays_of_other_numbers_are_read_as_their_values(dtype):
    row = make_row("a") | {"features": np.arange(21).reshape(3, 7).astype(dtype)}
    features = to_regions(without(row, "cls_prob", "objects_conf"), expected=EXPECTED).features
    np.testing.assert_array_equal(features, np.arange(21, dtype=np.float16).reshape(3, 7), strict=True)


def test_a_box_that_reaches_a_pixel_too_far_ends_at_the_border():
    row = make_row("a") | {"boxes": changed("boxes", (1, 2), 53.9)}
    assert to_regions(row, expected=EXPECTED).boxes.max(axis=0)[2] == 53


def test_an_unlikely_likeliest_class_leaves_most_to_the_others():
    row = without(make_row("a"), "cls_prob") | {"objects_conf": np.array([0.12, 1, 0], np.float32)}
    row["objects_id"] = np.array([2, 0, 3])
    regions = to_regions(row, expected=EXPECTED)
    np.testing.assert_allclose(regions.scores, [1, 0.12, 0])
    np.testing.assert_allclose(regions.class_probs[0], [0, 1, 0, 0, 0])
    np.testing.assert_allclose(regions.class_probs[1], [0.22, 0.22, 0.22, 0.12, 0.22], atol=1e-3)
    assert regions.class_probs.shape == (3, NUM_CLASSES)
