import pytest
import torch

from vilbert.model.modeling_single_stream import VilbertSingleStreamModel
from vilbert.model.modeling_vilbert import VilbertModel


def model_of(config) -> torch.nn.Module:
    model_class = VilbertModel if config.model_type == "vilbert" else VilbertSingleStreamModel
    torch.manual_seed(0)
    return model_class(config).eval()


def test_what_is_left_out_means_no_padding_and_one_segment(any_config, batch):
    model = model_of(any_config)
    for name in ("attention_mask", "visual_attention_mask"):
        batch[name] = torch.ones_like(batch[name])
    batch["token_type_ids"] = torch.zeros_like(batch["token_type_ids"])
    short = {name: batch[name] for name in ("input_ids", "visual_features", "visual_boxes")}
    torch.testing.assert_close(model(**short).text_states, model(**batch).text_states)


def test_boxes_a_hair_outside_are_taken(any_config, batch):
    batch["visual_boxes"][0, 1, 2] = 1.0005
    model_of(any_config)(**batch)


@pytest.mark.parametrize(
    ("name", "place", "value", "message"),
    [
        ("attention_mask", (1, slice(None)), 0, "attention_mask hides token 0 in row 1"),
        ("visual_attention_mask", (2, 0), 0, "visual_attention_mask hides region 0 in row 2"),
        ("visual_boxes", (0, 3, 2), 640.0, "visual_boxes go from .* to 640, expected fractions"),
        ("visual_boxes", (0, 3, 2), -0.5, "visual_boxes go from -0.5"),
        ("visual_boxes", (0, 3, 2), float("nan"), "visual_boxes go from nan"),
        ("visual_features", (2, 3, 5), float("nan"), "visual_features hold NaN or infinity in row 2"),
        ("input_ids", (0, 3), 53, "input_ids go from .* to 53, expected 0 to 52"),
        ("token_type_ids", (0, 3), 2, "token_type_ids go from 0 to 2, expected 0 to 1"),
    ],
)
def test_a_bad_value_is_named(any_config, batch, name, place, value, message):
    batch[name][place] = value
    with pytest.raises(ValueError, match=message):
        model_of(any_config)(**batch)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("visual_features", (3, 11, 19), r"visual_features has the shape \[3, 11, 19\], expected .*\[3, 11, 17\]"),
        ("visual_boxes", (3, 11, 4), r"visual_boxes has the shape \[3, 11, 4\], expected .*\[3, 11, 5\]"),
        ("visual_attention_mask", (3, 7), r"visual_attention_mask has the shape \[3, 7\]"),
        ("attention_mask", (3, 7), r"attention_mask has the shape \[3, 7\], expected .*\[3, 13\]"),
        ("input_ids", (13,), r"input_ids has the shape \[13\], expected \[B, T\]"),
    ],
)
def test_a_bad_shape_is_named(any_config, batch, name, shape, message):
    batch[name] = torch.ones(shape, dtype=batch[name].dtype)
    with pytest.raises(ValueError, match=message):
        model_of(any_config)(**batch)


@pytest.mark.parametrize(
    ("num_pairs", "num_regions", "message"),
    [(0, 11, "there are 0 texts and 0 images"), (3, 0, "3 images of 0 regions")],
)
def test_an_empty_batch_and_an_image_without_regions_are_refused(any_config, batch, num_pairs, num_regions, message):
    empty = {name: value[:num_pairs] for name, value in batch.items()}
    empty |= {name: value[:, :num_regions] for name, value in empty.items() if name.startswith("visual")}
    with pytest.raises(ValueError, match=message):
        model_of(any_config)(**empty)


def test_more_tokens_than_positions_are_refused(any_config, batch):
    text = {name: torch.ones(3, 29, dtype=torch.long) for name in ("input_ids", "token_type_ids", "attention_mask")}
    with pytest.raises(ValueError, match="the text has 29 tokens, expected 1 to 23"):
        model_of(any_config)(**(batch | text))


@pytest.mark.parametrize("single", ["text", "image"])
def test_one_text_or_one_image_is_joined_with_all_of_the_other(any_config, batch, single):
    model = model_of(any_config)
    names = ("input_ids", "token_type_ids", "attention_mask")
    if single == "image":
        names = ("visual_features", "visual_boxes", "visual_attention_mask")
    one = batch | {name: batch[name][2:] for name in names}
    repeated = batch | {name: batch[name][2:].repeat(3, *[1] * (batch[name].ndim - 1)) for name in names}
    torch.testing.assert_close(model(**one).to_tuple(), model(**repeated).to_tuple())


def test_two_texts_with_three_images_are_refused(any_config, batch):
    names = ("input_ids", "token_type_ids", "attention_mask")
    with pytest.raises(ValueError, match="there are 2 texts and 3 images"):
        model_of(any_config)(**(batch | {name: batch[name][:2] for name in names}))


def test_task_ids_come_with_task_tokens_only(any_config, batch):
    with pytest.raises(ValueError, match="task_ids are given"):
        model_of(any_config)(**batch, task_ids=torch.zeros(3, dtype=torch.long))


def test_a_task_token_lengthens_the_text(two_stream_config, batch):
    model = model_of(two_stream_config(num_task_tokens=5))
    output = model(**batch, task_ids=torch.tensor([0, 3, 4]), output_attentions=True)
    assert output.text_states.shape == (3, 14, 12)
    assert output.attentions.text_to_visual[0].shape == (3, 2, 14, 11)
    with pytest.raises(ValueError, match="task_ids are not given"):
        model(**batch)
    with pytest.raises(ValueError, match=r"task_ids has the shape \[3, 1\]"):
        model(**batch, task_ids=torch.zeros(3, 1, dtype=torch.long))


@pytest.mark.parametrize("name", ["input_ids", "attention_mask", "visual_features", "visual_boxes"])
def test_a_list_or_an_array_is_no_tensor(any_config, batch, name):
    for given in (batch[name].tolist(), batch[name].numpy()):
        with pytest.raises(ValueError, match=f"{name} is of type .*, expected a tensor; VilbertProcessor makes all"):
            model_of(any_config)(**(batch | {name: given}))


def test_tokens_are_whole_numbers(any_config, batch):
    with pytest.raises(ValueError, match=r"input_ids are torch\.float32, expected whole numbers of tokens"):
        model_of(any_config)(**(batch | {"input_ids": batch["input_ids"].float()}))
