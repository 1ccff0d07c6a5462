"""Floating-point operations of a training step, for the utilisation in the logs.

Only what the model needs is counted: no padding, logits of masked positions alone, no repeated work of gradient
checkpointing. A product of [m, k] and [k, n] is 2 m k n; the backward pass costs twice the forward.
Source: Chowdhery et al. 2022 (PaLM), appendix B, which calls the share of the peak model FLOPs utilisation.
"""

from dataclasses import dataclass

from torch import Tensor

from vilbert.model.configuration_vilbert import TextAndRegionsConfig, VilbertConfig


@dataclass(frozen=True)
class Work:
    """What a batch of B pairs holds."""

    num_tokens: Tensor  # [B], padding left out
    num_regions: Tensor  # [B], with the whole image
    num_masked_tokens: Tensor  # []
    num_masked_regions: Tensor  # []


def training_flops(config: TextAndRegionsConfig, work: Work) -> Tensor:
    """Of one forward and backward pass of the pretraining model: []."""
    tokens, regions = work.num_tokens.double(), work.num_regions.double()
    trunk = _two_streams(config, tokens, regions) if isinstance(config, VilbertConfig) else None
    if trunk is None:
        trunk = _layers(
            tokens + regions, config.text_num_layers, config.text_hidden_size, config.text_intermediate_size
        )
    text, visual = config.text_hidden_size, config.visual_hidden_size
    embedding = 2 * regions.sum() * config.visual_feature_size * visual
    token_head = 2 * work.num_masked_tokens * (text * text + text * config.vocab_size)
    region_head = 2 * work.num_masked_regions * (visual * visual + visual * config.visual_target_size)
    return 3 * (trunk + embedding + token_head + region_head)


def _two_streams(c: VilbertConfig, tokens: Tensor, regions: Tensor) -> Tensor:
    text_layers = _layers(tokens, c.text_num_layers, c.text_hidden_size, c.text_intermediate_size)
    visual_layers = _layers(regions, c.visual_num_layers, c.visual_hidden_size, c.visual_intermediate_size)
    a_token = 2 * (4 * c.text_hidden_size * c.co_hidden_size + 2 * c.text_hidden_size * c.text_intermediate_size)
    a_region = 2 * (4 * c.visual_hidden_size * c.co_hidden_size + 2 * c.visual_hidden_size * c.visual_intermediate_size)
    a_co_layer = tokens * a_token + regions * a_region + 8 * tokens * regions * c.co_hidden_size
    return text_layers + visual_layers + len(c.text_co_layers) * a_co_layer.sum()


def _layers(positions: Tensor, num_layers: int, width: int, intermediate_width: int) -> Tensor:
    """Self-attention layers over [B] positions."""
    a_position = 2 * (4 * width * width + 2 * width * intermediate_width)
    return num_layers * (positions * a_position + 4 * positions**2 * width).sum()
