"""Tokens and regions as the first layers read them.

Dimension key:
    B: batch   T: text tokens   R: regions (the first is the whole image)   D: width of a stream
"""

import torch
from torch import Tensor, nn

from vilbert.model.configuration_vilbert import TextAndRegionsConfig

MIDDLE = 0.5  # of an image, in both directions


class TextEmbeddings(nn.Module):
    """Word, position and segment, as in BERT; with task tokens, one stands behind [CLS]."""

    def __init__(self, config: TextAndRegionsConfig, *, num_task_tokens: int = 0):
        super().__init__()
        self.word = nn.Embedding(config.vocab_size, config.text_hidden_size, padding_idx=config.pad_token_id)
        self.position = nn.Embedding(config.max_position_embeddings, config.text_hidden_size)
        self.token_type = nn.Embedding(config.type_vocab_size, config.text_hidden_size)
        self.task = nn.Embedding(num_task_tokens, config.text_hidden_size) if num_task_tokens else None
        self.norm = nn.LayerNorm(config.text_hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor, task_ids: Tensor | None) -> Tensor:
        """int64 [B, T], [B, T] and [B] -> [B, T, D], or [B, T + 1, D] with a task token.

        Source: vilbert-multi-task, where the task token has neither position nor segment.
        """
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        text = self.word(input_ids) + self.position(positions) + self.token_type(token_type_ids)
        if self.task is not None and task_ids is not None:
            text = torch.cat([text[:, :1], self.task(task_ids)[:, None], text[:, 1:]], dim=1)
        return self.dropout(self.norm(text))


class VisualEmbeddings(nn.Module):
    """Region feature and place; with a segment where regions and text share a stream.

    Source: Lu et al. 2019, section 3.1; as in the original, both are projected, summed and normalised. Normalised
        apart, as in LXMERT (Tan and Bansal 2019, section 2.1) and UNITER, a place counts as much as a feature whose
        numbers are many times as large. Boxes are then taken from the middle of the image: a norm keeps the
        direction of a product alone, in which, from the corner, right looks like up (a cosine of 0.95).
    """

    def __init__(self, config: TextAndRegionsConfig, *, width: int, has_segment: bool = False):
        super().__init__()
        self.feature = nn.Linear(config.visual_feature_size, width)
        self.box = nn.Linear(5, width)
        self.segment = nn.Parameter(torch.empty(width)) if has_segment else None
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        is_apart = config.visual_embedding_norm == "apart"
        self.box_norm = nn.LayerNorm(width, eps=config.layer_norm_eps) if is_apart else None
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, features: Tensor, boxes: Tensor) -> Tensor:
        """features [B, R, feature size], boxes [B, R, 5] (x1, y1, x2, y2, area as fractions) -> [B, R, D]."""
        dtype = self.feature.weight.dtype
        of_feature = self.feature(features.to(dtype))
        if self.segment is not None:
            of_feature = of_feature + self.segment
        if self.box_norm is None:
            return self.dropout(self.norm(of_feature + self.box(boxes.to(dtype))))
        of_box = self.box(boxes.to(dtype) - MIDDLE)
        return self.dropout(self.norm(of_feature) + self.box_norm(of_box))
