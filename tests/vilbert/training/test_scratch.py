import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from places import ROOT
from pretraining_world import CLASSES, FEATURE_SIZE, regions_of

from extract.regions.store import RegionStore, RegionStoreWriter
from vilbert.training.scratch import on_scratch

NUM_IMAGES = {"a": 5, "b": 211, "c": 7}  # by shard
# A training that has its copies, until it is killed.
READER = """
import sys, time
from pathlib import Path
from extract.regions.store import RegionStore
from vilbert.training.scratch import on_scratch
with on_scratch([RegionStore(map(Path, sys.argv[2:]))], sys.argv[1]):
    print("has its copies", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def shards(tmp_path) -> dict[str, Path]:
    """Of one store, the second larger than the others."""
    generator = np.random.default_rng(3)
    paths = {name: tmp_path / f"shared/{name}.lmdb" for name in NUM_IMAGES}
    for name, path in paths.items():
        path.parent.mkdir(exist_ok=True)
        writer = RegionStoreWriter(
            path,
            classes=CLASSES,
            feature_size=FEATURE_SIZE,
            num_classes_kept=None,
            box_source="proposal",
            detector={},
            selection={},
        )
        with writer:
            for image in range(NUM_IMAGES[name]):
                writer.put(f"{name}{image:03d}", regions_of(np.array([1, 2, 3]), generator))
    return paths


@pytest.fixture
def scratch(tmp_path) -> Path:
    folder = tmp_path / "a node's disk"
    folder.mkdir()
    return folder


def copies_in(scratch: Path) -> list[Path]:
    return sorted(scratch.rglob("*.lmdb"))


def files_open() -> str:
    return Path("/proc/self/maps").read_text()


def reader(scratch: Path, shards: dict[str, Path]) -> subprocess.Popen:
    """Another training on this node."""
    process = subprocess.Popen(
        [sys.executable, "-c", READER, str(scratch), *map(str, shards.values())],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "has its copies\n"
    return process


def test_records_come_from_the_copies_which_go_when_the_training_ends(shards, scratch, capsys):
    store = RegionStore(shards.values())
    before = {key: store[key].features.copy() for key in store}
    with on_scratch([store], str(scratch)):
        assert {key: store[key].features.tolist() for key in store} == {key: before[key].tolist() for key in before}
        assert all(str(copy) in files_open() for copy in copies_in(scratch))
        assert len(copies_in(scratch)) == 3
    assert not copies_in(scratch)
    assert store["a000"].features.tolist() == before["a000"].tolist()
    assert "3 of 3 feature stores" in capsys.readouterr().err


def test_copies_go_when_the_training_fails(shards, scratch):
    with pytest.raises(FloatingPointError), on_scratch([RegionStore(shards.values())], str(scratch)):
        raise FloatingPointError("loss is nan")
    assert not copies_in(scratch)


def test_a_full_disk_costs_the_rest_of_the_copies_and_a_line(shards, scratch, capsys):
    """In the order in which images are read; no file may grow beyond a size, as if the disk were full."""
    store = RegionStore(shards.values())
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (shards["b"].stat().st_size - 1, hard))
    try:
        with on_scratch([store], str(scratch), first=["c006", "b200", "c001"]):
            assert [copy.stat().st_size for copy in copies_in(scratch)] == [shards["c"].stat().st_size]
            assert len(store["b200"]) == len(store["c006"]) == 3
            assert str(shards["b"]) in files_open()
            assert str(shards["c"]) not in files_open()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("1 of 3 feature stores, ")
    assert line.endswith(", the others from where they lie: File too large")


def test_a_disk_without_a_byte_left_costs_all_copies_and_a_line(shards, scratch, capsys):
    """Not even the list of the copies has room there."""
    store = RegionStore(shards.values())
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with on_scratch([store], str(scratch)):
            assert len(store["b200"]) == 3
            assert not copies_in(scratch)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))
    assert f"{scratch}: File too large; feature stores are read from where they lie\n" in capsys.readouterr().err


def test_one_copy_a_node_serves_all_its_trainings_and_outlives_none(shards, scratch, capsys):
    with reader(scratch, shards) as other:
        made = {copy: copy.stat().st_ino for copy in copies_in(scratch)}
        with on_scratch([RegionStore(shards.values())], str(scratch)):
            assert {copy: copy.stat().st_ino for copy in copies_in(scratch)} == made
            other.terminate()
            _, said = other.communicate()
            assert said.endswith("SIGTERM: the copies on this node's disk are removed\n")
            assert set(copies_in(scratch)) == set(made)
        assert not copies_in(scratch)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_what_a_killed_training_left_is_removed_by_the_next_one(shards, scratch, end):
    with reader(scratch, shards) as killed:
        killed.send_signal(end)
        killed.communicate()
    assert len(copies_in(scratch)) == (3 if end == signal.SIGKILL else 0)
    with on_scratch([RegionStore([shards["a"]])], str(scratch)):
        assert len(copies_in(scratch)) == 1


def test_copies_that_were_begun_and_not_ended_are_made_anew(shards, scratch):
    store = RegionStore(shards.values())
    with on_scratch([store], str(scratch)):
        place = copies_in(scratch)[0].parent
    place.mkdir()
    (place / "00000.lmdb").write_bytes(b"half")
    with on_scratch([store], str(scratch)):
        assert len(store["a000"]) == 3


def test_a_variable_is_the_nodes(shards, scratch, monkeypatch):
    monkeypatch.setenv("A_NODES_DISK", str(scratch))
    with on_scratch([RegionStore(shards.values())], "${A_NODES_DISK}"):
        assert len(copies_in(scratch)) == 3
    monkeypatch.delenv("A_NODES_DISK")
    stores = [RegionStore(shards.values())]
    with (
        pytest.raises(ValueError, match=r"\$\{A_NODES_DISK\} is not set on this node"),
        on_scratch(stores, "${A_NODES_DISK}/x"),
    ):
        pass
    with pytest.raises(FileNotFoundError, match="no folder /nowhere"), on_scratch(stores, "/nowhere"):
        pass
