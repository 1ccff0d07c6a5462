"""Records a second on one core: our store against pickled base64 records, the original's: python benchmarks/store.py.

36 regions of 2048 features and 1601 classes, read in random order. Both give features, boxes and the class distribution
as arrays; the original's reader also decodes base64 and unpickles.
"""

import base64
import pickle
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import lmdb
import numpy as np

from extract.regions.store import Regions, RegionStore, RegionStoreWriter

NUM_RECORDS, NUM_REGIONS, FEATURE_SIZE, NUM_CLASSES = 400, 36, 2048, 1601
SECONDS = 3.0


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        ours, theirs = Path(name) / "ours.lmdb", Path(name) / "theirs.lmdb"
        keys = [f"train-{index:08d}" for index in range(NUM_RECORDS)]
        write_stores(ours, theirs, keys)
        store = RegionStore([ours])
        with (
            lmdb.open(str(theirs), subdir=False, readonly=True, lock=False, readahead=False) as env,
            env.begin() as read,
        ):
            original = rate(lambda key: read_original(read.get(key.encode())), keys)
        ratio = (rate(lambda key: read_ours(store, key), keys), original)
        print(
            f"ours {ratio[0]:,.0f} records/s, pickled base64 {ratio[1]:,.0f} records/s: {ratio[0] / ratio[1]:.0f} times"
        )


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
            fields = {
                name: base64.b64encode(getattr(regions, name).astype(np.float32).tobytes())
                for name in ("boxes", "features", "class_probs")
            }
            write.put(key.encode(), pickle.dumps({"num_boxes": NUM_REGIONS, "image_w": 640, "image_h": 480, **fields}))


def read_ours(store: RegionStore, key: str) -> float:
    """Look at every array, so that nothing is put off."""
    regions = store[key]
    return float(regions.features[-1, -1]) + float(regions.boxes[-1, -1]) + float(regions.class_probs[-1, -1])


def read_original(record: bytes) -> float:
    """As vilbert_beta's reader does: unpickle, decode, view as float32."""
    item = pickle.loads(record)
    arrays = [
        np.frombuffer(base64.b64decode(item[name]), dtype=np.float32).reshape(item["num_boxes"], -1)
        for name in ("features", "boxes", "class_probs")
    ]
    return float(sum(array[-1, -1] for array in arrays))


def rate(read: Callable[[str], float], keys: list[str]) -> float:
    """Calls a CPU second, keys at random."""
    order = random.Random(0)
    start, calls = time.process_time(), 0
    while time.process_time() - start < SECONDS:
        for key in order.sample(keys, len(keys)):
            read(key)
        calls += len(keys)
    return calls / (time.process_time() - start)


if __name__ == "__main__":
    main()
