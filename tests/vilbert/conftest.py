"""Small models and inputs: every size another prime where the architecture lets it."""

import pytest
import torch
from pretraining_world import World, make_world
from torch import Tensor

from vilbert.configuration_vilbert import VilbertConfig, VilbertSingleStreamConfig


def make_two_stream(**changed) -> VilbertConfig:
    sizes = {
        "vocab_size": 53,
        "max_position_embeddings": 23,
        "text_hidden_size": 12,
        "text_num_layers": 4,
        "text_num_heads": 3,
        "text_intermediate_size": 19,
        "visual_feature_size": 17,
        "visual_num_classes": 7,
        "visual_hidden_size": 10,
        "visual_num_layers": 2,
        "visual_num_heads": 5,
        "visual_intermediate_size": 11,
        "co_hidden_size": 8,
        "co_num_heads": 2,
        "text_co_layers": (2, 3),
        "visual_co_layers": (0, 1),
        "answer_hidden_size": 29,
        "num_labels": 31,
    }
    return VilbertConfig(**(sizes | changed))


def make_single_stream(**changed) -> VilbertSingleStreamConfig:
    sizes = {
        "vocab_size": 53,
        "max_position_embeddings": 23,
        "text_hidden_size": 12,
        "text_num_layers": 2,
        "text_num_heads": 3,
        "text_intermediate_size": 19,
        "visual_feature_size": 17,
        "visual_num_classes": 7,
        "answer_hidden_size": 29,
        "num_labels": 31,
    }
    return VilbertSingleStreamConfig(**(sizes | changed))


@pytest.fixture
def two_stream_config():
    """A function from changed fields to a small configuration."""
    return make_two_stream


@pytest.fixture
def single_stream_config():
    """The same of the single stream."""
    return make_single_stream


@pytest.fixture(params=[make_two_stream, make_single_stream], ids=["two_stream", "single_stream"])
def any_config(request):
    """Either architecture."""
    return request.param()


@pytest.fixture
def batch() -> dict[str, Tensor]:
    """3 pairs of 13 tokens and 11 regions; text 1 and image 2 are padded."""
    generator = torch.Generator().manual_seed(1)
    attention_mask = torch.ones(3, 13, dtype=torch.long)
    attention_mask[1, 9:] = 0
    visual_attention_mask = torch.ones(3, 11, dtype=torch.long)
    visual_attention_mask[2, 5:] = 0
    return {
        "input_ids": torch.randint(5, 53, (3, 13), generator=generator),
        "token_type_ids": torch.randint(0, 2, (3, 13), generator=generator),
        "attention_mask": attention_mask,
        "visual_features": torch.rand(3, 11, 17, generator=generator),
        "visual_boxes": torch.rand(3, 11, 5, generator=generator),
        "visual_attention_mask": visual_attention_mask,
    }


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> World:
    """Captions, tokenizer and features to pretrain on."""
    return make_world(tmp_path_factory.mktemp("world"))
