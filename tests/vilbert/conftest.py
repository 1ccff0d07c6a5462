"""Small models and inputs: every size another prime where the architecture lets it."""

import pytest
import torch
from pretraining_world import World, make_world
from small_configs import make_single_stream, make_two_stream
from torch import Tensor


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


@pytest.fixture(scope="module")
def browser():
    """Chromium, to look at pages with."""
    from browsing import chromium  # which needs playwright

    with chromium() as browser:
        yield browser
