"""The paper's single-stream baseline: one BERT over tokens and regions. Inputs, outputs and heads as in two streams.

Lu et al. 2019, section 4.1. The pretraining class of the published code cannot run; this one follows its task class.

Dimension key:
    B: batch   T: text tokens   R: regions (the first is the whole image)   D: width of the stream   H: heads
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers.utils import can_return_tuple

from vilbert.model.configuration_vilbert import VilbertSingleStreamConfig
from vilbert.model.embeddings import TextEmbeddings, VisualEmbeddings
from vilbert.model.inputs import checked_inputs
from vilbert.model.layers import SelfAttentionLayer, run_layers
from vilbert.model.modeling_tasks import (
    VilbertForClassification,
    VilbertForImageTextRetrieval,
    VilbertForMultipleChoice,
    VilbertForQuestionAnswering,
    VilbertForRegionGrounding,
)
from vilbert.model.modeling_vilbert import (
    VilbertAttentions,
    VilbertForPreTraining,
    VilbertOutput,
    VilbertPreTrainedModel,
    as_many,
)


class VilbertSingleStreamPreTrainedModel(VilbertPreTrainedModel):
    """What is loaded and saved as a single stream."""

    config_class = VilbertSingleStreamConfig

    def make_trunk(self) -> Any:
        return VilbertSingleStreamModel(self.config)


class VilbertSingleStreamModel(VilbertSingleStreamPreTrainedModel):
    """Text first, then regions, through the same layers."""

    def __init__(self, config: VilbertSingleStreamConfig):
        super().__init__(config)
        width = config.text_hidden_size
        self.text_embeddings = TextEmbeddings(config)
        self.visual_embeddings = VisualEmbeddings(config, width=width, has_segment=True)
        self.layers = nn.ModuleList(
            SelfAttentionLayer(
                width, config.text_num_heads, intermediate_width=config.text_intermediate_size, config=config
            )
            for _ in range(config.text_num_layers)
        )
        self.pooler = nn.Linear(width, width)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor,
        visual_features: Tensor,
        visual_boxes: Tensor,
        *,
        token_type_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        visual_attention_mask: Tensor | None = None,
        task_ids: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> VilbertOutput:
        """As VilbertModel.forward; `pooled_text` and `pooled_visual` are both the pooled [CLS].

        The one stream's hidden states are given in two parts, of the tokens and of the regions.

        Raises: ValueError for shapes and values that do not fit.
        """
        if task_ids is not None:
            raise ValueError("task_ids are given, but the single-stream model has no task tokens")
        inputs = checked_inputs(
            self.config,
            input_ids=input_ids,
            token_type_ids=token_type_ids,
            attention_mask=attention_mask,
            visual_features=visual_features,
            visual_boxes=visual_boxes,
            visual_attention_mask=visual_attention_mask,
            checks_values=self.checks_values,
        )
        text = self.text_embeddings(input_ids, inputs.token_type_ids, None)
        states = torch.cat(as_many(text, self.visual_embeddings(visual_features, visual_boxes)), dim=1)
        masks = [mask.expand(states.shape[0], -1) for mask in (inputs.text_mask, inputs.visual_mask)]
        mask = torch.cat(masks, dim=1)[:, None, None]
        maps: list[Tensor] | None = [] if self.is_asked("output_attentions", output_attentions) else None
        outputs = [states] if self.is_asked("output_hidden_states", output_hidden_states) else None
        states = run_layers(self.layers, states, mask=mask, maps=maps, outputs=outputs)
        pooled = torch.tanh(self.pooler(states[:, 0]))
        num_tokens = input_ids.shape[1]
        return VilbertOutput(
            text_states=states[:, :num_tokens],
            visual_states=states[:, num_tokens:],
            pooled_text=pooled,
            pooled_visual=pooled,
            text_hidden_states=None if outputs is None else tuple(one[:, :num_tokens] for one in outputs),
            visual_hidden_states=None if outputs is None else tuple(one[:, num_tokens:] for one in outputs),
            attentions=quarters(maps, num_tokens) if maps is not None else None,
        )

    def fuse(self, output: VilbertOutput) -> Tensor:
        """What the heads for a pair of image and text read, the pooled [CLS]: [B, D]."""
        assert output.pooled_text is not None
        return output.pooled_text


def quarters(maps: list[Tensor], num_tokens: int) -> VilbertAttentions:
    """Maps [B, H, T + R, T + R] cut into who attends over whom."""
    return VilbertAttentions(
        text=tuple(one[..., :num_tokens, :num_tokens] for one in maps),
        visual=tuple(one[..., num_tokens:, num_tokens:] for one in maps),
        text_to_visual=tuple(one[..., :num_tokens, num_tokens:] for one in maps),
        visual_to_text=tuple(one[..., num_tokens:, :num_tokens] for one in maps),
    )


class VilbertSingleStreamForPreTraining(VilbertSingleStreamPreTrainedModel, VilbertForPreTraining):
    """Masked tokens, masked regions and the alignment of caption and image."""


class VilbertSingleStreamForQuestionAnswering(VilbertSingleStreamPreTrainedModel, VilbertForQuestionAnswering):
    """VQA."""


class VilbertSingleStreamForClassification(VilbertSingleStreamPreTrainedModel, VilbertForClassification):
    """Labels of one's own."""


class VilbertSingleStreamForMultipleChoice(VilbertSingleStreamPreTrainedModel, VilbertForMultipleChoice):
    """VCR."""


class VilbertSingleStreamForRegionGrounding(VilbertSingleStreamPreTrainedModel, VilbertForRegionGrounding):
    """RefCOCO+."""


class VilbertSingleStreamForImageTextRetrieval(VilbertSingleStreamPreTrainedModel, VilbertForImageTextRetrieval):
    """Retrieval."""
