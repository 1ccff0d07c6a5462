"""How well every caption fits every image, exactly, without doing any work twice.

Text layers below the first co-attention run once a caption, the image embedding and the visual layers below it once an
image, and so do the first co-attention's projections; of the last layers only the position that the score reads is
computed; captions and images are put together by their length, so nothing is padded; the score is float32.

Dimension key:
    C: captions   I: images   P: pairs of a chunk, C x I   T: tokens   R: regions   D: width of a stream
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vilbert.model.configuration_vilbert import VilbertConfig
from vilbert.model.layers import Attention, CoAttentionLayer, SelfAttentionLayer
from vilbert.model.modeling_vilbert import VilbertForPreTraining

CAPTIONS_A_CHUNK, IMAGES_A_CHUNK = 8, 32


@dataclass(frozen=True)
class EncodedImage:
    """An image as the models read it, without padding."""

    features: Tensor  # [R, feature size], region 0 is the whole image
    boxes: Tensor  # [R, 5]


@dataclass(frozen=True)
class Side:
    """Captions, or images, of one length, as they come to the first co-attention."""

    indices: list[int]  # of the callers' sequence
    states: Tensor  # [C or I, T or R, D]
    projections: tuple[Tensor, ...]  # queries, keys and values of the first co-attention; () without one


@torch.inference_mode()
def score_pairs(model: nn.Module, captions: Sequence[Tensor], images: Sequence[EncodedImage]) -> Tensor:
    """Scores float32 [C, I] on the CPU: the score head's, or, of a pretraining model, how much likelier aligned is than
    not, in logits.

    Args:
        model: VilbertForImageTextRetrieval or VilbertForPreTraining, or the single-stream one.
        captions: input ids [T], with the special tokens.
    Raises: ValueError for a model that has task tokens, or is training.
    """
    if model.training:
        raise ValueError("the model is in training mode, expected model.eval()")
    if getattr(model.config, "num_task_tokens", 0):
        raise ValueError("the model has task tokens, which retrieval has no use for")
    pairs = (TwoStreamPairs if isinstance(model.config, VilbertConfig) else SingleStreamPairs)(model.base_model)
    device = next(model.parameters()).device
    image_sides = [
        pairs.visual_side(
            part,
            torch.stack([images[index].features for index in part]).to(device),
            torch.stack([images[index].boxes for index in part]).to(device),
        )
        for part in of_one_length([len(image.features) for image in images], IMAGES_A_CHUNK)
    ]
    scores = torch.empty(len(captions), len(images))
    for part in of_one_length([len(ids) for ids in captions], CAPTIONS_A_CHUNK):
        text_side = pairs.text_side(part, torch.stack([captions[index] for index in part]).to(device))
        for visual_side in image_sides:
            fused = pairs.fused(text_side, visual_side)
            of_chunk = head_scores(model, fused).unflatten(0, (len(part), -1)).cpu()
            scores[torch.tensor(part)[:, None], torch.tensor(visual_side.indices)] = of_chunk
    return scores


def of_one_length(lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    """Indices in parts of at most `size`, each of one length."""
    by_length: dict[int, list[int]] = {}
    for index, length in enumerate(lengths):
        by_length.setdefault(length, []).append(index)
    for indices in by_length.values():
        for start in range(0, len(indices), size):
            yield indices[start : start + size]


def head_scores(model: nn.Module, fused: Tensor) -> Tensor:
    """float32 [P, D] -> float32 [P]."""
    head: Any = model.alignment_head if isinstance(model, VilbertForPreTraining) else model.score_head
    logits = in_float32(head, fused)
    return logits.diff(dim=-1).squeeze(-1) if logits.shape[-1] == 2 else logits.squeeze(-1)


def in_float32(linear: nn.Linear, states: Tensor) -> Tensor:
    """A linear layer in float32, whatever the model's type: half precision changes the ranking."""
    return F.linear(states.float(), linear.weight.float(), linear.bias.float())


def paired(text: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
    """[C, ...] and [I, ...] -> [P, ...] both, all images of the first caption first."""
    return text.repeat_interleave(len(visual), dim=0), visual.repeat(len(text), *[1] * (visual.ndim - 1))


def at_first(layer: SelfAttentionLayer, states: Tensor) -> Tensor:
    """What a layer gives at position 0: [P, Q, D] -> [P, 1, D]."""
    return layer.feed_forward(layer.attention(states[:, :1], states, None, False)[0])


def first_of_last(layers: Sequence[SelfAttentionLayer], states: Tensor) -> Tensor:
    """What the layers give at position 0: [P, Q, D] -> [P, D]."""
    for layer in layers[:-1]:
        states, _ = layer(states, None, False)
    return (at_first(layers[-1], states) if layers else states)[:, 0]


class TwoStreamPairs:
    """The two streams, cut where they first meet."""

    def __init__(self, trunk: Any):
        self.trunk, config = trunk, trunk.config
        self.places = list(zip(config.text_co_layers, config.visual_co_layers, trunk.co_layers, strict=True))
        self.text_start: int = self.places[0][0] if self.places else 0
        self.visual_start: int = self.places[0][1] if self.places else 0

    def text_side(self, indices: list[int], input_ids: Tensor) -> Side:
        """Captions [C, T]."""
        states = self.trunk.text_embeddings(input_ids, torch.zeros_like(input_ids), None)
        states = run(self.trunk.text_layers[: self.text_start], states)
        return Side(indices, states, self._projections(states, own="text_attention", other="visual_attention"))

    def visual_side(self, indices: list[int], features: Tensor, boxes: Tensor) -> Side:
        """Images [I, R, feature size] and [I, R, 5]."""
        states = run(self.trunk.visual_layers[: self.visual_start], self.trunk.visual_embeddings(features, boxes))
        return Side(indices, states, self._projections(states, own="visual_attention", other="text_attention"))

    def _projections(self, states: Tensor, *, own: str, other: str) -> tuple[Tensor, ...]:
        """The queries with which a side asks, the keys and values with which it answers."""
        if not self.places:
            return ()
        layer = self.places[0][2]
        asks: Attention = getattr(layer, own)
        answers: Attention = getattr(layer, other)
        return asks.queries(states), *answers.keys_and_values(states)

    def fused(self, text_side: Side, visual_side: Side) -> Tensor:
        """What the heads read of all pairs of two sides: float32 [P, D]."""
        text, visual = paired(text_side.states, visual_side.states)
        if self.places:
            text, visual = self._first_meeting(self.places[0][2], text, visual, text_side, visual_side)
        text_done, visual_done = self.text_start, self.visual_start
        for text_end, visual_end, layer in self.places[1:]:
            text = run(self.trunk.text_layers[text_done:text_end], text)
            visual = run(self.trunk.visual_layers[visual_done:visual_end], visual)
            text, visual, _, _ = layer(text, visual, None, None, False)
            text_done, visual_done = text_end, visual_end
        pooled_text = F.relu(
            in_float32(self.trunk.text_pooler, first_of_last(self.trunk.text_layers[text_done:], text))
        )
        first = first_of_last(self.trunk.visual_layers[visual_done:], visual)
        pooled_visual = F.relu(in_float32(self.trunk.visual_pooler, first))
        return pooled_text * pooled_visual if self.trunk.config.fusion == "mul" else pooled_text + pooled_visual

    def _first_meeting(
        self, layer: CoAttentionLayer, text: Tensor, visual: Tensor, text_side: Side, visual_side: Side
    ) -> tuple[Tensor, Tensor]:
        """The first co-attention layer, from projections that were made once a caption and once an image."""
        texts, visuals = zip(
            *(paired(*both) for both in zip(text_side.projections, visual_side.projections, strict=True)), strict=True
        )
        new_text, _ = layer.text_attention.attend(text, texts[0], visuals[1], visuals[2], None, False)
        new_visual, _ = layer.visual_attention.attend(visual, visuals[0], texts[1], texts[2], None, False)
        return layer.text_feed_forward(new_text), layer.visual_feed_forward(new_visual)


class SingleStreamPairs:
    """The single stream: only the embeddings are made before a caption meets an image."""

    def __init__(self, trunk: Any):
        self.trunk = trunk

    def text_side(self, indices: list[int], input_ids: Tensor) -> Side:
        """Captions [C, T]."""
        return Side(indices, self.trunk.text_embeddings(input_ids, torch.zeros_like(input_ids), None), ())

    def visual_side(self, indices: list[int], features: Tensor, boxes: Tensor) -> Side:
        """Images [I, R, feature size] and [I, R, 5]."""
        return Side(indices, self.trunk.visual_embeddings(features, boxes), ())

    def fused(self, text_side: Side, visual_side: Side) -> Tensor:
        """What the heads read of all pairs of two sides: float32 [P, D]."""
        states = torch.cat(paired(text_side.states, visual_side.states), dim=1)
        return torch.tanh(in_float32(self.trunk.pooler, first_of_last(self.trunk.layers, states)))


def run(layers: Sequence[SelfAttentionLayer], states: Tensor) -> Tensor:
    """Layers one after another, nothing masked: [B, Q, D] -> [B, Q, D]."""
    for layer in layers:
        states, _ = layer(states, None, False)
    return states
