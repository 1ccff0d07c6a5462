"""How well every caption fits every image, exactly, without doing any work twice.

Text layers below the first co-attention run once a caption, the image embedding and the visual layers below it once an
image, and so do the first co-attention's projections; of the last layers only the position that the score reads is
computed; captions and images are put together by their length, so nothing is padded; the score is float32.

Dimension key:
    C: captions   I: images   P: pairs of a chunk, C x I   T: tokens   R: regions   D: width of a stream
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from extract.regions.store import Regions
from extract.terminal import bar
from vilbert.batches.padding import pad_images
from vilbert.model.configuration_vilbert import VilbertConfig
from vilbert.model.device_memory import enough_memory
from vilbert.model.layers import Projections, run_layers
from vilbert.model.modeling_vilbert import VilbertForPreTraining, VilbertOutput

CAPTIONS_A_CHUNK, IMAGES_A_CHUNK = 8, 32


@dataclass(frozen=True)
class EncodedImage:
    """An image as the models read it, without padding."""

    features: Tensor  # [R, feature size], region 0 is the whole image
    boxes: Tensor  # [R, 5]

    @classmethod
    def of(cls, regions: Regions, *, has_whole_image: bool) -> Self:
        """The regions of a store, or of a detector."""
        batch = pad_images([regions], has_whole_image=has_whole_image)
        return cls(batch["visual_features"][0], batch["visual_boxes"][0])


@dataclass(frozen=True)
class Side:
    """Captions, or images, of one length, as they come to the first co-attention."""

    states: Tensor  # [C or I, T or R, D]
    projections: Projections | None  # for the first co-attention, if there is one


@torch.inference_mode()
def score_pairs(
    model: nn.Module, captions: Sequence[Tensor], images: Sequence[EncodedImage], *, is_shown: bool = False
) -> Tensor:
    """Scores float32 [C, I] on the CPU: the score head's, or, of a pretraining model, how much likelier aligned is than
    not, in logits.

    Args:
        model: VilbertForImageTextRetrieval or VilbertForPreTraining, or the single-stream one.
        captions: input ids [T], with the special tokens.
        is_shown: a bar moves meanwhile.
    Raises: ValueError for a model that has task tokens, or is training.
    """
    if model.training:
        raise ValueError("the model is in training mode, expected model.eval()")
    if getattr(model.config, "num_task_tokens", 0):
        raise ValueError("the model has task tokens, which retrieval has no use for")
    rows = list(of_one_length([len(ids) for ids in captions], CAPTIONS_A_CHUNK))
    columns = list(of_one_length([len(image.features) for image in images], IMAGES_A_CHUNK))
    with enough_memory(
        f"{len(images)} images are kept on it; end what else runs there, or take runtime.dtype bfloat16"
    ):
        by_length = scores_of_chunks(
            model,
            [[captions[row] for row in part] for part in rows],
            [[images[column] for column in part] for part in columns],
            is_shown=is_shown,
        ).cpu()
    scores = torch.empty_like(by_length)
    scores[torch.tensor([*chain(*rows)])[:, None], torch.tensor([*chain(*columns)])] = by_length
    return scores


def scores_of_chunks(
    model: nn.Module,
    captions: Sequence[Sequence[Tensor]],
    images: Sequence[Sequence[EncodedImage]],
    *,
    is_shown: bool = False,
) -> Tensor:
    """Scores float32 [C, I] of chunks of one length each, on the model's device, which nothing waits for."""
    pairs = (TwoStreamPairs if isinstance(model.config, VilbertConfig) else SingleStreamPairs)(model.base_model)
    device = next(model.parameters()).device
    image_sides = [
        pairs.visual_side(
            stacked([image.features for image in part], device), stacked([image.boxes for image in part], device)
        )
        for part in images
    ]
    rows = []
    for part in bar(captions, desc="captions", unit="part", is_shown=is_shown, is_passing=True):
        text_side = pairs.text_side(stacked([*part], device))
        of_images = [head_scores(model, pairs.fused(text_side, visual_side)) for visual_side in image_sides]
        rows.append(torch.cat([scores.unflatten(0, (len(part), -1)) for scores in of_images], dim=1))
    return torch.cat(rows)


def stacked(tensors: list[Tensor], device: torch.device) -> Tensor:
    """As one tensor on the device, for whose copy the process does not wait; a CPU's autocast knows no float16."""
    with torch.autocast("cpu", enabled=False):
        stack = torch.stack(tensors)
    return (stack.pin_memory() if device.type == "cuda" else stack).to(device, non_blocking=True)


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
    """A linear layer in float32, whatever the model's type and under autocast: half precision changes the ranking."""
    with torch.autocast(states.device.type, enabled=False):
        return F.linear(states.float(), linear.weight.float(), linear.bias.float())


def paired(text: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
    """[C, ...] and [I, ...] -> [P, ...] both, all images of the first caption first."""
    return text.repeat_interleave(len(visual), dim=0), visual.repeat(len(text), *[1] * (visual.ndim - 1))


def first_of_last(layers: Sequence[Any], states: Tensor) -> Tensor:
    """What self-attention layers give at position 0: [P, Q, D] -> [P, 1, D]."""
    return layers[-1].at_first(run_layers(layers[:-1], states)) if len(layers) else states[:, :1]


class TwoStreamPairs:
    """The two streams, cut where they first meet."""

    def __init__(self, trunk: Any):
        self.trunk = trunk
        self.alone, *self.together = trunk.stages()

    def text_side(self, input_ids: Tensor) -> Side:
        """Captions [C, T]."""
        embedded = self.trunk.text_embeddings(input_ids, torch.zeros_like(input_ids), None)
        states = run_layers(self.alone.text_layers, embedded)
        return Side(states, self.together[0].co_layer.of_text(states) if self.together else None)

    def visual_side(self, features: Tensor, boxes: Tensor) -> Side:
        """Images [I, R, feature size] and [I, R, 5]."""
        states = run_layers(self.alone.visual_layers, self.trunk.visual_embeddings(features, boxes))
        return Side(states, self.together[0].co_layer.of_visual(states) if self.together else None)

    def fused(self, text_side: Side, visual_side: Side) -> Tensor:
        """What the heads read of all pairs of two sides: float32 [P, D]."""
        text, visual = self._first_meeting(text_side, visual_side)
        for done, stage in pairwise(self.together):
            text, visual = run_layers(done.text_layers, text), run_layers(done.visual_layers, visual)
            text, visual = stage.co_layer(text, visual)
        if self.together:
            last = self.together[-1]
            text, visual = first_of_last(last.text_layers, text), first_of_last(last.visual_layers, visual)
        pooled_text = F.relu(in_float32(self.trunk.text_pooler, text[:, 0]))
        pooled_visual = F.relu(in_float32(self.trunk.visual_pooler, visual[:, 0]))
        return self.trunk.fuse(VilbertOutput(pooled_text=pooled_text, pooled_visual=pooled_visual))

    def _first_meeting(self, text_side: Side, visual_side: Side) -> tuple[Tensor, Tensor]:
        """All pairs behind the first co-attention, or, without one, as they come."""
        text, visual = paired(text_side.states, visual_side.states)
        if text_side.projections is None or visual_side.projections is None:
            return text, visual
        both = zip(text_side.projections, visual_side.projections, strict=True)
        of_text, of_visual = map(Projections._make, zip(*(paired(*one) for one in both), strict=True))
        return self.together[0].co_layer(text, visual, of_text=of_text, of_visual=of_visual)


class SingleStreamPairs:
    """The single stream: only the embeddings are made before a caption meets an image."""

    def __init__(self, trunk: Any):
        self.trunk = trunk

    def text_side(self, input_ids: Tensor) -> Side:
        """Captions [C, T]."""
        return Side(self.trunk.text_embeddings(input_ids, torch.zeros_like(input_ids), None), None)

    def visual_side(self, features: Tensor, boxes: Tensor) -> Side:
        """Images [I, R, feature size] and [I, R, 5]."""
        return Side(self.trunk.visual_embeddings(features, boxes), None)

    def fused(self, text_side: Side, visual_side: Side) -> Tensor:
        """What the heads read of all pairs of two sides: float32 [P, D]."""
        states = torch.cat(paired(text_side.states, visual_side.states), dim=1)
        return torch.tanh(in_float32(self.trunk.pooler, first_of_last(self.trunk.layers, states)[:, 0]))
