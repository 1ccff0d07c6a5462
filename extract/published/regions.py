"""One row of published features as regions, if it is whole.

N regions, D feature size, C classes (background first).
"""

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from extract.detection.boxes import box_objection, cut_off
from extract.published.formats import RowError
from extract.regions.store import Regions

MAX_SIDE = 1_000_000  # pixels: no image is larger
MAX_BOXES = 100_000
TOLERANCE = 0.01  # by which the sum of a class distribution may differ from 1

BoxSource = Literal["proposal", "regressed", "repooled", "given"]
KnownClasses = Literal["all", "likeliest", "none"]


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What every row has to be like."""

    feature_size: int
    num_classes: int  # with the background
    num_attributes: int
    box_source: BoxSource


def known_classes(fields: Mapping[str, Any]) -> KnownClasses:
    """What a row says of its regions' classes: the distribution, the likeliest and its probability, or nothing."""
    if "cls_prob" in fields:
        return "all"
    return "likeliest" if {"objects_id", "objects_conf"} <= fields.keys() else "none"


def to_regions(fields: Mapping[str, Any], *, expected: Expected) -> Regions:
    """Most confident first; in the order of the row if it says no scores, or if annotations number its boxes.

    Raises: RowError.
    """
    image_size = (whole_number(fields, "image_w", 1, MAX_SIDE), whole_number(fields, "image_h", 1, MAX_SIDE))
    count = num_regions(fields)
    boxes = numbers(fields, "boxes", (count, 4))
    if (detail := box_objection(boxes, image_size)) is not None:
        raise RowError("bad_box", detail)
    with np.errstate(over="ignore"):  # becomes infinite, which is looked for next
        features = numbers(fields, "features", (count, expected.feature_size)).astype(np.float16)
    if not np.isfinite(features).all():
        raise RowError("not_finite", f"features of region {int(np.argmin(np.isfinite(features).all(axis=1)))}")
    class_probs, scores = classes_of(fields, count, expected.num_classes)
    attributes = attributes_of(fields, count, expected.num_attributes)
    is_ranked = expected.box_source != "given" and known_classes(fields) != "none"
    order = np.argsort(-scores, kind="stable") if is_ranked else np.arange(count)
    return Regions(
        boxes=cut_off(boxes, image_size)[order],
        scores=scores[order],
        features=features[order],
        class_probs=class_probs[order],
        image_size=image_size,
        num_confident=count,
        is_short=False,
        attribute_ids=None if attributes is None else attributes[0][order],
        attribute_probs=None if attributes is None else attributes[1][order],
    )


def num_regions(fields: Mapping[str, Any]) -> int:
    """As many as there are rows of features: vilbert-multi-task counts those with a score alone, VOLTA none."""
    features = fields.get("features")
    count = len(features) if isinstance(features, np.ndarray) and features.ndim else None
    if count is None or "num_boxes" in fields:
        num_boxes = whole_number(fields, "num_boxes", 0, MAX_BOXES)
        count = num_boxes if count is None else count
        if num_boxes > count:
            raise RowError("wrong_count", f"num_boxes is {num_boxes}, features are {count}")
    if count == 0:
        raise RowError("no_regions", "num_boxes is 0")
    return count


def classes_of(fields: Mapping[str, Any], count: int, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Class distributions [N, C] float16 and scores [N] float32, the best probability of a class.

    Of the likeliest class alone, the others share what it leaves of 1. Where no class is known, C is 0 and the scores
    are NaN.
    """
    match known_classes(fields):
        case "all":
            probs = numbers(fields, "cls_prob", (count, num_classes))
            is_bad = ~((probs >= 0).all(axis=1) & (abs(probs.sum(axis=1) - 1) <= TOLERANCE))
            if is_bad.any():
                first = int(np.argmax(is_bad))
                raise RowError(
                    "bad_probabilities", f"region {first} sums to {probs[first].sum():g}, least {probs[first].min():g}"
                )
            return probs.astype(np.float16), probs[:, 1:].max(axis=1)
        case "likeliest":
            ids, scores = likeliest(fields, "objects", count, num_classes - 1)
            probs = np.repeat((1 - scores[:, None]) / (num_classes - 1), num_classes, axis=1)
            probs[np.arange(count), ids + 1] = scores  # they leave the background out
            return probs.astype(np.float16), scores
        case "none":
            return np.zeros((count, 0), np.float16), np.full(count, np.nan, np.float32)


def attributes_of(fields: Mapping[str, Any], count: int, num_attributes: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Likeliest attributes [N] uint16 and their probabilities [N] float16; null: the row tells none."""
    if not {"attrs_id", "attrs_conf"} <= fields.keys():
        return None
    ids, probs = likeliest(fields, "attrs", count, num_attributes)
    return ids.astype(np.uint16), probs.astype(np.float16)


def likeliest(fields: Mapping[str, Any], name: str, count: int, num_kinds: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers [N] from 0 and probabilities [N] of classes or attributes.

    Raises: RowError.
    """
    ids, probs = numbers(fields, f"{name}_id", (count,), "<i8"), numbers(fields, f"{name}_conf", (count,))
    if not ((ids >= 0) & (ids < num_kinds)).all():
        raise RowError("bad_class", f"{name}_id from {ids.min()} to {ids.max()}, expected 0 to {num_kinds - 1}")
    if not ((probs >= 0) & (probs <= 1)).all():
        raise RowError("bad_probabilities", f"{name}_conf from {probs.min():g} to {probs.max():g}")
    return ids, probs


def numbers(fields: Mapping[str, Any], name: str, shape: tuple[int, ...], dtype: str = "<f4") -> np.ndarray:
    """A field as an array, whether it comes as one or as base64.

    Raises: RowError.
    """
    value = fields.get(name)
    if isinstance(value, str | bytes):
        try:
            data = base64.b64decode(value, validate=True)
        except ValueError as error:
            raise RowError("bad_base64", f"{name}: {error}") from error
        num_bytes = math.prod(shape) * np.dtype(dtype).itemsize
        if len(data) != num_bytes:
            raise RowError("wrong_count", f"{name} has {len(data)} bytes, expected {num_bytes} for {shape}")
        return np.frombuffer(data, dtype).reshape(shape)
    if not isinstance(value, np.ndarray) or not np.can_cast(value.dtype, dtype, "same_kind"):
        raise RowError("no_numbers", f"{name} is {getattr(value, 'dtype', type(value).__name__)}")
    if value.shape != shape:
        raise RowError("wrong_count", f"{name} is {value.shape}, expected {shape}")
    with np.errstate(over="ignore"):
        return value.astype(dtype)


def whole_number(fields: Mapping[str, Any], name: str, least: int, most: int) -> int:
    """A field as an integer, whether it comes as one, as text or in an array. Raises: RowError."""
    value = fields.get(name)
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    try:
        number = float(value)  # type: ignore[arg-type]  # whatever is no number raises
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not number.is_integer() or not least <= number <= most:
        is_short = isinstance(value, str | float) or math.isfinite(number)
        shown = str(value)[:30] if is_short else type(value).__name__
        raise RowError("bad_number", f"{name} is '{shown}', expected a whole number from {least} to {most}")
    return int(number)
