"""Transformer layers: self-attention within a stream, co-attention between two.

Dimension key:
    B: batch   Q: queries   K: keys and values   D: width of a stream   H: heads
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from vilbert.model.attention import attend
from vilbert.model.configuration_vilbert import TextAndRegionsConfig, VilbertConfig


class Attention(nn.Module):
    """Multi-head attention from `states` over `context`, added to `states` and normalised (post-norm)."""

    def __init__(
        self, width: int, context_width: int, *, inner_width: int, num_heads: int, config: TextAndRegionsConfig
    ):
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(width, inner_width)
        self.key = nn.Linear(context_width, inner_width)
        self.value = nn.Linear(context_width, inner_width)
        self.output = nn.Linear(inner_width, width)
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, states: Tensor, context: Tensor, *, mask: Tensor | None = None, maps: list[Tensor] | None = None
    ) -> Tensor:
        """Args:
            states: [B, Q, D].
            context: [B, K, D of the context].
            mask: bool [B or 1, 1, 1, K], True where there is something to attend to; None: everywhere.
            maps: gets the map [B, H, Q, K], without dropout, as its last; None: attention takes a fast path.
        Returns: [B, Q, D].
        """
        return self.attend(states, self.queries(states), *self.keys_and_values(context), mask=mask, maps=maps)

    def queries(self, states: Tensor) -> Tensor:
        """[B, Q, D] -> [B, H, Q, D of a head]."""
        return self._heads(self.query(states))

    def keys_and_values(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """[B, K, D of the context] -> [B, H, K, D of a head], twice."""
        return self._heads(self.key(context)), self._heads(self.value(context))

    def attend(
        self,
        states: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        mask: Tensor | None = None,
        maps: list[Tensor] | None = None,
    ) -> Tensor:
        """What `forward` does with queries, keys and values that are there already."""
        if maps is None:
            dropout_p = self.dropout.p if self.training else 0.0
            mixed = attend(query, key, value, mask=mask, dropout_p=dropout_p)
        else:
            scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
            if mask is not None:
                scores = scores.masked_fill(~mask, -math.inf)
            maps.append(scores.softmax(-1))
            mixed = self.dropout(maps[-1]) @ value
        mixed = self.output(mixed.transpose(1, 2).flatten(-2))
        return self.norm(states + self.dropout(mixed))

    def _heads(self, projected: Tensor) -> Tensor:
        return projected.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


class FeedForward(nn.Module):
    """Two-layer GELU perceptron with a residual connection (post-norm)."""

    def __init__(self, width: int, intermediate_width: int, *, config: TextAndRegionsConfig):
        super().__init__()
        self.intermediate = nn.Linear(width, intermediate_width)
        self.output = nn.Linear(intermediate_width, width)
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, states: Tensor) -> Tensor:
        """[B, Q, D] -> [B, Q, D]."""
        return self.norm(states + self.dropout(self.output(F.gelu(self.intermediate(states)))))


class SelfAttentionLayer(GradientCheckpointingLayer):
    """One transformer layer of one stream."""

    def __init__(self, width: int, num_heads: int, *, intermediate_width: int, config: TextAndRegionsConfig):
        super().__init__()
        self.attention = Attention(width, width, inner_width=width, num_heads=num_heads, config=config)
        self.feed_forward = FeedForward(width, intermediate_width, config=config)

    def forward(self, states: Tensor, *, mask: Tensor | None = None, maps: list[Tensor] | None = None) -> Tensor:
        """[B, Q, D] -> [B, Q, D]; mask and maps as in Attention."""
        return self.feed_forward(self.attention(states, states, mask=mask, maps=maps))

    def at_first(self, states: Tensor) -> Tensor:
        """What `forward` gives at position 0, nothing masked: [B, Q, D] -> [B, 1, D]."""
        return self.feed_forward(self.attention(states[:, :1], states))


def run_layers(
    layers: Iterable[nn.Module],
    states: Tensor,
    *,
    mask: Tensor | None = None,
    maps: list[Tensor] | None = None,
    outputs: list[Tensor] | None = None,
) -> Tensor:
    """Self-attention layers one after another: [B, Q, D] -> [B, Q, D]; `outputs` gets what each of them gives."""
    for layer in layers:
        states = layer(states, mask=mask, maps=maps)
        if outputs is not None:
            outputs.append(states)
    return states


class Projections(NamedTuple):
    """What a stream brings to a co-attention: what it asks with, and what it answers the other with."""

    query: Tensor  # all [B, H, Q, D of a head]
    key: Tensor
    value: Tensor


class CoAttentionLayer(GradientCheckpointingLayer):
    """Each stream attends over the other, at the same time.

    Source: Lu et al. 2019, figure 2b. The original's q_dense1 and q_dense2, which nothing reads, are left out.
    """

    def __init__(self, config: VilbertConfig):
        super().__init__()
        text, visual = config.text_hidden_size, config.visual_hidden_size
        inner, heads = config.co_hidden_size, config.co_num_heads
        self.text_attention = Attention(text, visual, inner_width=inner, num_heads=heads, config=config)
        self.text_feed_forward = FeedForward(text, config.text_intermediate_size, config=config)
        self.visual_attention = Attention(visual, text, inner_width=inner, num_heads=heads, config=config)
        self.visual_feed_forward = FeedForward(visual, config.visual_intermediate_size, config=config)

    def forward(
        self,
        text: Tensor,
        visual: Tensor,
        *,
        of_text: Projections | None = None,
        of_visual: Projections | None = None,
        text_mask: Tensor | None = None,
        visual_mask: Tensor | None = None,
        text_to_visual: list[Tensor] | None = None,
        visual_to_text: list[Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Args:
            text, visual: [B, T, D] and [B, R, D].
            of_text, of_visual: their projections, where they are there already.
            text_to_visual, visual_to_text: get the maps [B, H, T, R] and [B, H, R, T], as in Attention.
        Returns: text and visual again.
        """
        of_text = self.of_text(text) if of_text is None else of_text
        of_visual = self.of_visual(visual) if of_visual is None else of_visual
        new_text = self.text_attention.attend(
            text, of_text.query, of_visual.key, of_visual.value, mask=visual_mask, maps=text_to_visual
        )
        new_visual = self.visual_attention.attend(
            visual, of_visual.query, of_text.key, of_text.value, mask=text_mask, maps=visual_to_text
        )
        return self.text_feed_forward(new_text), self.visual_feed_forward(new_visual)

    def of_text(self, text: Tensor) -> Projections:
        """Of [B, T, D], whatever the image."""
        return Projections(self.text_attention.queries(text), *self.visual_attention.keys_and_values(text))

    def of_visual(self, visual: Tensor) -> Projections:
        """Of [B, R, D], whatever the text."""
        return Projections(self.visual_attention.queries(visual), *self.text_attention.keys_and_values(visual))
