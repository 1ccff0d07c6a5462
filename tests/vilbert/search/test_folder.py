import json
import os
import shutil
import subprocess
import sys
import tarfile
import time

import numpy as np
import pytest
from commands import ONE_THREAD
from PIL import ExifTags, Image
from safetensors.torch import load_file, save_file

from vilbert.model.directory import WEIGHTS, sha256_of
from vilbert.search.embed import read_embeddings, write_embeddings
from vilbert.search.folder import digest_of
from vilbert.search.folder import main as index_folder
from vilbert.search.index import ImageIndex
from vilbert.search.page import answer
from vilbert.search.searcher import Searcher
from vilbert.search.sheet import read_picture


def test_a_store_is_indexed_and_searched(search_world, dual_encoder, tmp_path):
    index_folder(dual_encoder, search_world.world.stores[1], tmp_path / "index")
    assert len(ImageIndex(tmp_path / "index")) == 11
    rows = Searcher(tmp_path / "index").by_text("a red circle", k=3, rerank=2)
    assert len(rows) == 3
    assert ["score" in row for row in rows] == [True, True, False]


def test_a_part_of_a_folder_is_known_by_its_files_and_the_model(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"1")
    first = digest_of(tmp_path, ["a.jpg"], "model")
    assert digest_of(tmp_path, ["a.jpg"], "model") == first
    assert digest_of(tmp_path, ["a.jpg"], "other") != first
    (tmp_path / "a.jpg").write_bytes(b"12")
    assert digest_of(tmp_path, ["a.jpg"], "model") != first


@pytest.mark.slow
def test_a_killed_build_goes_on_behind_the_parts_that_it_has_made(folder_model, pictures, tmp_path, monkeypatch):
    """By parts of one picture; what was made is read, as a mark in it shows, and the rest is as in a whole build."""
    monkeypatch.setattr("vilbert.search.folder.AT_ONCE", 1)
    index_folder(folder_model, pictures, tmp_path / "whole")
    script = "import sys, vilbert.search.folder as folder; folder.AT_ONCE = 1; folder.run(folder.main)"
    arguments = [folder_model, pictures, tmp_path / "index"]
    build = subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)], env=ONE_THREAD)
    while not (made := list((tmp_path / ".index.parts").glob("*.npz"))) and build.poll() is None:
        time.sleep(0.01)
    build.kill()
    assert build.wait() == -9
    digest = sha256_of(folder_model / WEIGHTS)
    keys, _ = read_embeddings(made[0], model=digest)
    marked = np.eye(1, 13, dtype=np.float32)
    write_embeddings(made[0], keys, marked, model=digest)

    index_folder(*arguments)
    vectors, whole = (ImageIndex(tmp_path / name).vectors.reconstruct_n(0, 3) for name in ("index", "whole"))
    assert keys == ["a.png"]
    np.testing.assert_array_equal(vectors, [*marked, *whole[1:]])
    assert not (tmp_path / ".index.parts").exists()


def test_a_folder_of_pictures_is_no_place_for_their_index(dual_encoder, tmp_path):
    Image.new("RGB", (31, 17)).save(tmp_path / "a.png")
    with pytest.raises(FileExistsError, match="is there and is no index"):
        index_folder(dual_encoder, tmp_path, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "avif"])
def test_a_picture_is_shown_as_its_boxes_were_found_which_is_as_one_sees_it(tmp_path, suffix):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (31, 17)).save(tmp_path / f"a.{suffix}", exif=exif)
    assert read_picture({"image": "a", "path": str(tmp_path / f"a.{suffix}")}).size == (17, 31)


def test_a_picture_that_is_none_by_now_has_its_reason_and_is_not_to_be_removed(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"<html>")
    for path, reason in ((tmp_path / "a.jpg", "not_an_image"), (tmp_path / "b.jpg", "no_file")):
        with pytest.raises(ValueError, match=reason) as raised:
            read_picture({"image": path.name, "path": str(path)})
        assert "remove" not in str(raised.value)


def test_the_page_says_what_is_wrong_and_why_a_picture_is_not_shown(search_world, dual_encoder, tmp_path):
    index_folder(dual_encoder, search_world.world.stores[1], tmp_path / "index")
    searcher = Searcher(tmp_path / "index")
    assert answer(searcher, "  ", 3, 0, False) == (
        [],
        "the text is empty, expected a question, a caption or an expression",
    )
    shown, told = answer(searcher, "a red circle", 2, 0, False)
    assert not shown
    assert told.count("the index does not know where the picture lies") == 2


def test_a_name_that_is_no_text_is_a_row_and_the_others_are_found(folder_model, pictures, tmp_path, capsys):
    shutil.copy(pictures / "a.png", os.fsencode(pictures) + b"/caf\xe9.png")
    index_folder(folder_model, pictures, tmp_path / "index")
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["image"], row["reason"]) == ("café.png", "name_is_no_text")
    assert len(ImageIndex(tmp_path / "index")) == 3


def test_where_no_picture_can_be_read_the_reasons_are_told_all_the_same(folder_model, tmp_path, capsys):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/a.jpg").write_bytes(b"<html>")
    with pytest.raises(ValueError, match="there is no image to put into"):
        index_folder(folder_model, tmp_path / "bad", tmp_path / "index")
    assert [(row["image"], row["reason"]) for row in json.loads(capsys.readouterr().out)] == [("a.jpg", "not_an_image")]


def test_a_teacher_that_is_another_by_now_is_not_asked_unless_it_is_named(search_world, dual_encoder, tmp_path):
    index_folder(dual_encoder, search_world.world.stores[1], tmp_path / "index")
    other = shutil.copytree(search_world.teacher, tmp_path / "teacher")
    weights = load_file(other / WEIGHTS)
    weights["alignment_head.bias"] += 1
    save_file(weights, other / WEIGHTS, metadata={"format": "pt"})
    student = shutil.copytree(dual_encoder, tmp_path / "student")
    said = json.loads((student / "provenance.json").read_text())
    (student / "provenance.json").write_text(json.dumps(said | {"teacher": str(other)}))
    with pytest.raises(ValueError, match="is another model by now than the one that "):
        Searcher(tmp_path / "index", model=student).by_text("a red circle", k=3, rerank=2)
    assert "score" in Searcher(tmp_path / "index", model=student, teacher=other).by_text("a circle", k=1, rerank=1)[0]
    said = json.loads((other / "provenance.json").read_text())
    of_others = said | {"regions": said["regions"] | {"detector": "0" * 64}}
    (other / "provenance.json").write_text(json.dumps(of_others))
    with pytest.raises(ValueError, match="detector was 0000"):
        Searcher(tmp_path / "index", model=student, teacher=other).by_text("a red circle", k=3, rerank=2)


def test_what_its_store_or_tar_has_no_more_is_told(search_world, dual_encoder, tmp_path):
    index_folder(dual_encoder, search_world.world.stores[1], tmp_path / "index")
    searcher = Searcher(tmp_path / "index")
    (row,) = searcher.by_text("a red circle", k=1)
    with pytest.raises(ValueError, match="holds no image 'gone' any more; make the index"):
        searcher.regions(row | {"image": "gone"})
    with tarfile.open(tmp_path / "images.tar", "w"):
        pass
    with pytest.raises(ValueError, match=r"images\.tar holds no gone\.jpg any more"):
        read_picture({"image": "gone", "path": str(tmp_path / "images.tar")})
