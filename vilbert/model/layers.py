"""Transformer layers: self-attention within a stream, co-attention between two.

Dimension key:
    B: batch   Q: queries   K: keys and values   D: width of a stream   H: heads
"""

import math

import torch.nn.functional as F
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

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
        self, states: Tensor, context: Tensor, context_mask: Tensor | None, output_attentions: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Args:
            states: [B, Q, D].
            context: [B, K, D of the context].
            context_mask: bool [B or 1, 1, 1, K], True where there is something to attend to; None: everywhere.
        Returns: [B, Q, D], and the map [B, H, Q, K] if asked for, without dropout.
        """
        query, (key, value) = self.queries(states), self.keys_and_values(context)
        return self.attend(states, query, key, value, context_mask, output_attentions)

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
        context_mask: Tensor | None,
        output_attentions: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """What `forward` does with queries, keys and values that are there already."""
        attention_map = None
        if output_attentions:
            scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
            if context_mask is not None:
                scores = scores.masked_fill(~context_mask, -math.inf)
            attention_map = scores.softmax(-1)
            mixed = self.dropout(attention_map) @ value
        else:
            dropout_p = self.dropout.p if self.training else 0.0
            mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=context_mask, dropout_p=dropout_p)
        mixed = self.output(mixed.transpose(1, 2).flatten(-2))
        return self.norm(states + self.dropout(mixed)), attention_map

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

    def forward(self, states: Tensor, mask: Tensor, output_attentions: bool) -> tuple[Tensor, Tensor | None]:
        """[B, Q, D] -> [B, Q, D] and the map [B, H, Q, Q]."""
        attended, attention_map = self.attention(states, states, mask, output_attentions)
        return self.feed_forward(attended), attention_map


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
        self, text: Tensor, visual: Tensor, text_mask: Tensor, visual_mask: Tensor, output_attentions: bool
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """[B, T, D], [B, R, D] -> both again; maps: text over regions [B, H, T, R], the other way [B, H, R, T]."""
        new_text, over_visual = self.text_attention(text, visual, visual_mask, output_attentions)
        new_visual, over_text = self.visual_attention(visual, text, text_mask, output_attentions)
        return self.text_feed_forward(new_text), self.visual_feed_forward(new_visual), over_visual, over_text
