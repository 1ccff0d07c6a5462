import json

import numpy as np
import pytest
import torch
from PIL import Image
from small_configs import make_two_stream
from transformers import BertTokenizer

from extract.detection.detector_torchvision import Architecture, build_model, save_model
from extract.devices import DeviceChoice
from extract.download.folder import main as pack
from extract.images.decoding import SUFFIXES
from extract.regions.store import Regions
from extract.tables import REGION_COUNTS, write_table
from vilbert.model.modeling_tasks import VilbertForQuestionAnswering, VilbertForRegionGrounding
from vilbert.model.processing_vilbert import VilbertProcessor
from vilbert.predict import MARK, SELECTION, answer, ask, draw_boxes, extract, falling, left_out, main, point

EXPECTED = f"expected one of {', '.join(sorted(SUFFIXES))}"


def test_a_file_that_is_left_out_is_named_with_its_reason(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("a", "c"):
        Image.new("RGB", (23, 29)).save(tmp_path / f"images/{name}.jpg")
    (tmp_path / "images/b.jpg").write_bytes(b"\xff\xd8\xff no image")
    (tmp_path / "images/notes.txt").touch()
    pack(tmp_path / "images", tmp_path / "images.tar", tmp_path / "images.parquet")
    counts = [
        {"key": "a", "num_regions": 5, "num_confident": 3},
        {"key": "c", "num_regions": 0, "num_confident": 0, "reason": "no_proposals", "detail": "23 x 29"},
    ]
    write_table(tmp_path / "counts.parquet", counts, REGION_COUNTS)
    assert left_out(tmp_path / "images.lmdb") == [
        {"image": "b", "reason": "truncated_image", "detail": "12 bytes, b'\\xff\\xd8\\xff no image'"},
        {"image": "notes.txt", "reason": "not_an_image", "detail": EXPECTED},
        {"image": "c", "reason": "no_proposals", "detail": "23 x 29"},
    ]


def test_boxes_are_drawn_into_the_image_as_it_is_looked_at(tmp_path):
    """A camera that is held upright stores pixels that lie on their side."""
    turned = Image.Exif()
    turned[0x0112] = 8
    (tmp_path / "images").mkdir()
    Image.new("RGB", (41, 73)).save(tmp_path / "images/a.jpg", exif=turned)
    Image.new("RGB", (41, 73)).save(tmp_path / "images/b.jpg")
    rows = [
        {"image": "a", "box": [50, 10, 70, 30]},
        {"image": "b", "box": [5, 7, 30, 60]},
        {"image": "c", "reason": "x"},
    ]
    pack(tmp_path / "images", tmp_path / "images.tar", tmp_path / "images.parquet")
    draw_boxes(rows, tmp_path / "images.tar", tmp_path / "drawn")
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["a.png", "b.png"]
    for name, size, box in (("a", (73, 41), (50, 10, 71, 31)), ("b", (41, 73), (5, 7, 31, 61))):
        with Image.open(tmp_path / f"drawn/{name}.png") as image:
            is_marked = (np.asarray(image) == [int(MARK[place : place + 2], 16) for place in (1, 3, 5)]).all(-1)
            assert image.size == size
            assert Image.fromarray(is_marked).getbbox() == box


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


def test_a_folder_without_images_ends_in_one_sentence(tmp_path):
    with pytest.raises(ValueError, match=r"^extract\.download\.folder failed: no image in "):
        extract(tmp_path, tmp_path / "weights", "{}", SELECTION, folder=tmp_path)


def test_a_folder_needs_a_detector(tmp_path):
    with pytest.raises(ValueError, match="give the detector's weights with --detector"):
        extract(tmp_path, None, "{}", SELECTION, folder=tmp_path)


def test_the_best_stand_first_and_what_is_no_number_last():
    assert sorted([float("nan"), 3, float("nan"), 7, 5], key=falling)[:3] == [7, 5, 3]


def regions_of(count: int) -> Regions:
    """Of one image of 61 x 59 pixels."""
    generator = np.random.default_rng(count)
    corners = np.sort(generator.uniform(0, 59, (count, 2, 2)), axis=1).reshape(count, 4)
    return Regions(
        boxes=corners.astype(np.float32),
        scores=np.ones(count, np.float32),
        features=generator.random((count, 17)).astype(np.float16),
        class_probs=np.full((count, 7), 1 / 7, np.float16),
        image_size=(61, 59),
        num_confident=count,
        is_short=False,
    )


@pytest.mark.parametrize(
    ("kind", "describe"), [(VilbertForQuestionAnswering, answer), (VilbertForRegionGrounding, point)]
)
def test_images_that_are_asked_about_together_say_what_each_says_alone(tmp_path, kind, describe):
    """As on a GPU: of those with fewer regions, what fills them up is no answer."""
    torch.manual_seed(1)
    model = kind(make_two_stream()).eval()
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nred\n")
    processor = VilbertProcessor(BertTokenizer.from_pretrained(tmp_path))
    store = {str(count): regions_of(count) for count in (2, 7, 3, 5, 1)}
    with torch.inference_mode():
        alone, together = (
            ask(model, processor, store, "a red", describe=describe, at_once=at_once) for at_once in (1, 3)
        )
    assert [row["image"] for row in together] == list(store)
    for one, other in zip(alone, together, strict=True):
        if describe is point:
            assert one["box"] == other["box"]
            assert one["score"] == pytest.approx(other["score"], abs=1e-4)
        else:
            assert [found["answer"] for found in one["answers"]] == [found["answer"] for found in other["answers"]]


def test_the_bar_is_silent_where_nobody_watches(tmp_path, capsys):
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nred\n")
    processor = VilbertProcessor(BertTokenizer.from_pretrained(tmp_path))
    model = VilbertForQuestionAnswering(make_two_stream()).eval()
    with torch.inference_mode():
        ask(model, processor, {"a": regions_of(3)}, "a red", describe=answer, at_once=1)
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_each_file_of_a_folder_is_a_row_of_the_answer(tmp_path, capsys):
    torch.manual_seed(1)
    architecture = Architecture(
        classes=("background", *"abcdef"), shorter_side=64, longer_side=128, anchor_sizes=(16, 32), feature_size=17
    )
    save_model(build_model(architecture), architecture, tmp_path / "detector.safetensors")
    VilbertForQuestionAnswering(make_two_stream()).save_pretrained(tmp_path / "model")
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nred\n")
    VilbertProcessor(BertTokenizer.from_pretrained(tmp_path)).save_pretrained(tmp_path / "model")
    (tmp_path / "images").mkdir()
    for name, size in (("a", (61, 59)), ("b", (59, 61)), ("c", (97, 53))):
        Image.fromarray(np.random.default_rng(len(name)).integers(0, 256, (*size, 3), np.uint8)).save(
            tmp_path / f"images/{name}.png"
        )
    (tmp_path / "images/d.jpg").write_bytes(b"\xff\xd8\xff no image")
    main(tmp_path / "model", tmp_path / "images", "a red", detector=tmp_path / "detector.safetensors")
    printed = capsys.readouterr()
    assert "asking" not in printed.err
    rows = json.loads(printed.out)
    assert {row["image"]: len(row["answers"]) for row in rows[:3]} == {"a": 3, "b": 3, "c": 3}
    assert (rows[3]["image"], rows[3]["reason"]) == ("d", "truncated_image")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_ends_in_one_sentence(tmp_path):
    (tmp_path / "a").mkdir()
    Image.new("RGB", (23, 29)).save(tmp_path / "a/a.jpg")
    with pytest.raises(ValueError, match=r"^asked for cuda, and PyTorch finds no GPU; without --device it takes the"):
        extract(tmp_path / "a", tmp_path / "weights", "{}", SELECTION, folder=tmp_path, device=DeviceChoice.CUDA)
