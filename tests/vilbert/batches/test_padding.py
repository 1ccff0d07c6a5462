import numpy as np
import pytest
import torch

from extract.regions.store import Regions
from vilbert.batches.padding import Tokens, Widths, few_widths, pad_images, pad_texts, padded_width, together
from vilbert.batches.tokens import train_tokenizer
from vilbert.model.processing_vilbert import VilbertProcessor


def regions(count: int, *, seed: int, size: tuple[int, int] = (31, 37)) -> Regions:
    generator = np.random.default_rng(seed)
    corners = np.sort(generator.uniform(0, 31, (count, 2, 2)), axis=1).reshape(count, 4)
    return Regions(
        boxes=corners.astype(np.float32),
        scores=np.ones(count, np.float32),
        features=generator.normal(size=(count, 7)).astype(np.float16),
        class_probs=np.ones((count, 3), np.float16),
        image_size=size,
        num_confident=count,
        is_short=False,
    )


@pytest.mark.parametrize("has_whole_image", [True, False])
def test_images_are_padded_as_by_the_processor(has_whole_image):
    images = [regions(5, seed=1), regions(2, seed=2, size=(64, 31)), regions(3, seed=3)]
    processor = VilbertProcessor(train_tokenizer(["a dog"], vocab_size=40), has_whole_image)
    expected, padded = processor.encode_regions(images), pad_images(images, has_whole_image=has_whole_image)
    assert padded["visual_features"].shape == (3, 5 + has_whole_image, 7)
    assert padded.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(padded[name].float(), value.float(), atol=1e-3, rtol=1e-3)


def test_texts_are_padded_by_hand():
    texts = [Tokens(np.array([2, 9, 3, 8, 3]), np.array([0, 0, 0, 1, 1])), Tokens(np.array([2, 3]), np.array([0, 0]))]
    batch = {name: value.tolist() for name, value in pad_texts(texts, pad_token_id=7).items()}
    assert batch == {
        "input_ids": [[2, 9, 3, 8, 3], [2, 3, 7, 7, 7]],
        "token_type_ids": [[0, 0, 0, 1, 1], [0, 0, 0, 0, 0]],
        "attention_mask": [[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]],
    }


def test_regions_of_two_stores_stand_one_after_another():
    one, other = regions(5, seed=1), regions(2, seed=2)
    both = together(one, other)
    assert len(both) == 7
    np.testing.assert_array_equal(both.features[5:], other.features)
    np.testing.assert_array_equal(both.boxes[:5], one.boxes)


def test_few_widths_end_with_the_longest_example():
    assert few_widths(max_tokens=20, max_regions=36) == Widths(tokens=(8, 16, 20), regions=(13, 25, 37))
    assert few_widths(max_tokens=7, max_regions=4) == Widths(tokens=(7,), regions=(5,))


@pytest.mark.parametrize(("longest", "expected"), [(3, 8), (8, 8), (9, 16), (17, 17)])
def test_a_batch_takes_the_least_width_that_holds_it_or_its_own(longest, expected):
    assert padded_width([2, longest], (8, 16)) == expected


def test_wider_batches_hold_the_same_and_nothing_more():
    texts, images = [Tokens(np.array([2, 9, 3]), np.array([0, 0, 1]))], [regions(5, seed=1)]
    widths = Widths(tokens=(11,), regions=(13,))
    exact = pad_texts(texts, pad_token_id=7) | pad_images(images)
    wider = pad_texts(texts, pad_token_id=7, widths=widths) | pad_images(images, widths=widths)
    for name, value in exact.items():
        assert torch.equal(wider[name][:, : value.shape[1]], value)
    assert (wider["attention_mask"].sum(), wider["visual_attention_mask"].sum()) == (3, 6)
    assert (wider["input_ids"].shape[1], wider["visual_features"].shape[1]) == (11, 13)
