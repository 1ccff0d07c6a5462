import pytest
import torch

from vilbert.model.layers import Attention, FeedForward


def attention(config) -> Attention:
    torch.manual_seed(0)
    return Attention(12, 10, inner_width=8, num_heads=2, config=config)


@pytest.mark.parametrize("gives_maps", [False, True])
def test_training_drops_attention_weights_and_the_output(two_stream_config, gives_maps):
    """With all of both dropped, nothing is attended to, and the states alone are normalised."""
    module, mixed = attention(two_stream_config(dropout=1.0)), []
    module.output.register_forward_pre_hook(lambda _, inputs: mixed.append(inputs[0]))
    states, context, mask = torch.randn(3, 13, 12), torch.randn(3, 11, 10), torch.ones(3, 1, 1, 11, dtype=torch.bool)
    maps: list[torch.Tensor] | None = [] if gives_maps else None
    given = module.train()(states, context, mask=mask, maps=maps)
    assert (mixed[0] == 0).all()
    torch.testing.assert_close(given, module.norm(states))
    module.eval()(states, context, mask=mask, maps=maps)
    assert (mixed[1] != 0).any()


def test_a_map_is_given_before_dropout(two_stream_config):
    module = attention(two_stream_config(dropout=0.5)).train()
    mask = torch.ones(3, 1, 1, 11, dtype=torch.bool)
    mask[2, ..., 7:] = False
    maps: list[torch.Tensor] = []
    module(torch.randn(3, 13, 12), torch.randn(3, 11, 10), mask=mask, maps=maps)
    (attention_map,) = maps
    torch.testing.assert_close(attention_map.sum(-1), torch.ones(3, 2, 13))
    assert (attention_map[2, ..., 7:] == 0).all()


def test_the_feed_forward_s_output_is_dropped(two_stream_config):
    module, states = FeedForward(12, 19, config=two_stream_config(dropout=1.0)).train(), torch.randn(3, 13, 12)
    torch.testing.assert_close(module(states), module.norm(states))
