"""ViLBERT: two transformer streams, text and image regions, joined by co-attention.

Lu et al., NeurIPS 2019, https://arxiv.org/abs/1908.02265, section 3.1 and figure 3.

Dimension key:
    B: batch   T: text tokens   R: regions (the first is the whole image)   D: width of a stream
    V: vocabulary   C: region classes   H: heads   N: masked tokens, or masked regions
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput, can_return_tuple

from vilbert.model.configuration_vilbert import TextAndRegionsConfig, VilbertConfig
from vilbert.model.embeddings import TextEmbeddings, VisualEmbeddings
from vilbert.model.heads import PredictionHead
from vilbert.model.inputs import checked_inputs, demand_shape
from vilbert.model.layers import CoAttentionLayer, SelfAttentionLayer, run_layers
from vilbert.model.losses import alignment_loss, masked_region_loss, masked_token_loss

IGNORED = -100  # label of what costs nothing, as in HF


class VilbertAttentions(NamedTuple):
    """Attention maps, one a layer; of the single stream, the four quarters of each map."""

    text: tuple[Tensor, ...] = ()  # [B, H, T, T]
    visual: tuple[Tensor, ...] = ()  # [B, H, R, R]
    text_to_visual: tuple[Tensor, ...] = ()  # [B, H, T, R], each token's over the regions
    visual_to_text: tuple[Tensor, ...] = ()  # [B, H, R, T], each region's over the tokens


@dataclass
class VilbertOutput(ModelOutput):
    """What the streams end with."""

    text_states: Tensor | None = None  # [B, T, D_text]; T + 1 with a task token
    visual_states: Tensor | None = None  # [B, R, D_visual]
    pooled_text: Tensor | None = None  # [B, D_co], of token 0
    pooled_visual: Tensor | None = None  # [B, D_co], of region 0
    text_hidden_states: tuple[Tensor, ...] | None = None  # as text_states: the embeddings, then what each layer gives
    visual_hidden_states: tuple[Tensor, ...] | None = None  # as visual_states; a co-attention layer is one of both
    attentions: VilbertAttentions | None = None

    def on_the_way(self) -> dict[str, Any]:
        """What was asked for of the layers below, by name."""
        names = ("text_hidden_states", "visual_hidden_states", "attentions")
        return {name: getattr(self, name) for name in names}


@dataclass
class VilbertPreTrainingOutput(ModelOutput):
    """Logits of the three heads; the losses whose labels were given, by name and unweighted, and their sum."""

    loss: Tensor | None = None
    losses: dict[str, Tensor] | None = None  # masked_token, masked_region, alignment
    token_logits: Tensor | None = None  # [B, T, V]; with labels [N, V], of the masked tokens in reading order
    region_logits: Tensor | None = None  # [B, R, C]; with targets [N, C], of the masked regions in order
    alignment_logits: Tensor | None = None  # [B, 2], index 1 = aligned
    text_states: Tensor | None = None
    visual_states: Tensor | None = None
    pooled_text: Tensor | None = None
    pooled_visual: Tensor | None = None
    text_hidden_states: tuple[Tensor, ...] | None = None
    visual_hidden_states: tuple[Tensor, ...] | None = None
    attentions: VilbertAttentions | None = None


class VilbertPreTrainedModel(PreTrainedModel):
    """Initialisation, loading and saving for every model here."""

    config: Any  # HF knows it as PreTrainedConfig alone
    config_class: type[PreTrainedConfig] = VilbertConfig
    base_model_prefix = "vilbert"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    checks_values = True  # of the inputs; to read them makes a GPU wait, so a training does it once
    _no_split_modules = ["SelfAttentionLayer", "CoAttentionLayer"]  # noqa: RUF012

    def make_trunk(self) -> Any:
        """The model that the heads stand on: VilbertModel, or what takes its place."""
        return VilbertModel(self.config)

    def is_asked(self, name: str, given: bool | None) -> bool:
        """Whether a call, or else the configuration, asks for what the layers leave behind."""
        return bool(getattr(self.config, name) if given is None else given)

    def get_input_embeddings(self) -> nn.Embedding:
        trunk: Any = self.base_model
        return trunk.text_embeddings.word

    def set_input_embeddings(self, value: nn.Module) -> None:
        trunk: Any = self.base_model
        trunk.text_embeddings.word = value

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Normal weights, the padding token's row too, as in the original; zero biases."""
        if isinstance(module, nn.Linear | nn.Embedding):
            init.normal_(module.weight, std=self.config.initializer_range)
        if isinstance(module, nn.Linear) and module.bias is not None:
            init.zeros_(module.bias)
        if isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)
        if isinstance(module, VisualEmbeddings) and module.segment is not None:
            init.normal_(module.segment, std=self.config.initializer_range)


class Stage(NamedTuple):
    """What runs from one meeting of the streams to the next, both streams by themselves."""

    co_layer: CoAttentionLayer | None  # where they meet, before these layers; the first stage has none
    text_layers: nn.ModuleList
    visual_layers: nn.ModuleList


class VilbertModel(VilbertPreTrainedModel):
    """The two streams without heads."""

    def __init__(self, config: VilbertConfig):
        super().__init__(config)
        c = config
        self.text_embeddings = TextEmbeddings(c, num_task_tokens=c.num_task_tokens)
        self.visual_embeddings = VisualEmbeddings(c, width=c.visual_hidden_size)
        self.text_layers = nn.ModuleList(
            SelfAttentionLayer(
                c.text_hidden_size, c.text_num_heads, intermediate_width=c.text_intermediate_size, config=c
            )
            for _ in range(c.text_num_layers)
        )
        self.visual_layers = nn.ModuleList(
            SelfAttentionLayer(
                c.visual_hidden_size, c.visual_num_heads, intermediate_width=c.visual_intermediate_size, config=c
            )
            for _ in range(c.visual_num_layers)
        )
        self.co_layers = nn.ModuleList(CoAttentionLayer(c) for _ in c.text_co_layers)
        self.text_pooler = nn.Linear(c.text_hidden_size, c.co_hidden_size)
        self.visual_pooler = nn.Linear(c.visual_hidden_size, c.co_hidden_size)
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
        """Run the streams; one text is joined with many images, or one image with many texts, where they first meet.

        Args:
            input_ids: [B, T]; token_type_ids, attention_mask: the same, 0 and 1 by default.
            visual_features: [B, R, visual_feature_size], region 0 is the whole image.
            visual_boxes: [B, R, 5], x1 y1 x2 y2 area as fractions of the image.
            visual_attention_mask: [B, R], 1 by default.
            task_ids: [B], for models with task tokens.
            output_attentions: give the maps; without, attention takes PyTorch's fast path. None: as the config says.
            output_hidden_states: give `text_hidden_states` and `visual_hidden_states`: the embeddings, then the output
                of each layer of the stream, co-attention layers among them, [B, T, D] and [B, R, D] each; the last is
                `text_states` and `visual_states`. None: as the config says.
            return_dict: False gives a tuple of what is not None, in the order of the fields. By default, the config's.
        Raises: ValueError for shapes and values that do not fit.
        """
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
        self._check_task_ids(task_ids, num_texts=input_ids.shape[0])
        text = self.text_embeddings(input_ids, inputs.token_type_ids, task_ids)
        text_mask = inputs.text_mask if task_ids is None else F.pad(inputs.text_mask, (1, 0), value=True)
        visual = self.visual_embeddings(visual_features, visual_boxes)
        masks = text_mask[:, None, None], inputs.visual_mask[:, None, None]
        states = self._run_stages(
            text,
            visual,
            masks,
            maps=([], [], [], []) if self.is_asked("output_attentions", output_attentions) else None,
            outputs=([text], [visual]) if self.is_asked("output_hidden_states", output_hidden_states) else None,
        )
        return VilbertOutput(
            **states,
            pooled_text=F.relu(self.text_pooler(states["text_states"][:, 0])),
            pooled_visual=F.relu(self.visual_pooler(states["visual_states"][:, 0])),
        )

    def fuse(self, output: VilbertOutput) -> Tensor:
        """What the heads for a pair of image and text read: [B, D_co]."""
        assert output.pooled_text is not None
        assert output.pooled_visual is not None
        if self.config.fusion == "mul":
            return output.pooled_text * output.pooled_visual
        return output.pooled_text + output.pooled_visual

    def stages(self) -> list[Stage]:
        """All layers, in the order of the configuration."""
        text_places = (0, *self.config.text_co_layers, self.config.text_num_layers)
        visual_places = (0, *self.config.visual_co_layers, self.config.visual_num_layers)
        return [
            Stage(co_layer, self.text_layers[text_start:text_end], self.visual_layers[visual_start:visual_end])
            for co_layer, (text_start, text_end), (visual_start, visual_end) in zip(
                (None, *self.co_layers), pairwise(text_places), pairwise(visual_places), strict=True
            )
        ]

    def _run_stages(
        self,
        text: Tensor,
        visual: Tensor,
        masks: tuple[Tensor, Tensor],
        *,
        maps: tuple[list[Tensor], ...] | None,
        outputs: tuple[list[Tensor], list[Tensor]] | None,
    ) -> dict[str, Any]:
        """The fields of VilbertOutput but the pooled ones; `maps` and `outputs` get those of each layer."""
        text_mask, visual_mask = masks
        of_text, of_visual, text_to_visual, visual_to_text = maps or [None] * 4
        text_outputs, visual_outputs = outputs or [None] * 2
        for co_layer, text_layers, visual_layers in self.stages():
            if co_layer is not None:
                text, visual = co_layer(
                    *as_many(text, visual),
                    text_mask=text_mask,
                    visual_mask=visual_mask,
                    text_to_visual=text_to_visual,
                    visual_to_text=visual_to_text,
                )
                if text_outputs is not None and visual_outputs is not None:
                    text_outputs.append(text)
                    visual_outputs.append(visual)
            text = run_layers(text_layers, text, mask=text_mask, maps=of_text, outputs=text_outputs)
            visual = run_layers(visual_layers, visual, mask=visual_mask, maps=of_visual, outputs=visual_outputs)
        text, visual = as_many(text, visual)
        return {
            "text_states": text,
            "visual_states": visual,
            "text_hidden_states": alike(text_outputs, text),
            "visual_hidden_states": alike(visual_outputs, visual),
            "attentions": VilbertAttentions(*map(tuple, maps)) if maps else None,
        }

    def _check_task_ids(self, task_ids: Tensor | None, *, num_texts: int) -> None:
        num_tasks = self.config.num_task_tokens
        if (task_ids is not None) != (num_tasks > 0):
            given = "not given" if task_ids is None else "given"
            raise ValueError(f"task_ids are {given}, expected them only and always with num_task_tokens, {num_tasks}")
        if task_ids is not None:
            demand_shape("task_ids", task_ids, "[B]", (num_texts,))


def as_many(text: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
    """One text with many images, or one image with many texts, repeated to as many of both."""
    num_pairs = max(text.shape[0], visual.shape[0])  # len() would be a constant of an exported graph
    return text.expand(num_pairs, -1, -1), visual.expand(num_pairs, -1, -1)


def alike(outputs: list[Tensor] | None, last: Tensor) -> tuple[Tensor, ...] | None:
    """What the layers gave, each for as many pairs as the last; what has as many is itself, for its gradient."""
    if outputs is None:
        return None
    return *(one if len(one) == len(last) else one.expand(len(last), -1, -1) for one in outputs[:-1]), last


def positions_of(mask: Tensor) -> Tensor:
    """Where a mask [B, Q] is true, in the order of its B * Q places: int64 [N]."""
    return mask.flatten().nonzero().squeeze(-1)


class VilbertForPreTraining(VilbertPreTrainedModel):
    """Masked tokens, masked regions and the alignment of caption and image."""

    _tied_weights_keys = {"token_head.decoder.weight": "vilbert.text_embeddings.word.weight"}  # noqa: RUF012

    def __init__(self, config: TextAndRegionsConfig):
        super().__init__(config)
        self.vilbert = self.make_trunk()
        self.token_head = PredictionHead(config.text_hidden_size, config.vocab_size, config=config)
        self.region_head = PredictionHead(config.visual_hidden_size, config.visual_target_size, config=config)
        self.alignment_head = nn.Linear(config.co_hidden_size, 2)
        self.dropout = nn.Dropout(config.dropout)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """As of every model, but where features are to be told apart, none is preferred at first: their products with
        random predictions are of the size of the features, and the loss would start far above the log of their number.
        """
        super()._init_weights(module)
        if module is self.region_head.decoder and self.config.visual_target == "contrastive":
            init.zeros_(module.weight)

    def get_output_embeddings(self) -> nn.Linear:
        return self.token_head.decoder

    def set_output_embeddings(self, value: nn.Linear) -> None:
        self.token_head.decoder = value

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
        labels: Tensor | None = None,
        label_positions: Tensor | None = None,
        region_targets: Tensor | None = None,
        region_target_mask: Tensor | None = None,
        region_target_positions: Tensor | None = None,
        alignment_labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> VilbertPreTrainingOutput:
        """Logits for every position, or, where labels are given, for the masked ones alone, and the losses.

        Args:
            labels: int64 [B, T], -100 where not masked.
            region_target_mask: [B, R], 1 where masked.
            label_positions, region_target_positions: int64 [N], where the masked ones stand in reading order, of B * T
                and B * R; looked up in `labels` and `region_target_mask` if not given, for which a GPU has to wait.
            region_targets: of the masked regions in reading order, class distributions [N, C], features [N, D], or
                candidates [N, K, D], the right one first; D is visual_feature_size.
            alignment_labels: int64 [B], 1 where the text belongs to the image.
        Raises: ValueError for shapes and values that do not fit.
        """
        output = self.vilbert(
            input_ids,
            visual_features,
            visual_boxes,
            token_type_ids=token_type_ids,
            attention_mask=attention_mask,
            visual_attention_mask=visual_attention_mask,
            task_ids=task_ids,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        self._check_labels(output, labels, region_targets, region_target_mask, alignment_labels)
        text, regions = output.text_states, output.visual_states
        if labels is not None:
            if label_positions is None:
                label_positions = positions_of(labels != IGNORED)
            text, labels = text.flatten(0, 1)[label_positions], labels.flatten()[label_positions]
        if region_targets is not None and region_target_mask is not None:
            if region_target_positions is None:
                region_target_positions = positions_of(region_target_mask.bool())
            regions = regions.flatten(0, 1)[region_target_positions]
            is_contrastive = self.config.visual_target == "contrastive"
            candidates = tuple(region_targets.shape[1:2]) if is_contrastive else ()
            expected = (len(regions), *candidates, self.config.visual_target_size)
            demand_shape("region_targets", region_targets, "[N, C], N masked regions", expected)
        token_logits, region_logits = self.token_head(text), self.region_head(regions)
        alignment_logits = self.alignment_head(self.dropout(self.vilbert.fuse(output)))
        losses = {}
        if labels is not None:
            losses["masked_token"] = masked_token_loss(token_logits, labels)
        if region_targets is not None:
            target = self.config.visual_target
            losses["masked_region"] = masked_region_loss(region_logits, region_targets, target=target)
        if alignment_labels is not None:
            losses["alignment"] = alignment_loss(alignment_logits, alignment_labels)
        return VilbertPreTrainingOutput(
            **output,
            loss=torch.stack(list(losses.values())).sum() if losses else None,
            losses=losses or None,
            token_logits=token_logits,
            region_logits=region_logits,
            alignment_logits=alignment_logits,
        )

    def _check_labels(
        self,
        output: VilbertOutput,
        labels: Tensor | None,
        region_targets: Tensor | None,
        region_target_mask: Tensor | None,
        alignment_labels: Tensor | None,
    ) -> None:
        assert output.text_states is not None
        assert output.visual_states is not None
        if labels is not None:
            demand_shape("labels", labels, "that of the text states", tuple(output.text_states.shape[:2]))
        if (region_targets is None) != (region_target_mask is None):
            raise ValueError("region_targets and region_target_mask belong together, only one was given")
        if region_targets is not None and region_target_mask is not None:
            demand_shape("region_target_mask", region_target_mask, "[B, R]", tuple(output.visual_states.shape[:2]))
        if alignment_labels is not None:
            demand_shape("alignment_labels", alignment_labels, "[B]", (len(output.text_states),))
