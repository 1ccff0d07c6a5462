"""By hand, for the base model: 36 tokens and 37 regions, logits of every position."""

import pytest
import torch
from pretraining_world import model_settings

from vilbert.model.configuration_vilbert import VilbertConfig
from vilbert.model.flops import Work, training_flops
from vilbert.pretraining.building import build_config

GIGA = 1e9


def work(*, tokens: list[int], regions: list[int], masked_tokens: int = 0, masked_regions: int = 0) -> Work:
    return Work(*(torch.tensor(value) for value in (tokens, regions, masked_tokens, masked_regions)))


def test_the_base_model_costs_what_its_layers_add_up_to():
    """text 12 x 36 x 14.16 M, co-attention 6 x (36 x 15.73 + 37 x 12.58) M, visual 6 x 37 x 12.58 M, attention
    scores 0.85 %, region embedding 37 x 4.2 M, heads 36 x 48.06 M and 37 x 5.38 M: 17.33 G forward, 52.0 G in all."""
    flops = training_flops(VilbertConfig(), work(tokens=[36], regions=[37], masked_tokens=36, masked_regions=37))
    assert flops / GIGA == pytest.approx(52.0, abs=0.05)


def test_masked_heads_are_a_tenth_of_the_work():
    flops = training_flops(VilbertConfig(), work(tokens=[36], regions=[37], masked_tokens=5, masked_regions=6))
    assert flops / GIGA == pytest.approx(47.1, abs=0.2)


def test_pairs_add_up():
    config = VilbertConfig()
    both = training_flops(config, work(tokens=[5, 17], regions=[11, 3], masked_tokens=7))
    one, other = (
        training_flops(config, work(tokens=[5], regions=[11], masked_tokens=7)),
        training_flops(config, work(tokens=[17], regions=[3])),
    )
    assert both == one + other


def test_the_parameters_of_a_layer_are_used_twice_a_position(world):
    """Without attention scores, a single stream of one token costs 2 x 3 operations a weight."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(world.tokenizer)
    settings = model_settings(architecture="single_stream", text_num_layers=1)
    config = build_config(settings, tokenizer, num_classes=7)
    flops = training_flops(config, work(tokens=[1], regions=[0]))
    scores = 4 * 12
    assert flops == 3 * (2 * (4 * 12 * 12 + 2 * 12 * 19) + scores)
