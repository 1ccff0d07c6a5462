"""One image's regions, in memory and as the bytes of a record of the feature store.

A record runs no code when read: a header of fixed layout, then arrays, little-endian, each on a multiple of 16 bytes,
so that readers look at the file itself.

    header          magic, version, how the classes are kept, N, D, C, K, width, height, num_confident, is_short,
                    has_attributes
    boxes           [N, 4] float32    scores  [N] float32    features  [N, D] float16
    class_probs     [N, C] float32 or float16; or class ids [N, K] uint16 and class_probs [N, K] float16
    attributes      where the detector names them: attribute_ids [N] uint16    attribute_probs [N] float16

N regions, D feature size, C classes (background first), K classes kept.
"""

import math
import struct
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

SCHEMA_VERSION = 2
ALIGNMENT = 16  # bytes
_MAGIC = b"VREG"
_HEADER = struct.Struct("<4sHHIIIIIIIII")
_WHOLE_FLOAT32, _WHOLE_FLOAT16, _TOP = range(3)  # how a record keeps the class distribution


@dataclass(frozen=True, kw_only=True, eq=False)
class Regions:
    """What a detector found in one image: N regions, most confident first.

    From a store, the arrays are read-only and may lie in the file itself; they stay valid as long as they are held.
    """

    boxes: np.ndarray  # [N, 4] float32, x1 y1 x2 y2 in pixels of the image
    scores: np.ndarray  # [N] float32, best class probability that survived the selection; imported: best one, or NaN
    features: np.ndarray  # [N, D] float16
    class_probs: np.ndarray  # [N, C] float16 or float32, background first
    image_size: tuple[int, int]  # width, height in pixels
    num_confident: int  # regions with a score at or above the threshold of the selection
    is_short: bool  # the detector proposed fewer regions than the selection asks for
    attribute_ids: np.ndarray | None = None  # [N] uint16, the likeliest attribute; null: the detector names none
    attribute_probs: np.ndarray | None = None  # [N] float16, its probability

    def __post_init__(self) -> None:
        names = ["boxes", "scores", "features", "class_probs"]
        names += [] if self.attribute_ids is None else ["attribute_ids", "attribute_probs"]
        lengths = {name: len(getattr(self, name)) for name in names}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"one row a region, got {lengths}")

    def __len__(self) -> int:
        return len(self.boxes)


def pack(regions: Regions, *, num_classes_kept: int | None) -> bytes:
    """The bytes of a record; with `num_classes_kept` only so many of the most probable classes a region."""
    probs = regions.class_probs
    layout = _WHOLE_FLOAT32 if probs.dtype == np.float32 else _WHOLE_FLOAT16
    class_arrays = [probs]
    if num_classes_kept is not None:
        layout = _TOP
        ids = np.argsort(-probs, axis=1, kind="stable")[:, :num_classes_kept]
        class_arrays = [ids, np.take_along_axis(probs, ids, axis=1)]
    header = _Header(
        magic=_MAGIC,
        version=SCHEMA_VERSION,
        class_layout=layout,
        num_regions=len(regions),
        feature_size=regions.features.shape[1],
        num_classes=probs.shape[1],
        num_classes_kept=num_classes_kept or probs.shape[1],
        width=regions.image_size[0],
        height=regions.image_size[1],
        num_confident=regions.num_confident,
        is_short=int(regions.is_short),
        has_attributes=int(regions.attribute_ids is not None),
    )
    arrays = [regions.boxes, regions.scores, regions.features, *class_arrays]
    if regions.attribute_ids is not None:
        assert regions.attribute_probs is not None
        arrays += [regions.attribute_ids, regions.attribute_probs]
    blocks = [_HEADER.pack(*header)]
    blocks += [array.astype(dtype).tobytes() for array, (dtype, _) in zip(arrays, header.arrays(), strict=True)]
    return b"".join(block.ljust(_aligned(len(block)), b"\0") for block in blocks)


def unpack(record: np.ndarray, *, source: str) -> Regions:
    """Regions whose arrays look at the bytes of `record`, [num_bytes] uint8; `source` names it in errors.

    Raises: ValueError if these are not the bytes of a record.
    """
    if len(record) < _HEADER.size:
        raise ValueError(f"{source} has {len(record)} bytes, expected at least {_HEADER.size}")
    header = _Header(*_HEADER.unpack(record[: _HEADER.size].tobytes()))
    if (header.magic, header.version) != (_MAGIC, SCHEMA_VERSION):
        raise ValueError(
            f"{source} starts with {header.magic!r} {header.version}, expected {_MAGIC!r} {SCHEMA_VERSION}"
        )
    offset, arrays = _aligned(_HEADER.size), []
    for dtype, shape in header.arrays():
        size = np.dtype(dtype).itemsize * math.prod(shape)
        if offset + size > len(record):
            raise ValueError(f"{source} has {len(record)} bytes, its header says more")
        arrays.append(np.ndarray(shape, dtype, record, offset))
        offset += _aligned(size)
    attribute_probs, attribute_ids = (arrays.pop(), arrays.pop()) if header.has_attributes else (None, None)
    boxes, scores, features, *class_arrays = arrays
    return Regions(
        boxes=boxes,
        scores=scores,
        features=features,
        class_probs=class_arrays[0]
        if len(class_arrays) == 1
        else _spread(*class_arrays, num_classes=header.num_classes),
        image_size=(header.width, header.height),
        num_confident=header.num_confident,
        is_short=bool(header.is_short),
        attribute_ids=attribute_ids,
        attribute_probs=attribute_probs,
    )


class _Header(NamedTuple):
    magic: bytes
    version: int
    class_layout: int
    num_regions: int
    feature_size: int
    num_classes: int
    num_classes_kept: int
    width: int
    height: int
    num_confident: int
    is_short: int
    has_attributes: int

    def arrays(self) -> list[tuple[str, tuple[int, ...]]]:
        """Type and shape of what follows, in order."""
        n, k = self.num_regions, self.num_classes_kept
        arrays: list[tuple[str, tuple[int, ...]]] = [("<f4", (n, 4)), ("<f4", (n,)), ("<f2", (n, self.feature_size))]
        if self.class_layout == _TOP:
            arrays += [("<u2", (n, k)), ("<f2", (n, k))]
        else:
            arrays += [("<f4" if self.class_layout == _WHOLE_FLOAT32 else "<f2", (n, self.num_classes))]
        return [*arrays, *([("<u2", (n,)), ("<f2", (n,))] if self.has_attributes else [])]


def _spread(ids: np.ndarray, probs: np.ndarray, *, num_classes: int) -> np.ndarray:
    """The whole distribution [N, C] float16: what the kept classes leave of one goes to the others in equal parts."""
    rest = (1 - probs.sum(axis=1, dtype=np.float32, keepdims=True)).clip(min=0) / (num_classes - ids.shape[1])
    whole = np.repeat(rest.astype(np.float16), num_classes, axis=1)
    np.put_along_axis(whole, ids.astype(np.int64), probs, axis=1)
    return whole


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
