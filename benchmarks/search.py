"""A query against an index of random vectors of 256 numbers, read from the disk: every image looked at, one query at a
time; and how much memory the index takes, by `pytest -s`.
"""

import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from benchmarks.clock import Clock
from vilbert.search.index import ImageIndex, Source, write_index

WIDTH, AT_ONCE = 256, 10_000
SIZES = {"100,000 images": 100_000, "a million images": 1_000_000}


@pytest.fixture(scope="module", params=SIZES)
def index(request, quick, tmp_path_factory) -> tuple[str, ImageIndex]:
    size = 1_000 if quick else SIZES[request.param]
    folder = tmp_path_factory.mktemp("index") / "index"
    write_index(folder, [random_part(size)], [Source()], model=Path("none"), sha256="none")
    before = psutil.Process().memory_info().rss
    found = ImageIndex(folder)
    megabytes = (psutil.Process().memory_info().rss - before) / 1e6
    print(f"{request.param}: {megabytes:,.0f} MB of memory", file=sys.stderr)
    return request.param, found


def random_part(size: int) -> tuple[list[str], np.ndarray]:
    """Keys and vectors of length 1."""
    generator = np.random.default_rng(0)
    vectors = np.empty((size, WIDTH), np.float32)
    for start in range(0, size, AT_ONCE):
        part = generator.standard_normal((min(AT_ONCE, size - start), WIDTH), np.float32)
        vectors[start : start + AT_ONCE] = part / np.linalg.norm(part, axis=1, keepdims=True)
    return [f"image-{place:08d}" for place in range(size)], vectors


def bench_query(clock: Clock, index):
    name, images = index
    query = images.vectors.reconstruct(7)[None]
    (found,) = clock(
        lambda: images.search(query, k=10), what=f"a query against {name}", way="Flat", count=1, unit="queries"
    )
    assert found[0].key == "image-00000007"
