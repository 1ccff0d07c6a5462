"""The feature store: what goes in comes out, files are whole or absent, and readers survive what loaders do to them."""

import json
import multiprocessing
import pickle
from dataclasses import replace

import lmdb
import numpy as np
import pytest

from extract.regions.store import Regions, RegionStore, RegionStoreWriter

CLASSES = ("background", "red circle", "blue square", "green star", "red star")


def make_regions(*, num_regions=7, feature_size=11, seed=0, dtype=np.float16):
    generator = np.random.default_rng(seed)
    probs = generator.dirichlet(np.ones(len(CLASSES)), num_regions)
    return Regions(
        boxes=generator.uniform(0, 50, (num_regions, 4)).astype(np.float32),
        scores=generator.uniform(size=num_regions).astype(np.float32),
        features=generator.normal(size=(num_regions, feature_size)).astype(np.float16),
        class_probs=probs.astype(dtype),
        image_size=(53, 59),
        num_confident=3,
        is_short=num_regions < 5,
    )


def open_writer(path, *, num_classes_kept=None, feature_size=11, detector="a", attributes=(), map_size=1 << 20):
    return RegionStoreWriter(
        path,
        classes=CLASSES,
        feature_size=feature_size,
        num_classes_kept=num_classes_kept,
        box_source="proposal",
        detector={"sha256": detector},
        selection={"threshold": 0.2},
        attributes=attributes,
        map_size=map_size,
    )


def write(path, records, **settings):
    with open_writer(path, **settings) as writer:
        for key, regions in records.items():
            writer.put(key, regions)
    return path


def assert_equal(actual, expected):
    for name in ("boxes", "scores", "features", "class_probs"):
        np.testing.assert_array_equal(getattr(actual, name), getattr(expected, name), strict=True)
    for name in ("image_size", "num_confident", "is_short"):
        assert getattr(actual, name) == getattr(expected, name)


@pytest.mark.parametrize("num_regions", [0, 1, 7, 37])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_record_comes_back_as_it_was_written(tmp_path, num_regions, dtype):
    regions = make_regions(num_regions=num_regions, dtype=dtype)
    store = RegionStore([write(tmp_path / "0.lmdb", {"a": regions})])
    assert_equal(store["a"], regions)
    assert (store.classes, store.feature_size) == (CLASSES, 11)


@pytest.mark.parametrize("num_classes_kept", [None, 2])
def test_attributes_come_back_where_the_detector_names_them(tmp_path, num_classes_kept):
    ids, probs = np.array([4, 0, 2, 1, 1, 3, 0], np.uint16), np.linspace(0.25, 1, 7).astype(np.float16)
    regions = replace(make_regions(), attribute_ids=ids, attribute_probs=probs)
    names = ("red", "blue", "tall", "old", "wet")
    path = write(tmp_path / "0.lmdb", {"a": regions}, attributes=names, num_classes_kept=num_classes_kept)
    store = RegionStore([path])
    assert store.attributes == names
    np.testing.assert_array_equal(store["a"].attribute_ids, ids, strict=True)
    np.testing.assert_array_equal(store["a"].attribute_probs, probs, strict=True)
    np.testing.assert_array_equal(store["a"].features, regions.features, strict=True)


def test_attributes_that_the_store_does_not_name_are_refused_and_so_are_missing_ones(tmp_path):
    regions = make_regions()
    ids = np.zeros(7, np.uint16)
    named = replace(regions, attribute_ids=ids, attribute_probs=ids.astype(np.float16))
    with pytest.raises(ValueError, match="image 'a' has attributes, the store names 0"):
        write(tmp_path / "0.lmdb", {"a": named})
    with pytest.raises(ValueError, match="image 'a' has no attributes, the store names 1"):
        write(tmp_path / "1.lmdb", {"a": regions}, attributes=("red",))
    with pytest.raises(ValueError, match="one row a region"):
        replace(named, attribute_probs=np.zeros(6, np.float16))


def test_the_most_probable_classes_are_kept_and_the_rest_is_spread_evenly(tmp_path):
    probs = np.array([[0.125, 0.5, 0.25, 0.0625, 0.0625], [0.2, 0.2, 0.2, 0.2, 0.2]], np.float32)
    regions = make_regions(num_regions=2)
    regions = Regions(**(vars(regions) | {"class_probs": probs}))
    store = RegionStore([write(tmp_path / "0.lmdb", {"a": regions}, num_classes_kept=2)])
    rest = 0.25 / 3
    expected = [[rest, 0.5, 0.25, rest, rest], [0.2, 0.2, 0.2, 0.2, 0.2]]
    np.testing.assert_allclose(store["a"].class_probs, expected, rtol=1e-3)


def test_all_shards_are_one_mapping_in_the_order_of_the_keys(tmp_path):
    records = {f"train-{row:08d}": make_regions(seed=row) for row in range(13)}
    keys = list(records)
    parts = [keys[:5], [], keys[5:11], keys[11:]]
    paths = [write(tmp_path / f"{i}.lmdb", {key: records[key] for key in part}) for i, part in enumerate(parts)]
    store = RegionStore(reversed(paths))
    assert list(store) == keys
    assert len(store) == 13
    for key, regions in records.items():
        assert key in store
        assert_equal(store[key], regions)


def test_an_unknown_key_is_a_key_error_with_the_key(tmp_path):
    store = RegionStore([write(tmp_path / "0.lmdb", {"b": make_regions()})])
    for key in ("a", "c", "", "x" * 600):
        assert key not in store
        assert store.get(key) is None
    with pytest.raises(KeyError, match=r"image 'c' is not in .*0.lmdb"):
        store["c"]


def test_arrays_are_views_of_the_file_that_outlive_the_store(tmp_path):
    regions = make_regions(num_regions=37, feature_size=211)
    path = write(tmp_path / "0.lmdb", {"a": regions}, feature_size=211)
    found = RegionStore([path])["a"]
    path.unlink()
    assert not found.features.flags.owndata
    assert not found.features.flags.writeable
    assert found.features.flags.aligned
    assert_equal(found, regions)


def test_short_records_are_aligned_too(tmp_path):
    """LMDB packs records below half a page one behind the other."""
    store = RegionStore([write(tmp_path / "0.lmdb", {"k" * n: make_regions(num_regions=1) for n in range(1, 8)})])
    assert all(regions.boxes.flags.aligned for regions in store.values())


def read_in_child(store, key, queue):
    queue.put(store[key].features.copy())


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_an_open_store_may_be_forked_and_sent_to_a_new_process(tmp_path, method):
    regions = make_regions()
    store = RegionStore([write(tmp_path / "0.lmdb", {"a": regions})])
    held = store["a"]
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=read_in_child, args=(store, "a", queue))
    child.start()
    np.testing.assert_array_equal(queue.get(timeout=60), regions.features)
    child.join()
    assert child.exitcode == 0
    assert_equal(held, regions)


def test_two_stores_of_one_process_may_read_one_file(tmp_path):
    path = write(tmp_path / "0.lmdb", {"a": make_regions()})
    one, other = RegionStore([path]), RegionStore([path])
    assert_equal(one["a"], other["a"])
    assert_equal(pickle.loads(pickle.dumps(one))["a"], one["a"])


def test_equal_input_gives_equal_records_and_manifests(tmp_path):
    records = {"a": make_regions(), "b": make_regions(seed=1)}
    write(tmp_path / "one" / "0.lmdb", records)
    write(tmp_path / "other" / "0.lmdb", records)
    one, other = ((tmp_path / name / "0.json").read_bytes() for name in ("one", "other"))
    assert one == other
    write(tmp_path / "third" / "0.lmdb", records | {"b": make_regions(seed=2)})
    assert json.loads(one)["sha256"] != json.loads((tmp_path / "third" / "0.json").read_text())["sha256"]


def test_a_full_map_grows_without_losing_records(tmp_path):
    records = {f"{row:03d}": make_regions(seed=row) for row in range(131)}
    store = RegionStore([write(tmp_path / "0.lmdb", records, map_size=1 << 15)])
    for key, regions in records.items():
        assert_equal(store[key], regions)


def test_a_failure_leaves_nothing_behind(tmp_path):
    records = {"b": make_regions(), "a": make_regions()}
    with pytest.raises(ValueError, match="'a' comes after 'b'"):
        write(tmp_path / "0.lmdb", records)
    assert list(tmp_path.iterdir()) == []


def test_a_finished_shard_is_two_files(tmp_path):
    write(tmp_path / "0.lmdb", {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.json", "0.lmdb"]
    assert list(RegionStore([tmp_path / "0.lmdb"])) == []


def test_keys_out_of_order_are_refused(tmp_path):
    with open_writer(tmp_path / "0.lmdb") as writer:
        writer.put("b", make_regions())
        for key in ("a", "b"):
            with pytest.raises(ValueError, match=f"'{key}' comes after 'b'"):
                writer.put(key, make_regions())
        with pytest.raises(ValueError, match="600 bytes, expected 1 to 511"):
            writer.put("x" * 600, make_regions())


def test_arrays_that_do_not_fit_are_refused(tmp_path):
    with open_writer(tmp_path / "0.lmdb") as writer:
        with pytest.raises(ValueError, match=r"features of image 'a' are \(7, 13\), expected \(7, 11\)"):
            writer.put("a", make_regions(feature_size=13))
        overflow = make_regions()
        overflow.features[0, 0] = np.inf
        with pytest.raises(ValueError, match="features of image 'a' hold values that are no numbers of float16"):
            writer.put("a", overflow)
    with pytest.raises(ValueError, match="one row a region, got"):
        Regions(**(vars(make_regions()) | {"scores": np.zeros(3, np.float32)}))
    with pytest.raises(ValueError, match="num_classes_kept is 5, expected 1 to 4 or null"):
        open_writer(tmp_path / "1.lmdb", num_classes_kept=5)


def test_a_store_without_its_manifest_is_missing(tmp_path):
    path = write(tmp_path / "0.lmdb", {"a": make_regions()})
    (tmp_path / "0.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"0.json is missing; make it with `snakemake .*0.lmdb`"):
        RegionStore([path])


def test_another_schema_version_is_refused(tmp_path):
    path = write(tmp_path / "0.lmdb", {"a": make_regions()})
    manifest = json.loads((tmp_path / "0.json").read_text())
    (tmp_path / "0.json").write_text(json.dumps(manifest | {"schema_version": 1}))
    with pytest.raises(ValueError, match=r"schema version 1, expected 2; make it anew with"):
        RegionStore([path])


@pytest.mark.parametrize("num_bytes", [100, 8192, 20000])
def test_a_truncated_file_is_an_error_not_a_crash(tmp_path, num_bytes):
    path = write(tmp_path / "0.lmdb", {f"{row:03d}": make_regions(seed=row) for row in range(67)})
    path.write_bytes(path.read_bytes()[:num_bytes])
    with pytest.raises(
        ValueError, match=r"0.lmdb is (cut off: \d+ bytes, expected \d+|no whole LMDB file).*make it anew"
    ):
        RegionStore([path])["000"]


def test_a_store_and_a_manifest_of_different_runs_are_refused(tmp_path):
    path = write(tmp_path / "0.lmdb", {"a": make_regions()})
    other = write(tmp_path / "1.lmdb", {"a": make_regions(), "b": make_regions()})
    path.write_bytes(other.read_bytes())
    with pytest.raises(ValueError, match=r"0.lmdb has 2 records, its manifest says 1"):
        RegionStore([path])["a"]


def test_a_record_of_something_else_is_refused(tmp_path):
    path = write(tmp_path / "0.lmdb", {"a": make_regions()})
    for value, message in ((b"?", "has 1 bytes, expected at least 44"), (b"x" * 99, "starts with b'xxxx'")):
        with (
            lmdb.open(str(path), subdir=False, lock=False) as environment,
            environment.begin(write=True) as transaction,
        ):
            transaction.put(b"a", value)
        with pytest.raises(ValueError, match=message):
            RegionStore([path])["a"]


def test_shards_of_different_detectors_are_not_mixed(tmp_path):
    one = write(tmp_path / "0.lmdb", {"a": make_regions()})
    other = write(tmp_path / "1.lmdb", {"b": make_regions()}, detector="b")
    with pytest.raises(ValueError, match=r"1.lmdb and .*0.lmdb differ in detector; make one"):
        RegionStore([one, other])


def test_shards_that_overlap_are_refused(tmp_path):
    one = write(tmp_path / "0.lmdb", {"a": make_regions(), "c": make_regions()})
    other = write(tmp_path / "1.lmdb", {"b": make_regions()})
    with pytest.raises(ValueError, match=r"0.lmdb and .*1.lmdb overlap at image key 'b'"):
        RegionStore([one, other])
    with pytest.raises(ValueError, match="no shards"):
        RegionStore([])


@pytest.mark.parametrize("limit", [1 << 9, 1 << 14], ids=["when it is opened", "when it is filled"])
def test_a_full_disk_is_an_error_that_leaves_nothing(tmp_path, largest_file, limit):
    with largest_file(limit), pytest.raises(OSError, match=r"a\.lmdb could not be written: .*; make room on its disk"):
        write(tmp_path / "a.lmdb", {f"{index:03d}": make_regions() for index in range(97)})
    assert list(tmp_path.iterdir()) == []
