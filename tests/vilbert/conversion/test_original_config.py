import pytest
import torch
from places import REFERENCE
from safetensors.torch import load_file
from torch import Tensor

from vilbert.conversion.original_config import config_of, unread


@pytest.fixture
def state() -> dict[str, Tensor]:
    """3 text layers, 2 visual ones, 2 co-attention; regions of 7 numbers and 5 classes."""
    tensors = load_file(REFERENCE / "two_stream.safetensors")
    return {key.removeprefix("param/"): value for key, value in tensors.items() if key.startswith("param/")}


def test_without_a_json_heads_are_as_wide_as_published(state):
    state["bert.embeddings.word_embeddings.weight"] = torch.empty(30522, 768, device="meta")
    state["bert.v_pooler.dense.weight"] = torch.empty(1024, 1024, device="meta")
    config = config_of(state, None)
    assert (config.text_num_heads, config.visual_num_heads, config.co_num_heads) == (12, 8, 8)


@pytest.mark.parametrize(("width", "target"), [(7, "features"), (5, "classes")])
def test_without_a_json_predictions_as_wide_as_the_features_are_features(state, width, target):
    state["cls.imagePredictions.decoder.weight"] = torch.zeros(width, 12)
    config = config_of(state, None)
    assert config.visual_target == target
    assert config.visual_target_size == width


def test_what_no_tensor_tells_comes_from_the_json(state):
    original = {"hidden_dropout_prob": 0.3, "initializer_range": 0.07, "fusion_method": "sum", "visual_target": 0}
    config = config_of(state, original)
    assert (config.dropout, config.initializer_range, config.fusion) == (0.3, 0.07, "sum")


def test_a_json_may_switch_co_attention_off(state):
    config = config_of(state, {"with_coattention": False})
    assert config.text_co_layers == config.visual_co_layers == ()


def test_co_attention_is_off_for_whatever_the_original_takes_for_false(state):
    assert config_of(state, {"with_coattention": 0}).text_co_layers == ()


def test_a_target_of_another_kind_is_named(state):
    with pytest.raises(ValueError, match=r"visual_target is \[1\], expected one of \[0, 1, 2\]"):
        config_of(state, {"visual_target": [1]})


@pytest.mark.parametrize("key", ["cls.imagePredictions.decoder.weight", "bert.embeddings.task_embeddings.weight"])
def test_a_number_where_a_matrix_stands_is_named(state, key):
    with pytest.raises(ValueError, match=rf"'{key}' has the shape \[\], expected 2 dimensions"):
        config_of(state | {key: torch.tensor(7.0)}, None)


def test_names_without_effect_are_listed():
    assert unread({"hidden_size": 8, "pooling_method": "mul", "fast_mode": True}) == ["fast_mode", "pooling_method"]
