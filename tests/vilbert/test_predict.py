import json

import numpy as np
import pytest
import torch
from PIL import Image
from small_run import make_model, make_picture, make_run

import vilbert
from extract.finder import FoundRegions, files_to_look_at
from extract.images.decoding import SUFFIXES
from vilbert.looking import MARK
from vilbert.model.modeling_vilbert import VilbertForPreTraining
from vilbert.pipelines import own_regions
from vilbert.predict import What, best_of, draw_boxes, falling, in_folder, main

EXPECTED = f"expected one of {', '.join(sorted(SUFFIXES))}"


def test_every_file_of_a_folder_is_an_image_or_has_its_reason(tmp_path):
    for name in ("b/x.jpg", "a/x.jfif", "c.TIF", "notes.txt", "phone.heic"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    images, others = files_to_look_at(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in images] == ["a/x.jfif", "b/x.jpg", "c.TIF"]
    assert [(name, *objection) for name, objection in others] == [
        ("notes.txt", "not_an_image", EXPECTED),
        ("phone.heic", "not_an_image", EXPECTED),
    ]
    assert files_to_look_at(tmp_path / "notes.txt") == ([tmp_path / "notes.txt"], [])


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no image in"):
        files_to_look_at(tmp_path)


def found(name: str, *, size=(41, 73)) -> FoundRegions:
    regions = own_regions(np.ones((1, 3)), np.array([[0, 0, 9, 9]]), size)
    return FoundRegions(name, regions, Image.new("RGB", size))


def test_boxes_are_drawn_into_the_images_in_whose_pixels_they_are(tmp_path):
    rows = [
        {"image": "a.jpg", "box": [5, 7, 30, 60]},
        {"image": "b/a.jpg", "box": [5, 10, 20, 30]},
        {"image": "c.jpg", "reason": "x"},
    ]
    draw_boxes(rows, [found(row["image"]) for row in rows], tmp_path)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png")) == ["a.jpg.png", "b/a.jpg.png"]
    for name, box in (("a.jpg", (5, 7, 31, 61)), ("b/a.jpg", (5, 10, 21, 31))):
        with Image.open(tmp_path / f"{name}.png") as image:
            is_marked = (np.asarray(image) == [int(MARK[place : place + 2], 16) for place in (1, 3, 5)]).all(-1)
            assert Image.fromarray(is_marked).getbbox() == box


def test_images_are_called_by_their_paths_below_the_folder(tmp_path, capsys):
    class Finder:
        def find(self, pictures):
            return [found(str(path)) for path in pictures]

    files = [tmp_path / "b c/ü.jpg", tmp_path / "a.jpg"]
    (part,) = in_folder(Finder(), files, tmp_path)
    assert [one.name for one in part] == ["b c/ü.jpg", "a.jpg"]
    files[1].touch()
    (part,) = in_folder(Finder(), files[1:], files[1])
    assert [one.name for one in part] == ["a.jpg"]
    assert capsys.readouterr().err == ""  # nobody watches


@pytest.mark.parametrize(
    ("row", "best"),
    [
        ({"answers": [{"answer": "a", "probability": 0.7}, {"answer": "b", "probability": 0.2}]}, 0.7),
        ({"labels": [], "probabilities": {"a": 0.1, "b": 0.3}}, 0.3),
        ({"score": -3.0}, -3.0),
        ({"box": [1, 2, 3, 4], "score": 0.4}, 0.4),
    ],
)
def test_images_are_in_the_order_of_what_is_surest(row, best):
    assert best_of(row) == best


def test_the_best_stand_first_and_what_is_no_number_last():
    assert sorted([float("nan"), 3, float("nan"), 7, 5], key=falling)[:3] == [7, 5, 3]


@pytest.mark.parametrize(
    ("images", "text", "message"),
    [
        ("images", "  ", "the text is empty, expected a question, a caption or an expression"),
        ("x.lmdb", "a dog", "holds no pixels: give the folder of the images to draw boxes into"),
    ],
)
def test_what_makes_no_sense_ends_before_anything_is_loaded(tmp_path, images, text, message):
    with pytest.raises(ValueError, match=message):
        main(tmp_path / "no model", tmp_path / images, text, pictures=tmp_path / "drawn")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_ends_in_one_sentence(tmp_path):
    with pytest.raises(ValueError, match=r"^asked for cuda, and PyTorch finds no GPU; without --device it takes the"):
        main(tmp_path, tmp_path, "a dog", device="cuda")


def test_a_pretrained_model_is_asked_for_all_that_it_can(tmp_path, capsys):
    (tmp_path / "run").mkdir()
    model = make_model(make_run(tmp_path / "run"), VilbertForPreTraining, name="pretrain")
    (tmp_path / "pictures").mkdir()
    make_picture().save(tmp_path / "pictures/a.png")
    (tmp_path / "pictures/b.png").write_bytes(b"none")
    ask = vilbert.pipeline(model)
    expected = {
        "score": ask.score,
        "fill": ask.fill,
        "embed": ask.embed,
    }
    for what, of_pipeline in expected.items():
        main(model, tmp_path / "pictures", "a [MASK] circle", what=What(what))
        row, left_out = json.loads(capsys.readouterr().out)
        (known,) = of_pipeline([tmp_path / "pictures/a.png"], "a [MASK] circle")
        assert row.keys() == known.keys()
        assert left_out["image"] == "b.png"
        for name in row.keys() - {"image"}:
            assert row[name] == (known[name].tolist() if what == "embed" else known[name])


def test_what_each_word_looks_at_is_told_and_drawn(tmp_path, capsys):
    (tmp_path / "run").mkdir()
    model = make_model(make_run(tmp_path / "run"), VilbertForPreTraining, name="pretrain")
    make_picture().save(tmp_path / "a.png")
    main(model, tmp_path / "a.png", "a red circle", what=What.ATTENTION, pictures=tmp_path / "drawn")
    (row,) = json.loads(capsys.readouterr().out)
    assert [one["word"] for one in row["words"]] == ["a", "red", "circle"]
    assert all(0 < one["share"] < 1 for one in row["words"])
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == [f"a.png.{n}.png" for n in (1, 2, 3)]
    seen = vilbert.pipeline(model).attention(tmp_path / "a.png", "a red circle")
    with Image.open(tmp_path / "drawn/a.png.2.png") as drawn:
        assert (np.asarray(drawn) == np.asarray(seen.draw("red"))).all()
