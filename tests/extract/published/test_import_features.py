"""Features that others extracted: every format gives the same records, and every bad row is named."""

import os
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from places import REAL
from published_rows import (
    BOTTOM_UP,
    EXPECTED,
    FEATURE_SIZE,
    LXMERT,
    NUM_CLASSES,
    as_base64,
    make_row,
    write_h5,
    write_lmdb,
    write_npy,
    write_npz,
    write_tsv,
)

from extract.published import formats
from extract.published.formats import FeatureFormat
from extract.published.import_features import import_features, main
from extract.regions.drawing import Image, draw_regions
from extract.regions.inspect import describe_record, describe_store
from extract.regions.store import Regions, RegionStore
from extract.tables import IMPORTED, read_rows

SAMPLE = REAL / "bottom_up_features"
IDS = ("9", "10", "101")  # neither in the order of the numbers nor of the bytes


def write_source(kind: str, folder: Path) -> tuple[FeatureFormat, Path]:
    rows = [make_row(image_id) for image_id in IDS]
    match kind:
        case "bottom_up":
            return FeatureFormat.BOTTOM_UP_TSV, write_tsv(folder / "a.tsv", rows, BOTTOM_UP)
        case "bottom_up with cls_prob":
            return FeatureFormat.BOTTOM_UP_TSV, write_tsv(folder / "a.tsv", rows, (*BOTTOM_UP, "cls_prob"))
        case "lxmert":
            return FeatureFormat.LXMERT_TSV, write_tsv(folder / "a.tsv", rows, LXMERT)
        case "vilbert_beta":
            fields = (*BOTTOM_UP, "cls_prob")
            records = {row["image_id"]: pickle.dumps({f: as_base64(row)[f] for f in fields}, 2) for row in rows}
            return FeatureFormat.VILBERT_LMDB, write_lmdb(folder / "a.lmdb", records)
        case "multi_task":
            records = {row["image_id"]: pickle.dumps({f: row[f] for f in BOTTOM_UP}) for row in rows}
            return FeatureFormat.VILBERT_LMDB, write_lmdb(folder / "a.lmdb", records)
        case "multi_task npy":
            for row in rows:
                write_npy(folder / "a", row)
            return FeatureFormat.VILBERT_NPY, folder / "a"
        case "volta h5":
            return FeatureFormat.VOLTA_H5, write_h5(folder / "a.h5", rows)
        case "volta lmdb":
            return FeatureFormat.VILBERT_LMDB, write_volta_lmdb(folder, rows)
        case "milvlg":
            for row in rows:
                write_npz(folder / "a", row)
            return FeatureFormat.MILVLG_NPZ, folder / "a"
    raise AssertionError(kind)


def write_volta_lmdb(folder: Path, rows: list[dict]) -> Path:
    """As features_extraction/h5_to_lmdb.py of VOLTA."""
    with h5py.File(write_h5(folder / "a.h5", rows)) as file:
        items = {key: {name: data[()] for name, data in file[key].items()} | {"img_id": key} for key in file}
    return write_lmdb(folder / "a.lmdb", {key: pickle.dumps(item) for key, item in items.items()})


def imported(source: tuple[FeatureFormat, Path], folder: Path, **changed) -> tuple[list[dict], RegionStore]:
    image_key = changed.pop("image_key", None)
    store = folder / "store.lmdb"
    rows = import_features(*source, store, expected=replace(EXPECTED, **changed), image_key=image_key)
    return rows, RegionStore([store])


def assert_is(regions: Regions, row: dict, order: np.ndarray) -> None:
    np.testing.assert_array_equal(regions.boxes, row["boxes"][order])
    np.testing.assert_array_equal(regions.features, row["features"][order].astype(np.float16))
    assert regions.image_size == (53, 59)
    assert (regions.num_confident, regions.is_short) == (3, False)


@pytest.mark.parametrize("kind", ["bottom_up with cls_prob", "vilbert_beta", "multi_task npy"])
def test_whole_distributions_are_kept_and_rank_the_regions(kind, tmp_path):
    rows, store = imported(write_source(kind, tmp_path), tmp_path)
    assert [row["key"] for row in rows] == list(store) == ["10", "101", "9"]
    assert store.classes == ("background", "1", "2", "3", "4")
    assert store.manifest.detector["known_classes"] == "all"
    for key in IDS:
        row = make_row(key)
        order = np.argsort(-row["cls_prob"][:, 1:].max(axis=1))
        assert_is(store[key], row, order)
        np.testing.assert_array_equal(store[key].scores, row["cls_prob"][order, 1:].max(axis=1))
        np.testing.assert_array_equal(store[key].class_probs, row["cls_prob"][order].astype(np.float16))


@pytest.mark.parametrize("kind", ["lxmert", "milvlg", "volta h5", "volta lmdb"])
def test_of_the_likeliest_class_alone_the_others_share_the_rest(kind, tmp_path):
    _, store = imported(write_source(kind, tmp_path), tmp_path)
    assert store.manifest.num_classes_kept == 1
    assert store.manifest.detector["known_classes"] == "likeliest"
    for key in IDS:
        row = make_row(key)
        order = np.argsort(-row["objects_conf"])
        assert_is(store[key], row, order)
        np.testing.assert_array_equal(store[key].scores, row["objects_conf"][order])
        best, conf = row["objects_id"][order] + 1, row["objects_conf"][order, None]
        expected = np.where(np.arange(NUM_CLASSES) == best[:, None], conf, (1 - conf) / (NUM_CLASSES - 1))
        np.testing.assert_allclose(store[key].class_probs, expected, atol=1e-3)  # float16


@pytest.mark.parametrize("kind", ["bottom_up", "multi_task"])
def test_without_classes_the_store_has_none_and_scores_are_not_known(kind, tmp_path):
    _, store = imported(write_source(kind, tmp_path), tmp_path)
    assert store.classes == ()
    assert store.manifest.detector == {
        "sha256": None,
        "imported_from": "bottom_up_tsv" if kind == "bottom_up" else "vilbert_lmdb",
        "known_classes": "none",
    }
    for key in IDS:
        assert_is(store[key], make_row(key), np.arange(3))
        assert store[key].class_probs.shape == (3, 0)
        assert np.isnan(store[key].scores).all()


def test_a_store_without_classes_can_be_looked_at(tmp_path):
    _, store = imported(write_source("bottom_up", tmp_path), tmp_path)
    assert "  classes    not known" in describe_store(tmp_path / "store.lmdb", store)
    assert len(describe_record("9", store["9"], classes=store.classes)) == 1 + 3
    drawn = draw_regions(Image.new("RGB", (53, 59)), store["9"], classes=store.classes)
    assert np.asarray(drawn).any()


@pytest.mark.parametrize("kind", ["lxmert", "volta h5"])
def test_attributes_stand_with_their_regions(kind, tmp_path):
    _, store = imported(write_source(kind, tmp_path), tmp_path)
    assert store.attributes == tuple(str(number) for number in range(1, 12))
    for key in IDS:
        row = make_row(key)
        order = np.argsort(-row["objects_conf"])
        np.testing.assert_array_equal(store[key].attribute_ids, row["attrs_id"][order])
        np.testing.assert_array_equal(store[key].attribute_probs, row["attrs_conf"][order].astype(np.float16))
    first = np.argmax(make_row("9")["objects_conf"])
    attribute, prob = make_row("9")["attrs_id"][first] + 1, make_row("9")["attrs_conf"][first]
    line = describe_record("9", store["9"], classes=store.classes, attributes=store.attributes)[1]
    assert line.endswith(f"; {attribute} {np.float16(prob):.2f}")
    assert "  attributes 11, the likeliest of each region" in describe_store(tmp_path / "store.lmdb", store)
    path = tmp_path / "other"
    path.mkdir()
    _, store = imported(write_source("milvlg", path), path)
    assert store.attributes == ()
    assert store["9"].attribute_ids is None


def test_boxes_that_annotations_number_keep_their_order(tmp_path):
    _, store = imported(write_source("bottom_up with cls_prob", tmp_path), tmp_path, box_source="given")
    rows = {key: make_row(key) for key in IDS}
    confidence = np.array([row["cls_prob"][:, 1:].max(axis=1) for row in rows.values()])
    assert (np.diff(confidence) > 0).any(), "ranked already, which tests nothing"
    for key, row in rows.items():
        assert_is(store[key], row, np.arange(3))
    assert store.manifest.box_source == "given"


def test_numbers_become_the_names_of_images_where_a_pattern_says_so(tmp_path):
    source = write_tsv(tmp_path / "a.tsv", [make_row("9"), make_row("x9"), make_row("10")], BOTTOM_UP)
    rows, store = imported((FeatureFormat.BOTTOM_UP_TSV, source), tmp_path, image_key="val_{image_id:04d}")
    assert list(store) == ["val_0009", "val_0010"]
    (bad,) = (row for row in rows if "reason" in row)
    assert (bad["key"], bad["row"], bad["reason"]) == ("x9", 2, "bad_key")


@pytest.mark.parametrize("pattern", ["val", "{image_id:d", "{name}", "{}", "{image_id.x}"])
def test_a_pattern_that_names_no_image_is_an_error(pattern, tmp_path):
    source = write_tsv(tmp_path / "a.tsv", [make_row("9")], BOTTOM_UP)
    with pytest.raises(ValueError, match=r"names no image, expected \{image_id\}"):
        imported((FeatureFormat.BOTTOM_UP_TSV, source), tmp_path, image_key=pattern)


def test_bad_lines_are_rows_of_the_table_and_the_others_are_imported(tmp_path):
    source = write_tsv(tmp_path / "a.tsv", [make_row(key) for key in ("b", "a", "b", "c", "d", "é")], BOTTOM_UP)
    lines = source.read_bytes().splitlines(keepends=True)
    lines[3] = lines[3].replace(b"\t53\t", b"\t53\t53\t")  # a column too many would be cls_prob
    lines[5] = lines[5].replace("é".encode(), b"\xe9")
    cut = lines[4][:-30]  # as a copy that broke off ends
    source.write_bytes(b"".join([*lines[:4], lines[5], b"\r\n", cut]))
    rows, store = imported((FeatureFormat.BOTTOM_UP_TSV, source), tmp_path)
    assert list(store) == ["a", "b"]
    assert {row["row"]: row.get("reason") for row in rows} == {
        1: None,
        2: None,
        3: "duplicate",
        4: "bad_base64",  # what were the boxes
        5: "bad_key",
        6: "bad_key",
        7: "wrong_count",
    }
    assert next(row["detail"] for row in rows if row["row"] == 3) == "row 1 has this image"


def test_a_row_that_is_bad_does_not_hide_a_good_one_of_its_image(tmp_path):
    bad = make_row("a") | {"boxes": make_row("a")["boxes"] + 1000}
    source = write_tsv(tmp_path / "a.tsv", [bad, make_row("a"), make_row("a")], BOTTOM_UP)
    rows, store = imported((FeatureFormat.BOTTOM_UP_TSV, source), tmp_path)
    assert [row.get("reason") for row in rows] == ["bad_box", None, "duplicate"]
    assert_is(store["a"], make_row("a"), np.arange(3))


def test_a_row_that_knows_other_classes_than_the_first_has_no_record(tmp_path):
    source = write_tsv(tmp_path / "a.tsv", [make_row("a")], (*BOTTOM_UP, "cls_prob"))
    more = write_tsv(tmp_path / "b.tsv", [make_row("b")], BOTTOM_UP)
    source.write_bytes(source.read_bytes() + more.read_bytes())
    rows, store = imported((FeatureFormat.BOTTOM_UP_TSV, source), tmp_path)
    assert list(store) == ["a"]
    assert (rows[1]["reason"], rows[1]["detail"]) == ("other_classes", "known: none, of the images before all")


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path):
    source = write_tsv(tmp_path / "a.tsv", [make_row("9"), make_row("10")], BOTTOM_UP)
    source.write_bytes(b"\xef\xbb\xbf" + source.read_bytes())
    _, store = imported((FeatureFormat.BOTTOM_UP_TSV, source), tmp_path, image_key="val_{image_id}")
    assert list(store) == ["val_10", "val_9"]
    assert_is(store["val_9"], make_row("9"), np.arange(3))


def test_a_number_that_no_data_set_has_is_no_key(tmp_path):
    source = write_tsv(tmp_path / "a.tsv", [make_row("9"), make_row("1" * 5000)], BOTTOM_UP)
    rows, store = imported((FeatureFormat.BOTTOM_UP_TSV, source), tmp_path, image_key="val_{image_id}")
    assert list(store) == ["val_9"]
    assert [row.get("reason") for row in rows] == ["bad_key", None]


def test_rows_that_unfold_to_more_than_an_image_has_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "MAX_ROW_BYTES", 2000)
    source = write_tsv(tmp_path / "a.tsv", [make_row(key) for key in ("a", "b", "c")], BOTTOM_UP)
    lines = source.read_bytes().splitlines(keepends=True)
    source.write_bytes(lines[0] + lines[1].replace(b"\r\n", b"A" * 4001 + b"\r\n") + lines[2])
    rows, store = imported((FeatureFormat.BOTTOM_UP_TSV, source), tmp_path)
    assert list(store) == ["a", "c"]
    assert (rows[1]["row"], rows[1]["reason"]) == (2, "too_large")
    folder = tmp_path / "npz"
    write_npz(folder, make_row("a"))
    with zipfile.ZipFile(folder / "b.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", bytes(2001))
    (tmp_path / "out").mkdir()
    rows, store = imported((FeatureFormat.MILVLG_NPZ, folder), tmp_path / "out")
    assert list(store) == ["a"]
    assert rows[1]["reason"] == "too_large"


@settings(deadline=None, max_examples=60, derandomize=True, database=None)
@given(data=st.data(), kind=st.sampled_from(["bottom_up with cls_prob", "lxmert", "milvlg", "multi_task npy"]))
def test_of_a_damaged_source_every_row_is_imported_or_has_a_reason(data, kind, tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    feature_format, source = write_source(kind, folder)
    file = source if source.is_file() else next(source.glob("10.*"))
    damaged = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(damaged) - 1))
        end = place + data.draw(st.integers(0, 40))
        damaged[place:end] = data.draw(st.binary(max_size=8))
    file.write_bytes(damaged)
    rows = import_features(feature_format, source, folder / "s.lmdb", expected=EXPECTED, image_key=None)
    assert all(row["num_regions"] > 0 for row in rows if row.get("reason") is None)
    assert [row["row"] for row in rows if row["key"] == "9" and row.get("reason") is None] or source.is_file()


class Harmful:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def test_pickles_that_name_functions_are_refused_and_not_run(tmp_path):
    target, good = tmp_path / "made", pickle.dumps(make_row("a"))
    records = {"a": good, "b": pickle.dumps(Harmful(target)), "c": good[:-7], "d": pickle.dumps([1]), "e": b""}
    rows, store = imported((FeatureFormat.VILBERT_LMDB, write_lmdb(tmp_path / "l", records)), tmp_path)
    assert list(store) == ["a"]
    assert [row.get("reason") for row in rows] == [None, *["damaged"] * 4]
    assert "posix.mkdir" in rows[1]["detail"]
    assert not target.exists()


def test_npz_files_are_read_without_running_what_they_name(tmp_path):
    target, folder = tmp_path / "made", tmp_path / "npz"
    write_npz(folder, make_row("a"))
    (folder / "b.npz").write_bytes(write_npz(folder, make_row("b")).read_bytes()[:-99])
    np.savez(folder / "c.npz", x=np.zeros(2), info=Harmful(target))
    np.savez(folder / "d.npz", x=np.array([Harmful(target)]))
    (folder / "e.npz").write_bytes(b"no archive")
    rows, store = imported((FeatureFormat.MILVLG_NPZ, folder), tmp_path)
    assert list(store) == ["a"]
    assert [row.get("reason") for row in rows] == [None, *["damaged"] * 4]
    assert not target.exists()


def test_what_is_no_plain_file_among_npz_files_is_a_row(tmp_path):
    """Reading them would never end."""
    write_npz(tmp_path / "npz", make_row("a"))
    os.mkfifo(tmp_path / "npz/b.npz")
    (tmp_path / "npz/c.npz").symlink_to("/dev/zero")
    table, store = imported((FeatureFormat.MILVLG_NPZ, tmp_path / "npz"), tmp_path)
    assert [row.get("reason") for row in table] == [None, "damaged", "damaged"]
    assert list(store) == ["a"]


def test_npz_files_without_objects_know_no_classes(tmp_path):
    row = {name: value for name, value in make_row("a").items() if name != "objects_conf"}
    write_npz(tmp_path / "elsewhere", row)
    (tmp_path / "npz").mkdir()
    (tmp_path / "npz/linked").symlink_to("../elsewhere")
    _, store = imported((FeatureFormat.MILVLG_NPZ, tmp_path / "npz"), tmp_path)
    assert store.classes == ()


def test_an_lmdb_that_is_cut_off_is_named(tmp_path):
    path = write_lmdb(tmp_path / "l", {str(index): pickle.dumps(make_row(str(index))) for index in range(31)})
    data = (path / "data.mdb").read_bytes()
    (path / "data.mdb").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"data\.mdb is cut off: .* copy it again"):
        imported((FeatureFormat.VILBERT_LMDB, path), tmp_path)


def run(source: tuple[FeatureFormat, Path], store: Path) -> None:
    main(*source, store, feature_size=FEATURE_SIZE, num_classes=NUM_CLASSES)


def test_the_command_prints_the_counts_and_writes_the_table_beside_the_store(tmp_path, capsys):
    source = write_tsv(tmp_path / "a.tsv", [make_row("b"), make_row("a"), make_row("b")], BOTTOM_UP)
    run((FeatureFormat.BOTTOM_UP_TSV, source), tmp_path / "out" / "train.lmdb")
    assert capsys.readouterr().out == "3 rows: 2 imported, 1 duplicate\n"
    assert read_rows(tmp_path / "out" / "train.parquet", IMPORTED) == [
        {"key": "a", "row": 2, "num_regions": 3, "reason": None, "detail": None},
        {"key": "b", "row": 1, "num_regions": 3, "reason": None, "detail": None},
        {"key": "b", "row": 3, "num_regions": 0, "reason": "duplicate", "detail": "row 1 has this image"},
    ]


def test_a_source_of_another_format_leaves_a_table_and_no_store(tmp_path):
    source = write_tsv(tmp_path / "a.tsv", [make_row("a")], LXMERT)
    with pytest.raises(ValueError, match=r"no row of .*a\.tsv is whole bottom_up_tsv; .*a\.parquet says why"):
        run((FeatureFormat.BOTTOM_UP_TSV, source), tmp_path / "out" / "a.lmdb")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.parquet"]
    (row,) = read_rows(tmp_path / "out/a.parquet", IMPORTED)
    assert (row["reason"], row["detail"]) == ("wrong_columns", "10, expected 6 or 7")


@pytest.mark.parametrize(
    ("feature_format", "name"), [("bottom_up_tsv", "gone"), ("vilbert_lmdb", ""), ("milvlg_npz", "")]
)
def test_nothing_there_is_an_error(feature_format, name, tmp_path):
    with pytest.raises((ValueError, FileNotFoundError)):
        run((FeatureFormat(feature_format), tmp_path / name), tmp_path / "out" / "a.lmdb")


def test_a_store_that_is_there_is_not_written_over(tmp_path):
    source = FeatureFormat.BOTTOM_UP_TSV, write_tsv(tmp_path / "a.tsv", [make_row("a")], BOTTOM_UP)
    run(source, tmp_path / "a.lmdb")
    with pytest.raises(ValueError, match="is there already"):
        run(source, tmp_path / "a.lmdb")


def test_real_features_of_bottom_up_attention_are_all_imported(tmp_path):
    source = SAMPLE / "five_images_36_boxes.tsv"
    if not source.exists():
        pytest.skip(f"no real sample at {source}")
    main(FeatureFormat.LXMERT_TSV, source, tmp_path / "real.lmdb")
    store = RegionStore([tmp_path / "real.lmdb"])
    assert len(store) == 5
    regions = store["COCO_train2014_000000132417"]
    assert regions.image_size == (500, 333)  # the height stands first in the file
    assert regions.features.shape == (36, 2048)
    assert regions.boxes.max() == 499.5
    assert (np.diff(regions.scores) <= 0).all()
    assert regions.scores[0] == pytest.approx(0.8533651)
    assert len(store.attributes) == 400
    assert regions.attribute_ids.max() < 400
    assert regions.class_probs[0].argmax() == 72 + 1  # 'tree' is line 73 of the 1600 names, the background before it
    sums = regions.class_probs.sum(axis=1, dtype=np.float32)
    np.testing.assert_allclose(sums, 1, atol=1e-2)
