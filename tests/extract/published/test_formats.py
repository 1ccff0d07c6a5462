"""Files of vilbert-multi-task and VOLTA that are damaged, or made to harm whoever reads them."""

import os
import re
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from published_rows import EXPECTED, FEATURE_SIZE, NUM_CLASSES, make_row, write_h5, write_npy

from extract.published import formats
from extract.published.formats import FeatureFormat
from extract.published.import_features import import_features, main


def reasons(feature_format: FeatureFormat, source: Path, folder: Path) -> dict[str, str | None]:
    """Of every row of the source, by key; null: it is imported."""
    rows = import_features(feature_format, source, folder / "s.lmdb", expected=EXPECTED, image_key=None)
    return {row["key"]: row.get("reason") for row in rows}


class Harmful:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


BAD = [  # what is other in a row, and why that is no record
    ({"boxes": None}, "no_numbers"),
    ({"boxes": np.zeros((2, 4), np.float32)}, "wrong_count"),
    ({"boxes": np.full((3, 4), np.nan, np.float32)}, "bad_box"),
    ({"features": np.full((3, FEATURE_SIZE), np.nan, np.float32)}, "not_finite"),
    ({"features": np.zeros((3, FEATURE_SIZE + 1), np.float32)}, "wrong_count"),
    ({"image_w": None}, "bad_number"),
    ({"image_w": 0}, "bad_number"),
]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [*BAD, ({"features": None}, "bad_number"), ({"features": np.zeros((0, FEATURE_SIZE), np.float32)}, "no_regions")],
)
def test_a_group_that_breaks_a_rule_is_named_and_the_others_are_imported(changed, reason, tmp_path):
    ((name, value),) = changed.items()
    place = {"image_w": "img_w"}.get(name, name)
    with h5py.File(write_h5(tmp_path / "a.h5", [make_row(key) for key in "abc"]), "a") as file:
        del file["b"][place]
        if value is not None:
            file["b"][place] = value
    assert reasons(FeatureFormat.VOLTA_H5, tmp_path / "a.h5", tmp_path) == {"a": None, "b": reason, "c": None}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [*BAD, ({"features": None}, "no_numbers"), ({"features": np.zeros((0, FEATURE_SIZE), np.float32)}, "wrong_count")],
)
def test_an_npy_file_that_breaks_a_rule_is_named_and_the_others_are_imported(changed, reason, tmp_path):
    paths = {key: write_npy(tmp_path / "npy", make_row(key)) for key in "abc"}
    ((name, value),) = changed.items()
    info = np.load(paths["b"], allow_pickle=True).item()
    place = {"boxes": "bbox", "image_w": "image_width"}.get(name, name)
    info[place] = value
    if value is None:
        del info[place]
    np.save(paths["b"], info, allow_pickle=True)
    assert reasons(FeatureFormat.VILBERT_NPY, tmp_path / "npy", tmp_path) == {"a": None, "b": reason, "c": None}


def test_npy_files_are_read_without_running_what_they_name(tmp_path, monkeypatch):
    target, folder = tmp_path / "made", tmp_path / "npy"
    good = write_npy(folder, make_row("a")).read_bytes()
    np.save(folder / "b.npy", make_row("b") | {"features": Harmful(target)}, allow_pickle=True)
    (folder / "c.npy").write_bytes(good[:-99])
    np.save(folder / "d.npy", np.zeros((3, 7), np.float32))
    (folder / "e.npy").write_bytes(b"")
    os.mkfifo(folder / "f.npy")
    (folder / "g.npy").symlink_to("/dev/zero")
    (folder / "h.npy").write_bytes(good + bytes(1000))
    monkeypatch.setattr(formats, "MAX_ROW_BYTES", len(good) + 999)
    found = reasons(FeatureFormat.VILBERT_NPY, folder, tmp_path)
    assert found == {"a": None} | dict.fromkeys("bcdefg", "damaged") | {"h": "too_large"}
    assert not target.exists()


def test_what_an_h5_file_leads_to_elsewhere_is_not_read(tmp_path, monkeypatch):
    write_h5(tmp_path / "other.h5", [make_row("secret")])
    (tmp_path / "secret").write_bytes(make_row("d")["features"].tobytes())
    names = "abcdefghi"
    with h5py.File(write_h5(tmp_path / "a.h5", [make_row(name) for name in names]), "a") as file:
        file["k"] = h5py.ExternalLink("other.h5", "/secret")
        file["l"] = h5py.SoftLink("/a")
        file["m"] = np.zeros(3)
        for name in "bcdefgh":
            del file[name]["features"]
        file["b"]["features"] = h5py.ExternalLink("other.h5", "/secret/features")
        file["c"].create_dataset(
            "features", (3, FEATURE_SIZE), "f4", external=[(str(tmp_path / "secret"), 0, h5py.h5f.UNLIMITED)]
        )
        layout = h5py.VirtualLayout((3, FEATURE_SIZE), "f4")
        layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "secret/features", (3, FEATURE_SIZE))
        file["d"].create_virtual_dataset("features", layout)
        file["e"].create_dataset("features", (3, 1 << 40), "f4", chunks=(3, 1 << 10))
        file["f"]["features"] = np.array(["text"] * 3, dtype=h5py.string_dtype())
        file["g"].create_group("features")
        file["h"]["features"] = np.zeros((3, FEATURE_SIZE), np.complex64)
    found = reasons(FeatureFormat.VOLTA_H5, tmp_path / "a.h5", tmp_path)
    expected = dict.fromkeys("ai", None) | dict.fromkeys("bcdfgklm", "damaged") | {"e": "too_large", "h": "no_numbers"}
    assert found == expected


def run(source: Path, store: Path) -> None:
    main(FeatureFormat.VOLTA_H5, source, store, feature_size=FEATURE_SIZE, num_classes=NUM_CLASSES)


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_an_h5_file_that_is_cut_off_is_named(share, tmp_path):
    data = write_h5(tmp_path / "a.h5", [make_row(str(number)) for number in range(17)]).read_bytes()
    (tmp_path / "cut.h5").write_bytes(data[: int(share * len(data))])
    with pytest.raises(ValueError, match=r"cut\.h5 is no whole HDF5 file .* copy it again"):
        run(tmp_path / "cut.h5", tmp_path / "s.lmdb")


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.h5")
    with pytest.raises(OSError, match="neither a file nor a link to one"):
        run(tmp_path / "a.h5", tmp_path / "s.lmdb")
    (tmp_path / "b.h5").mkdir()
    with pytest.raises(OSError, match="neither a file nor a link to one"):
        run(tmp_path / "b.h5", tmp_path / "s.lmdb")


def test_without_h5py_it_is_said_how_to_get_it(tmp_path, monkeypatch):
    write_h5(tmp_path / "a.h5", [make_row("a")])
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=re.escape("needs the package h5py; pip install 'vilbert[h5]'")):
        run(tmp_path / "a.h5", tmp_path / "s.lmdb")
