"""One model a task: the trunk, and a small head that gives `logits`.

Dimension key:
    B: batch   M: choices   T: text tokens   R: regions (the first is the whole image)   A: answers
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.utils import ModelOutput, can_return_tuple

from vilbert.model.configuration_vilbert import TextAndRegionsConfig
from vilbert.model.heads import AnswerHead
from vilbert.model.inputs import demand_shape, demand_tensors
from vilbert.model.modeling_vilbert import VilbertAttentions, VilbertPreTrainedModel

SINGLE_LABEL, MULTI_LABEL = "single_label_classification", "multi_label_classification"  # as transformers has them
LIKELY = 0.5  # probability from which one of several labels is given
PADDING_LOGIT = -10000.0  # added to regions that are none, as in the original


@dataclass
class VilbertTaskOutput(ModelOutput):
    """What a task asks for; the loss where labels were given. What was asked for of the layers is as VilbertOutput has
    it, of B * M pairs where M compete."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    text_hidden_states: tuple[Tensor, ...] | None = None
    visual_hidden_states: tuple[Tensor, ...] | None = None
    attentions: VilbertAttentions | None = None


class VilbertForQuestionAnswering(VilbertPreTrainedModel):
    """VQA: `logits` [B, A] over the answers that `config.id2label` lists."""

    def __init__(self, config: TextAndRegionsConfig):
        super().__init__(config)
        self.vilbert = self.make_trunk()
        self.answer_head = AnswerHead(config.co_hidden_size, config.num_labels or 0, config=config)
        self.dropout = nn.Dropout(config.dropout)
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
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> VilbertTaskOutput:
        """Args:
            labels: [B, A], score of each answer, 0 to 1. The loss is summed over answers, averaged over the batch.
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
        logits = self.answer_head(self.dropout(self.vilbert.fuse(output)))
        return VilbertTaskOutput(loss=summed_binary_loss(logits, labels), logits=logits, **output.on_the_way())


class VilbertForClassification(VilbertPreTrainedModel):
    """Labels of one's own: `logits` [B, K] over those that `config.id2label` lists.

    `config.problem_type` says whether one of them is right, or any number; `config.class_weights`, [K] or None, what
    each weighs in the loss.
    """

    def __init__(self, config: TextAndRegionsConfig):
        super().__init__(config)
        demand_problem_type(config.problem_type)
        self.vilbert = self.make_trunk()
        self.label_head = AnswerHead(config.co_hidden_size, config.num_labels or 0, config=config)
        self.dropout = nn.Dropout(config.dropout)
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
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> VilbertTaskOutput:
        """Args:
            labels: int64 [B] which label is right; or float [B, K], 1 for each that is. The loss is the mean over the
                batch, and over the labels where there may be several.
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
        logits = self.label_head(self.dropout(self.vilbert.fuse(output)))
        return VilbertTaskOutput(loss=self.loss_of(logits, labels), logits=logits, **output.on_the_way())

    def loss_of(self, logits: Tensor, labels: Tensor | None) -> Tensor | None:
        if labels is None:
            return None
        weights = None
        if self.config.class_weights is not None:  # `new_tensor` would make a GPU wait, in each step
            weights = torch.tensor(self.config.class_weights).to(logits, non_blocking=True)
        if self.config.problem_type == MULTI_LABEL:
            demand_shape("labels", labels, "that of the logits", tuple(logits.shape))
            return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), weight=weights)
        demand_shape("labels", labels, "[B]", (len(logits),))
        losses = F.cross_entropy(logits, labels, reduction="none")
        return (losses if weights is None else losses * weights[labels]).mean()


class VilbertForRegionGrounding(VilbertPreTrainedModel):
    """RefCOCO+: `logits` [B, R], how well each region fits the expression; about -10000 where there is no region."""

    def __init__(self, config: TextAndRegionsConfig):
        super().__init__(config)
        self.vilbert = self.make_trunk()
        self.grounding_head = nn.Linear(config.visual_hidden_size, 1)
        self.dropout = nn.Dropout(config.dropout)
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
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> VilbertTaskOutput:
        """Args:
            labels: [B, R], overlap with the box that is meant, 0 to 1. The loss is summed over regions, averaged over
                the batch.
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
        logits = self.grounding_head(self.dropout(output.visual_states)).squeeze(-1)
        if visual_attention_mask is not None:
            logits = logits + (1 - visual_attention_mask.to(logits.dtype)) * PADDING_LOGIT
        return VilbertTaskOutput(loss=summed_binary_loss(logits, labels), logits=logits, **output.on_the_way())


class VilbertForMultipleChoice(VilbertPreTrainedModel):
    """VCR: `logits` [B, M], how well each of M texts fits the image.

    Texts are [B, M, T]. Images are [B, R, ...], one for all choices, or [B, M, R, ...], one a choice. Without M, each
    pair is scored by itself: `logits` [B].
    """

    def __init__(self, config: TextAndRegionsConfig):
        super().__init__(config)
        self.vilbert = self.make_trunk()
        self.score_head = nn.Linear(config.co_hidden_size, 1)
        self.dropout = nn.Dropout(config.dropout)
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
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> VilbertTaskOutput:
        """Args:
            task_ids: [B] or [B, M].
            labels: int64 [B], which choice is right.
        Raises: ValueError for shapes and values that do not fit.
        """
        demand_tensors(input_ids=input_ids, visual_features=visual_features, visual_boxes=visual_boxes)
        if input_ids.ndim not in (2, 3):
            raise ValueError(f"input_ids has the shape {list(input_ids.shape)}, expected [B, M, T] or [B, T]")
        choices = tuple(input_ids.shape[1:-1])
        visual = [
            image_a_choice(tensor, choices, num_dims=num_dims)
            for tensor, num_dims in ((visual_features, 3), (visual_boxes, 3), (visual_attention_mask, 2))
        ]
        output = self.vilbert(
            one_by_one(input_ids),
            visual[0],
            visual[1],
            token_type_ids=one_by_one(token_type_ids),
            attention_mask=one_by_one(attention_mask),
            visual_attention_mask=visual[2],
            task_ids=image_a_choice(task_ids, choices, num_dims=1),
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        logits = self.score_head(self.dropout(self.vilbert.fuse(output))).squeeze(-1)
        if choices:
            logits = logits.unflatten(0, (max(input_ids.shape[0], visual_features.shape[0]), *choices))
        loss = None
        if labels is not None:
            demand_shape("logits", logits, "[B, M] where labels are given", (len(labels), *(choices or (1,))))
            loss = F.cross_entropy(logits, labels)
        return VilbertTaskOutput(loss=loss, logits=logits, **output.on_the_way())


class VilbertForImageTextRetrieval(VilbertForMultipleChoice):
    """Retrieval: `logits` [B], how well text and image fit; [B, M] and a loss where M pairs compete, one of them right.

    One text with B images, or B texts with one image, give B logits.
    """


def demand_problem_type(problem_type: str | None) -> None:
    """Raises: ValueError for what is none of the two."""
    if problem_type not in (SINGLE_LABEL, MULTI_LABEL):
        raise ValueError(f"problem_type is '{problem_type}', expected {SINGLE_LABEL} or {MULTI_LABEL}")


def one_by_one(texts: Tensor | None) -> Tensor | None:
    """[B, M, T] -> [B * M, T]; [B, T] stays."""
    return texts if texts is None else texts.flatten(0, -2)


def image_a_choice(tensor: Tensor | None, choices: tuple[int, ...], *, num_dims: int) -> Tensor | None:
    """Something of an image with `num_dims` dimensions [B, ...], or [B, M, ...], as [B * M, ...]."""
    if tensor is None or not choices:
        return tensor
    if tensor.ndim == num_dims:
        tensor = tensor[:, None].expand(-1, *choices, *tensor.shape[1:])
    return tensor.flatten(0, 1)


def summed_binary_loss(logits: Tensor, labels: Tensor | None) -> Tensor | None:
    """Binary cross entropy of [B, X] against scores [B, X], summed over X, averaged over the batch."""
    if labels is None:
        return None
    demand_shape("labels", labels, "that of the logits", tuple(logits.shape))
    return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), reduction="sum") / len(logits)
