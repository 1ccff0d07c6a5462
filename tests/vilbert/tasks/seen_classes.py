"""Stores of a few boxes whose classes a detector is sure of, for values that are worked out by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from extract.regions.store import Regions, RegionStore, RegionStoreWriter

CLASSES = ("background", "red circle", "blue square")
TOP_LEFT, BOTTOM_LEFT, BOTTOM_RIGHT = (0, 0, 32, 32), (0, 32, 32, 64), (32, 32, 64, 64)
Boxes = Sequence[tuple[tuple[int, int, int, int], int]]  # with the class of each


def store_of(path: Path, images: Mapping[str, Boxes], *, classes: tuple[str, ...] = CLASSES) -> RegionStore:
    """Images of 64 pixels; a box is of its class by 0.9, of any other by 0.05. No classes: an imported store."""
    writer = RegionStoreWriter(
        path,
        classes=classes,
        feature_size=11,
        num_classes_kept=None,
        box_source="given",
        detector={"sha256": "0"},
        selection={},
    )
    with writer:
        for key, boxes in sorted(images.items()):
            probs = np.full((len(boxes), len(classes)), 0.05, np.float16)
            if classes:
                probs[np.arange(len(boxes)), [kind for _, kind in boxes]] = 0.9
            regions = Regions(
                boxes=np.array([box for box, _ in boxes], np.float32),
                scores=np.full(len(boxes), 0.9, np.float32),
                features=np.eye(11, dtype=np.float16)[[kind for _, kind in boxes]],
                class_probs=probs,
                image_size=(64, 64),
                num_confident=len(boxes),
                is_short=False,
            )
            writer.put(key, regions)
    return RegionStore([path])
