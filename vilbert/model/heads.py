"""What stands on the streams: predictions for each token or region, and answers."""

import torch.nn.functional as F
from torch import Tensor, nn

from vilbert.model.configuration_vilbert import TextAndRegionsConfig


class PredictionHead(nn.Module):
    """Dense, GELU, norm, then a projection to `num_outputs`, as BERT's."""

    def __init__(self, width: int, num_outputs: int, *, config: TextAndRegionsConfig):
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.decoder = nn.Linear(width, num_outputs)

    def forward(self, states: Tensor) -> Tensor:
        """[..., width] -> [..., num_outputs]."""
        return self.decoder(self.norm(F.gelu(self.dense(states))))


class AnswerHead(nn.Module):
    """From the fused vector to a score for each answer.

    Source: `relu` is vilbert_beta's, whose weight normalisation the converter folds in; `gelu_norm` that of
    vilbert-multi-task and MMF.
    """

    def __init__(self, width: int, num_answers: int, *, config: TextAndRegionsConfig):
        super().__init__()
        inner = config.answer_hidden_size
        self.dense = nn.Linear(width, inner)
        self.norm = nn.LayerNorm(inner, eps=config.layer_norm_eps) if config.answer_head == "gelu_norm" else None
        self.dropout = nn.Dropout(0.5)
        self.decoder = nn.Linear(inner, num_answers)

    def forward(self, fused: Tensor) -> Tensor:
        """[B, width] -> [B, num_answers]."""
        if self.norm is not None:
            return self.decoder(self.norm(F.gelu(self.dense(fused))))
        return self.decoder(self.dropout(F.relu(self.dense(fused))))
