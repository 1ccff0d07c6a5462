import json
import tarfile
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from pretraining_world import CLASSES, pretraining_settings
from small_configs import make_two_stream
from transformers import AutoTokenizer

from extract.regions.store import Regions
from vilbert.baselines.class_words import class_names
from vilbert.looking import CoAttention
from vilbert.model.modeling_vilbert import VilbertForPreTraining
from vilbert.model.processing_vilbert import VilbertProcessor
from vilbert.report.attention import Look, looks, main, measured, rarest

TOKENS = ["[CLS]", "a", "square", "above", "2", "circ", "##les", ",", "two", "circles", "[SEP]"]
KINDS = np.array([1, 2, 1, 6])  # circle, square, circle, cross


def maps(look_at: dict[str, int]) -> CoAttention:
    """Two layers of three heads; a token looks at one region alone, by its place, where it is named."""
    weights = np.full((2, 3, len(TOKENS), len(KINDS) + 1), 0.1)
    for token, place in look_at.items():
        weights[:, :, TOKENS.index(token), place + 1] = 0.9
    probs = np.eye(len(CLASSES))[KINDS] * 0.4
    probs[:, 0] = 0.6  # the background is no class
    regions = Regions(
        boxes=np.zeros((4, 4), np.float32),
        scores=np.ones(4, np.float32),
        features=np.zeros((4, 7), np.float16),
        class_probs=probs.astype(np.float16),
        image_size=(53, 13),
        num_confident=4,
        is_short=False,
    )
    return CoAttention(TOKENS, weights, regions, image=None, has_whole_image=True)


def test_a_name_is_right_whose_most_looked_at_region_is_of_its_class():
    """Half of the regions are circles, a quarter is the square; the caption as a whole looks at the last circle."""
    names = class_names(CLASSES, ["a square", "two circles"])
    assert list(looks(maps({"square": 1, "circ": 0, "##les": 0, "above": 2, "two": 2, ",": 2}), names)) == [
        Look(is_right=True, is_blind_right=False, share=0.25),
        Look(is_right=True, is_blind_right=True, share=0.5),
    ]
    of_square, of_circles = looks(maps({"square": 3, "circ": 1, "##les": 1}), names)
    assert not of_square.is_right
    assert not of_circles.is_right


def test_a_caption_that_names_no_class_counts_nothing():
    assert not list(looks(maps({}), class_names(["background", "dog"], [])))
    assert measured([])["value"] is None


def test_measures_are_means_over_the_names():
    assert measured([Look(True, False, 0.25), Look(True, True, 0.5), Look(False, False, 0.75)]) == {
        "measure": "words_look_at_their_class",
        "value": pytest.approx(2 / 3),
        "chance": pytest.approx(0.5),
        "blind": pytest.approx(1 / 3),
        "num_examples": 3,
    }


def test_the_rarest_words_are_shown_in_the_order_of_the_caption():
    counts = Counter({"a": 9, "small": 3, "Cat".lower(): 1, "sat": 2, "there": 8, "on": 7})
    assert rarest(["a", "small", "Cat", ",", "sat", "on", "there"], counts) == ["small", "Cat", "sat", "on"]


@pytest.fixture(scope="module")
def model(world, tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("pretrained")
    tokenizer = AutoTokenizer.from_pretrained(world.tokenizer)
    sizes = {"vocab_size": len(tokenizer), "visual_num_classes": len(CLASSES), "max_position_embeddings": 29}
    VilbertForPreTraining(make_two_stream(**sizes)).save_pretrained(path)
    VilbertProcessor(tokenizer).save_pretrained(path)
    return path


def test_pictures_and_the_measure_of_held_out_pairs(world, model, tmp_path):
    with tarfile.open(tmp_path / "val.tar", "w") as tar:
        for number in range(11):
            Image.new("RGB", (53, 13), "grey").save(tmp_path / "grey.jpg")
            tar.add(tmp_path / "grey.jpg", arcname=f"val-{number * 3:08d}.jpg")
    main(
        model,
        world.tokens.with_name("pairs.parquet"),
        world.stores,
        tmp_path / "out",
        tars=[tmp_path / "val.tar"],
        settings=pretraining_settings(),
    )
    rows = json.loads((tmp_path / "out/examples.json").read_text())
    assert len(rows) == 4
    for row in rows:
        assert row["kind"] == "attention"
        assert 2 <= len(row["words"]) <= 4
        assert {word["word"] for word in row["words"]} <= set(row["text"].split())
    pictures = {row["picture"] for row in rows} | {word["picture"] for row in rows for word in row["words"]}
    assert {path.name for path in (tmp_path / "out").iterdir()} == pictures | {"examples.json", "measures.json"}
    (measures,) = json.loads((tmp_path / "out/measures.json").read_text())
    assert measures["num_examples"] > 33  # pairs, of two to four names
    assert 0.15 < measures["chance"] < 0.6
    assert 0 <= measures["value"] <= 1
