import io
import re
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from places import ROOT
from small_configs import make_single_stream, make_two_stream
from small_detector import ARCHITECTURE
from small_run import make_model, make_picture, make_run

import vilbert
from extract.detection.detector_torchvision import build_model, save_model
from vilbert.model.modeling_single_stream import VilbertSingleStreamForPreTraining
from vilbert.model.modeling_tasks import (
    MULTI_LABEL,
    VilbertForClassification,
    VilbertForImageTextRetrieval,
    VilbertForQuestionAnswering,
    VilbertForRegionGrounding,
)
from vilbert.model.modeling_vilbert import VilbertForPreTraining, VilbertModel


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run's folder with a detector."""
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def make(run):
    """Makes the directory of a model that has learnt of that detector's regions."""
    return partial(make_model, run)


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return make_picture()


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_a_picture_has_one_answer_whatever_it_comes_as(make, picture, tmp_path):
    ask = vilbert.pipeline(
        make(VilbertForQuestionAnswering, name="vqa", id2label={i: f"answer {i}" for i in range(31)})
    )
    picture.save(tmp_path / "ü b.png")
    given = [tmp_path / "ü b.png", str(tmp_path / "ü b.png"), png(picture), picture, np.asarray(picture)]
    rows = ask(given, "how many ?")
    assert [row["image"] for row in rows] == [str(given[0]), given[1], "image 2", "image 3", "image 4"]
    assert len(rows[0]["answers"]) == 3
    assert rows[0]["answers"][0]["answer"].startswith("answer ")
    assert all(row["answers"] == rows[0]["answers"] for row in rows)
    (alone,) = ask.answer(picture, "how many ?", num_answers=1)
    assert alone["answers"] == rows[0]["answers"][:1]


def test_a_picture_that_cannot_be_read_is_a_row_with_its_reason(make, picture, tmp_path):
    ask = vilbert.pipeline(make(VilbertForImageTextRetrieval, name="retrieval"))
    known = ask.find(picture)[0].regions
    rows = ask([picture, tmp_path / "gone.jpg", known, b"no picture", picture], "a red circle")
    assert [row.get("reason") for row in rows] == [None, "no_file", None, "not_an_image", None]
    assert [row["image"] for row in rows] == ["image 0", str(tmp_path / "gone.jpg"), "image 2", "image 3", "image 4"]
    assert rows[0]["score"] == rows[2]["score"] == rows[4]["score"]


def test_regions_are_found_once_for_several_questions(make, picture):
    ask = vilbert.pipeline(make(VilbertForRegionGrounding, name="refcoco"))
    found = ask.find([picture, picture])
    ask._make_finder = ask._finder = None  # no detector from here on
    rows = ask.point(found, "the red circle")
    boxes = found[0].regions.boxes.round(1).tolist()
    assert pytest.approx(rows[0]["box"], abs=0.051) in boxes
    assert rows[0]["box"] == rows[1]["box"]
    assert 0 <= rows[0]["score"] <= 1


def test_labels_are_given_by_the_kind_of_problem(make, picture):
    labels = {0: "calm", 1: "stormy", 2: "grey"}
    several = make(VilbertForClassification, name="several", problem_type=MULTI_LABEL, id2label=labels, num_labels=3)
    ask = vilbert.pipeline(several)
    found = ask.find(picture)
    (row,) = ask(found)
    with torch.inference_mode():
        inputs = ask.processor.encode_text([""]) | ask.processor.encode_regions([found[0].regions])
        probabilities = ask.model(**inputs).logits[0].sigmoid().tolist()
    given = {labels[number] for number, value in enumerate(probabilities) if value >= 0.5}
    assert set(row["labels"]) == given  # and not by what is rounded: one here is 0.49999
    one = make(
        VilbertForClassification, name="one", problem_type="single_label_classification", id2label=labels, num_labels=3
    )
    (row,) = vilbert.pipeline(one).classify(picture, "a circle")
    assert row["labels"] == list(row["probabilities"])[:1]
    assert sum(row["probabilities"].values()) == pytest.approx(1, abs=2e-4)


def test_what_is_filled_in_is_a_word_of_the_tokenizer_s(make, picture):
    """Published models have room for more than their vocabulary."""
    ask = vilbert.pipeline(make(VilbertForPreTraining, name="roomy", vocab_size=97 + 13))
    num_known = len(ask.processor.tokenizer)
    (row,) = ask.fill(picture, "a [MASK] circle", num_words=num_known)
    words = [one["word"] for one in row["masks"][0]]
    assert len(set(words)) == num_known
    assert None not in words


@pytest.mark.parametrize(
    ("kind", "make_config"),
    [(VilbertForPreTraining, make_two_stream), (VilbertSingleStreamForPreTraining, make_single_stream)],
)
def test_a_pretrained_model_fills_in_scores_embeds_and_looks(make, picture, kind, make_config):
    ask = vilbert.pipeline(make(kind, name=kind.__name__, make_config=make_config))
    found = ask.find(picture)
    (row,) = ask.fill(found, "a [MASK] circle above the [MASK]", num_words=2)
    assert [len(words) for words in row["masks"]] == [2, 2]
    inputs = ask.processor(["a [MASK] circle above the [MASK]"], [found[0].regions])
    with torch.inference_mode():
        logits = ask.model(**inputs).token_logits[0, 2]
    word = ask.processor.tokenizer.convert_ids_to_tokens(int(logits.argmax()))
    assert row["masks"][0][0]["word"] == word
    assert np.isfinite(ask(found, "a red circle")[0]["score"])
    (vectors,) = ask.embed(found, "a red circle")
    assert {name: value.shape for name, value in vectors.items() if name != "image"} == dict.fromkeys(
        ("text_embedding", "image_embedding", "pair_embedding"), (8 if make_config is make_two_stream else 12,)
    )
    looks = ask.attention(found[0], "a red circle")
    assert looks.words == ["a", "red", "circle"]
    assert looks.tokens == ["[CLS]", "a", "red", "circle", "[SEP]"]
    num_layers = 2
    assert looks.weights.shape[0] == num_layers
    assert looks.of("red") == pytest.approx(looks.weights[:, :, 2, 1:].mean(axis=(0, 1)))
    drawn = looks.draw("red")
    assert drawn.size == picture.size
    assert drawn.tobytes() != picture.tobytes()
    with pytest.raises(ValueError, match=r"'green' is not in the text, which is \[CLS\] a red circle \[SEP\]"):
        looks.of("green")


def test_a_word_of_several_pieces_is_looked_at_as_one():
    looks = vilbert.CoAttention(
        tokens=["[CLS]", "un", "##like", "##ly", "un", "[SEP]"],
        weights=np.arange(6, dtype=np.float32)[None, None, :, None].repeat(3, axis=3),
        regions=vilbert.own_regions(np.ones((2, 3)), np.array([[0, 0, 5, 5], [1, 1, 7, 7]]), (11, 13)),
        image=None,
        has_whole_image=True,
    )
    assert looks.places_of("Unlikely") == [1, 2, 3]
    assert looks.of("unlikely").tolist() == [2, 2]
    assert looks.places_of("un") == [1]
    assert looks.words == ["unlikely", "un"]
    with pytest.raises(ValueError, match="features alone, no picture to draw into"):
        looks.draw("un")


def test_images_that_are_asked_about_together_say_what_each_says_alone(make, monkeypatch):
    """As on a GPU: of those with fewer regions, what fills them up is no answer."""
    ask = vilbert.pipeline(make(VilbertForRegionGrounding, name="grounding"))
    images = []
    for count in (2, 7, 3, 5, 1):
        generator = np.random.default_rng(count)
        corners = np.sort(generator.uniform(0, 59, (count, 2, 2)), axis=1).reshape(count, 4)
        images.append(vilbert.own_regions(generator.random((count, 17)), corners, (61, 59)))
    alone = ask(images, "a red circle")
    monkeypatch.setattr("vilbert.pipelines.AT_ONCE_ON_CPU", 3)
    together = ask(images, "a red circle")
    assert [row["box"] for row in together] == [row["box"] for row in alone]
    assert [row["score"] for row in together] == pytest.approx([row["score"] for row in alone], abs=1e-4)


def test_features_of_one_s_own_are_asked_about_like_pictures(make):
    ask = vilbert.pipeline(make(VilbertForQuestionAnswering, name="vqa_of_features"))
    features, boxes = np.full((3, 17), 0.5), np.array([[0, 0, 10, 10], [5, 5, 20, 20], [1, 2, 3, 4]])
    (row,) = ask(vilbert.own_regions(features, boxes, (30, 40)), "how many ?")
    assert len(row["answers"]) == 3


@pytest.mark.parametrize(
    ("features", "boxes", "message"),
    [
        (
            np.ones((3, 17)),
            np.ones((2, 4)),
            r"features are \(3, 17\) and boxes \(2, 4\), expected \[N, D\] and \[N, 4\]",
        ),
        (np.full((1, 17), np.nan), np.ones((1, 4)), "hold values that are no numbers of float16"),
        (np.full((1, 17), 1e6), np.ones((1, 4)), "hold values that are no numbers of float16"),
        (np.ones((0, 17)), np.ones((0, 4)), "at least one"),
        (np.ones((2, 17)), np.array([[0, 0, 0.5, 0.5], [0, 0.2, 1, 1]]), "boxes go to 1 in an image of 30 x 40"),
        (np.ones((2, 17)), [[0, 0, 1], [0]], "features or boxes are no arrays"),
        (np.full((1, 17), "x"), np.ones((1, 4)), "features or boxes are no arrays"),
        (torch.ones(1, 17, requires_grad=True), np.ones((1, 4)), "features or boxes are no arrays"),
    ],
)
def test_features_that_do_not_fit_are_refused_in_a_sentence(features, boxes, message):
    with pytest.raises(ValueError, match=message):
        vilbert.own_regions(features, boxes, (30, 40))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda ask, one: ask.answer(one, "why ?"), "a VilbertForPreTraining answers no questions"),
        (lambda ask, one: ask.point(one, "it"), "a VilbertForPreTraining points at nothing"),
        (lambda ask, one: ask.classify(one), "a VilbertForPreTraining gives no labels"),
        (lambda ask, one: ask.score(one, " "), "the text is empty"),
        (lambda ask, one: ask(one), "the text is empty"),
        (lambda ask, one: ask(one, ["a", "b"]), "the text is of type list, expected one string"),
        (lambda ask, one: ask.fill(one, " "), "the text is empty"),
        (
            lambda ask, one: ask(vilbert.own_regions(np.ones((1, 19)), np.array([[0, 0, 9, 9]]), (30, 40)), "a"),
            "the features of image 0 are 19 wide, expected 17, as the model's are",
        ),
        (lambda ask, one: ask.fill(one, "a circle"), r"'a circle' has no \[MASK\]"),
        (lambda ask, one: ask.attention([one, one], "a circle"), "2 pictures, expected one"),
        (lambda ask, one: ask.attention(b"x", "a circle"), "image 0 cannot be looked at: not_an_image"),
    ],
)
def test_what_a_model_cannot_do_is_said_in_a_sentence(make, picture, call, message):
    ask = vilbert.pipeline(make(VilbertForPreTraining, name="pretrained"))
    with pytest.raises(ValueError, match=message):
        call(ask, picture)


@pytest.mark.parametrize(
    ("kind", "changed", "abilities"),
    [
        (VilbertForQuestionAnswering, {}, ["answer", "embed", "attention"]),
        (VilbertForRegionGrounding, {}, ["point", "embed", "attention"]),
        (VilbertForClassification, {"problem_type": MULTI_LABEL}, ["classify", "embed", "attention"]),
        (VilbertForImageTextRetrieval, {}, ["score", "embed", "attention"]),
        (VilbertForPreTraining, {}, ["score", "fill", "embed", "attention"]),
        (VilbertForPreTraining, {"text_co_layers": (), "visual_co_layers": ()}, ["score", "fill", "embed"]),
    ],
)
def test_a_model_says_what_it_can_be_asked_for(make, kind, changed, abilities):
    assert vilbert.pipeline(make(kind, name="able", **changed)).abilities == abilities


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.ones((7, 5, 3)), "got an array of float64, expected uint8, 0 to 255"),
        (torch.ones(3, 7, 5), "got a Tensor, expected a path, bytes, a PIL image or an array"),
        (np.ones((2, 7, 5, 3), np.uint8), r"an array of the shape \(2, 7, 5, 3\), expected \[H, W, 3\] or \[H, W\]"),
        (np.ones((3, 7, 5), np.uint8), r"an array of the shape \(3, 7, 5\), expected \[H, W, 3\] or \[H, W\]"),
    ],
)
def test_what_is_no_picture_is_said_in_a_sentence(make, given, message):
    with pytest.raises(TypeError, match=message):
        vilbert.pipeline(make(VilbertForPreTraining, name="no_picture"))(given, "a circle")


def test_an_image_has_a_width_and_a_height():
    with pytest.raises(ValueError, match="image_size is 640, expected width and height in pixels"):
        vilbert.own_regions(np.ones((1, 17)), np.array([[0, 0, 9, 9]]), 640)


def test_a_model_without_a_head_is_no_pipeline(make):
    with pytest.raises(ValueError, match="holds a VilbertModel, expected one that is asked about one image"):
        vilbert.pipeline(make(VilbertModel, name="trunk"))


def test_the_detector_is_the_one_whose_digest_the_model_names(make, picture, run, tmp_path, monkeypatch):
    model = make(VilbertForImageTextRetrieval, name="elsewhere")
    torch.manual_seed(5)
    save_model(build_model(ARCHITECTURE), ARCHITECTURE, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"other.safetensors has the sha256 .* has learnt of a detector of"):
        vilbert.pipeline(model, detector=tmp_path / "other.safetensors")(picture, "a circle")
    monkeypatch.chdir(tmp_path)
    moved = tmp_path / "moved"
    model.rename(moved)
    with pytest.raises(FileNotFoundError, match=r"no detector of the sha256 .* is near .*; name it as detector"):
        vilbert.pipeline(moved)(picture, "a circle")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/mine.safetensors").write_bytes((run / "detector/model.safetensors").read_bytes())
    assert "score" in vilbert.pipeline(moved)(picture, "a circle")[0]
    (moved / "provenance.json").unlink()
    with pytest.raises(FileNotFoundError, match="does not say of which detector it has learnt; name its weights"):
        vilbert.pipeline(moved)(picture, "a circle")
    named = vilbert.pipeline(moved, detector=tmp_path / "weights/mine.safetensors")
    assert "score" in named(picture, "a circle")[0]


KINDS = {
    "answer": (VilbertForQuestionAnswering, {}),
    "classify": (VilbertForClassification, {"problem_type": MULTI_LABEL}),
    "point": (VilbertForRegionGrounding, {}),
    "score": (VilbertForImageTextRetrieval, {}),
    "fill": (VilbertForPreTraining, {}),
    "embed": (VilbertForPreTraining, {}),
    "attention": (VilbertForPreTraining, {}),
}


def test_every_line_of_the_page_about_python_does_what_it_says(make, run, picture, tmp_path, monkeypatch):
    page = (ROOT / "docs/python.md").read_text()
    monkeypatch.chdir(tmp_path)
    for name in ("my", "a", "b"):
        picture.save(tmp_path / f"{name}.jpg")
    folder = tmp_path / "results/drawn/finetune/vqa/model"
    shutil.copytree(make(VilbertForQuestionAnswering, name="of_the_page"), folder)
    (tmp_path / "weights").mkdir()
    shutil.copy(run / "detector/model.safetensors", tmp_path / "weights/mine.safetensors")
    names: dict = {"features": np.full((3, 17), 0.5), "boxes": np.array([[0, 0, 9, 9]] * 3), "picture": picture}
    for block in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL):
        exec(block, names)
    calls = re.findall(r"`ask\.(\w+)(\(.*?\)(?:\.draw\(\"\w+\"\))?)`", page)
    assert {name for name, _ in calls} == KINDS.keys()
    for name, arguments in calls:
        kind, changed = KINDS[name]
        names |= {"ask": vilbert.pipeline(make(kind, name=f"{name}_of_the_page", **changed)), "pictures": [picture]}
        assert eval(f"ask.{name}{arguments}", names)


def test_the_page_about_python_counts_its_lines_rightly():
    page = (ROOT / "docs/python.md").read_text()
    first, *others = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    before = [line for line in first.splitlines() if line and not line.startswith("ask(")]
    own = next(block.splitlines() for block in others if "own_regions" in block)
    of_table = dict.fromkeys(re.findall(r"^\| ([\w ]+) \| .* \| `ask\.", page, flags=re.MULTILINE), len(before) + 1)
    names, counts = re.findall(r"^\| (score .*|\d .*) \|$", page, flags=re.MULTILINE)[-2:]
    told = dict(zip(names.split(" | "), map(int, counts.split(" | ")), strict=True))
    assert told == of_table | {"features that you own": len(before) + len(own)}
