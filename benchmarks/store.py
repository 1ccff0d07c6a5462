"""Reading records in random order: our store against pickled base64 records, the original's.

36 regions of 2048 features and 1601 classes. Both give features, boxes and the class distribution as arrays; the
original's reader also decodes base64 and unpickles.
"""

import base64
import pickle
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import lmdb
import numpy as np
import pytest

from benchmarks.clock import Clock
from extract.regions.store import Regions, RegionStore, RegionStoreWriter

NUM_REGIONS, FEATURE_SIZE, NUM_CLASSES = 36, 2048, 1601
PASSES = {"our store": 200, "pickled base64": 2}  # over all records a turn: about as long


@dataclass(frozen=True)
class Readers:
    keys: list[str]
    ways: dict[str, Callable[[str], list[np.ndarray]]]  # features, boxes and class probabilities by key


@pytest.fixture(scope="module")
def readers(tmp_path_factory, quick) -> Iterator[Readers]:
    """Both stores, which hold the same."""
    folder = tmp_path_factory.mktemp("store")
    ours, theirs = folder / "ours.lmdb", folder / "theirs.lmdb"
    keys = [f"train-{index:08d}" for index in range(7 if quick else 400)]
    write_stores(ours, theirs, keys)
    store = RegionStore([ours])
    with lmdb.open(str(theirs), subdir=False, readonly=True, lock=False, readahead=False) as env, env.begin() as read:
        ways = {
            "our store": lambda key: read_ours(store, key),
            "pickled base64": lambda key: read_original(read.get(key.encode(), b"")),
        }
        for key in keys:
            for array, expected in zip(*(way(key) for way in ways.values()), strict=True):
                np.testing.assert_array_equal(array, expected)
        yield Readers(keys, ways)


def write_stores(ours: Path, theirs: Path, keys: list[str]) -> None:
    """The same records in both formats."""
    generator = np.random.default_rng(0)
    writer = RegionStoreWriter(
        ours,
        classes=tuple(f"class {index}" for index in range(NUM_CLASSES)),
        feature_size=FEATURE_SIZE,
        num_classes_kept=None,
        box_source="proposal",
        detector={},
        selection={},
    )
    with writer, lmdb.open(str(theirs), subdir=False, map_size=1 << 32) as env, env.begin(write=True) as write:
        for key in keys:
            regions = Regions(
                boxes=generator.random((NUM_REGIONS, 4), np.float32) * 600,
                scores=generator.random(NUM_REGIONS, np.float32),
                features=generator.random((NUM_REGIONS, FEATURE_SIZE), np.float32).astype(np.float16),
                class_probs=generator.random((NUM_REGIONS, NUM_CLASSES), np.float32).astype(np.float16),
                image_size=(640, 480),
                num_confident=NUM_REGIONS,
                is_short=False,
            )
            writer.put(key, regions)
            write.put(key.encode(), pack_original(regions))


def read_ours(store: RegionStore, key: str) -> list[np.ndarray]:
    regions = store[key]
    return [regions.features, regions.boxes, regions.class_probs]


def pack_original(regions: Regions) -> bytes:
    """A record as vilbert_beta's."""
    width, height = regions.image_size
    fields = {
        name: base64.b64encode(getattr(regions, name).astype(np.float32).tobytes())
        for name in ("boxes", "features", "class_probs")
    }
    return pickle.dumps({"num_boxes": len(regions), "image_w": width, "image_h": height, **fields})


def read_original(record: bytes) -> list[np.ndarray]:
    """As vilbert_beta's reader does: unpickle, decode, view as float32."""
    item = pickle.loads(record)
    return [
        np.frombuffer(base64.b64decode(item[name]), dtype=np.float32).reshape(item["num_boxes"], -1)
        for name in ("features", "boxes", "class_probs")
    ]


def touch(arrays: list[np.ndarray]) -> float:
    """Look at every array, so that nothing is put off."""
    return float(sum(array[-1, -1] for array in arrays))


@pytest.mark.parametrize("way", PASSES)
def bench_reading(clock: Clock, readers, way, quick):
    passes, order = 1 if quick else PASSES[way], random.Random(0)
    keys = [key for _ in range(passes) for key in order.sample(readers.keys, len(readers.keys))]
    read = readers.ways[way]
    clock(lambda: [touch(read(key)) for key in keys], what="feature store", way=way, count=len(keys), unit="records")
