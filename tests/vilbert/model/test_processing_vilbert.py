import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import AutoProcessor, BertTokenizer, PreTrainedTokenizerFast

from extract.regions.store import Regions
from vilbert.model.modeling_vilbert import VilbertModel
from vilbert.model.processing_vilbert import VilbertProcessor, encode_boxes

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "cube", "left", "of", "ball")


def regions(num: int, *, size: tuple[int, int] = (640, 480), width: int = 17) -> Regions:
    generator = np.random.default_rng(num)
    corners = np.sort(generator.random((num, 2, 2)), axis=1) * size
    return Regions(
        boxes=corners.reshape(num, 4).astype(np.float32),
        scores=np.ones(num, np.float32),
        features=generator.random((num, width)).astype(np.float16),
        class_probs=np.full((num, 7), 1 / 7, np.float16),
        image_size=size,
        num_confident=num,
        is_short=False,
    )


@pytest.fixture
def bert_tokenizer(tmp_path) -> BertTokenizer:
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return BertTokenizer.from_pretrained(tmp_path)


def test_text_and_regions_become_what_a_model_takes(bert_tokenizer, two_stream_config):
    processor = VilbertProcessor(bert_tokenizer)
    inputs = processor(["a red cube", "a ball left of a red cube"], [regions(5), regions(3)])
    assert {name: tuple(value.shape) for name, value in inputs.items()} == {
        "input_ids": (2, 9),
        "token_type_ids": (2, 9),
        "attention_mask": (2, 9),
        "visual_features": (2, 6, 17),
        "visual_boxes": (2, 6, 5),
        "visual_attention_mask": (2, 6),
    }
    assert set(inputs) == set(processor.model_input_names)
    assert inputs["attention_mask"].sum(1).tolist() == [5, 9]
    assert inputs["visual_attention_mask"].sum(1).tolist() == [6, 4]
    output = VilbertModel(two_stream_config()).eval()(**inputs)
    assert output.text_states.shape == (2, 9, 12)


def test_the_whole_image_stands_in_front():
    boxes = encode_boxes(np.array([[64, 48, 320, 240]], np.float32), (640, 480))
    np.testing.assert_allclose(boxes, [[0, 0, 1, 1, 1], [0.1, 0.1, 0.5, 0.5, 0.16]], rtol=1e-6)


def test_the_whole_image_is_the_mean_of_its_regions(bert_tokenizer):
    image = regions(3)
    features = VilbertProcessor(bert_tokenizer).encode_regions([image])["visual_features"]
    np.testing.assert_allclose(features[0, 0], image.features.astype(np.float32).mean(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(features[0, 1:], image.features.astype(np.float32))


def test_mmf_models_go_without_the_whole_image(bert_tokenizer):
    image = regions(3)
    encoded = VilbertProcessor(bert_tokenizer, has_whole_image=False).encode_regions([image, regions(2)])
    assert encoded["visual_features"].shape == (2, 3, 17)
    np.testing.assert_array_equal(encoded["visual_features"][0], image.features.astype(np.float32))
    assert encoded["visual_attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]


def test_a_saved_processor_gives_the_same(bert_tokenizer, two_stream_config, tmp_path):
    processor = VilbertProcessor(bert_tokenizer, has_whole_image=False)
    folder = tmp_path / "model"
    VilbertModel(two_stream_config()).save_pretrained(folder)
    processor.save_pretrained(folder)
    for again in (VilbertProcessor.from_pretrained(folder), AutoProcessor.from_pretrained(folder)):
        assert isinstance(again, VilbertProcessor)
        assert not again.has_whole_image
        expected, given = (one(["a ball"], [regions(3)]) for one in (processor, again))
        assert all(torch.equal(given[name], expected[name]) for name in expected)


def test_pairs_have_two_segments_and_long_text_is_cut(bert_tokenizer):
    encoded = VilbertProcessor(bert_tokenizer).encode_text(["a cube"], text_pair=["left of a ball"], max_tokens=7)
    assert encoded["input_ids"].shape == (1, 7)
    assert encoded["token_type_ids"].tolist() == [[0, 0, 0, 0, 1, 1, 1]]


def test_any_tokenizer_does():
    """One that pads on the left and knows no segments."""
    model = WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", padding_side="left")
    fast.model_input_names = ["input_ids"]
    encoded = VilbertProcessor(fast).encode_text(["red cube", "a"])
    assert encoded["input_ids"].tolist() == [[6, 7], [5, 0]]
    assert encoded["attention_mask"].tolist() == [[1, 1], [1, 0]]
    assert encoded["token_type_ids"].tolist() == [[0, 0], [0, 0]]
    with pytest.raises(ValueError, match="text 1 is '', which has no token"):
        VilbertProcessor(fast).encode_text(["red cube", ""])
    pair = VilbertProcessor(fast).encode_text(["red cube"], text_pair=["a ball"])
    assert pair["token_type_ids"].tolist() == [[0, 0, 1, 1]]
    fast.pad_token = None
    with pytest.raises(ValueError, match=r"has no pad token; set tokenizer.pad_token first"):
        VilbertProcessor(fast).encode_text(["red cube"])


def test_a_box_a_pixel_outside_is_cut_and_one_further_outside_named():
    boxes = encode_boxes(np.array([[-0.6, 0, 640.9, 480]], np.float32), (640, 480))
    assert boxes[1].tolist() == [0, 0, 1, 1, 1]
    with pytest.raises(ValueError, match=r"box 1 is \(0, 0, 641.5, 480\), expected .* an image of 640 x 480"):
        encode_boxes(np.array([[0, 0, 9, 9], [0, 0, 641.5, 480]], np.float32), (640, 480))
    with pytest.raises(ValueError, match=r"box 0 is \(9, 0, 5, 5\), expected x1 <= x2"):
        encode_boxes(np.array([[9, 0, 5, 5]], np.float32), (640, 480))
    with pytest.raises(ValueError, match="box 0 is"):
        encode_boxes(np.array([[float("nan"), 0, 5, 5]], np.float32), (640, 480))


def test_lists_that_do_not_match_and_images_without_regions_are_named(bert_tokenizer):
    processor = VilbertProcessor(bert_tokenizer)
    with pytest.raises(ValueError, match="got 2 texts and 1 images, expected lists of equal length"):
        processor(["a cube", "a ball"], [regions(3)])
    with pytest.raises(ValueError, match="text is a string, expected a list"):
        processor("a cube", [regions(3)])
    with pytest.raises(ValueError, match="an image has 0 regions"):
        processor(["a cube"], [regions(0)])
    with pytest.raises(ValueError, match="got 0 texts and 0 images, expected lists of equal length, at least 1"):
        processor([], [])
    with pytest.raises(ValueError, match="features are 17 and 19 wide, expected one width"):
        processor(["a cube", "a ball"], [regions(3), regions(2, width=19)])


@pytest.mark.parametrize(
    ("text", "given", "message"),
    [
        (
            ["a ball"],
            [Image.new("RGB", (7, 5))],
            "image 0 is of type Image, expected Regions: vilbert.own_regions makes",
        ),
        (["a ball"], [[1.0, 2.0]], "image 0 is of type list, expected Regions"),
        (["a ball"], [np.ones((3, 17))], "image 0 is of type ndarray, expected Regions"),
        (["a ball"], Image.new("RGB", (7, 5)), "regions is of type Image, expected a list"),
        (["a ball"], regions(3), "regions is of type Regions, expected a list"),
        (["a", " "], [regions(3)] * 2, "text 1 is ' ', expected words; encode_text and encode_regions do without"),
        ([None], [regions(3)], "text 0 is None, expected a string"),
    ],
)
def test_what_is_no_text_or_no_regions_is_told_apart(bert_tokenizer, text, given, message):
    with pytest.raises(ValueError, match=message):
        VilbertProcessor(bert_tokenizer)(text, given)


def test_features_that_are_no_numbers_and_boxes_that_are_fractions_are_refused(bert_tokenizer):
    processor, image = VilbertProcessor(bert_tokenizer), regions(3)
    features = image.features.copy()
    features[1, 5] = np.nan
    with pytest.raises(ValueError, match="the features of image 1 hold NaN or infinity, expected numbers"):
        processor(["a", "a"], [image, dataclasses.replace(image, features=features)])
    fractions = image.boxes / np.array([640, 480, 640, 480], np.float32)
    with pytest.raises(
        ValueError, match=r"the boxes go to 0\.\d+ in an image of 640 x 480, expected pixels, no fractions"
    ):
        processor(["a"], [dataclasses.replace(image, boxes=fractions)])
