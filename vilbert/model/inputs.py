"""What every model demands of its inputs, checked before the first layer.

Dimension key:
    B: batch (text or image may have 1: it is then joined with all of the other)   T: text tokens   R: regions
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vilbert.model.configuration_vilbert import TextAndRegionsConfig

Batch = dict[str, Tensor]  # inputs and labels, by the names of a model's `forward`
BOX_TOLERANCE = 1e-3  # of the image; boxes kept in float16 or rounded to pixels go so far beyond it


@dataclass(frozen=True)
class Inputs:
    """Checked inputs, with the default of what was left out."""

    input_ids: Tensor  # [B, T] int64
    token_type_ids: Tensor  # [B, T] int64
    text_mask: Tensor  # [B, T] bool
    features: Tensor  # [B, R, feature size]
    boxes: Tensor  # [B, R, 5]
    visual_mask: Tensor  # [B, R] bool


def checked_inputs(
    config: TextAndRegionsConfig,
    *,
    input_ids: Tensor,
    token_type_ids: Tensor | None,
    attention_mask: Tensor | None,
    visual_features: Tensor,
    visual_boxes: Tensor,
    visual_attention_mask: Tensor | None,
    checks_values: bool = True,
) -> Inputs:
    """Raises: ValueError that names the input, its value and what was expected."""
    demand_tensors(input_ids=input_ids, visual_features=visual_features, visual_boxes=visual_boxes)
    demand_tensors(token_type_ids=token_type_ids, attention_mask=attention_mask)
    demand_tensors(visual_attention_mask=visual_attention_mask)
    if input_ids.is_floating_point():
        raise ValueError(f"input_ids are {input_ids.dtype}, expected whole numbers of tokens, torch.int64")
    if token_type_ids is None:
        token_type_ids = torch.zeros_like(input_ids)
    if attention_mask is None:
        attention_mask = torch.ones_like(input_ids)
    if visual_attention_mask is None:
        visual_attention_mask = visual_features.new_ones(visual_features.shape[:2], dtype=torch.bool)
    text, regions = tuple(input_ids.shape), tuple(visual_features.shape[:2])
    demand_shape("input_ids", input_ids, "[B, T]", text if len(text) == 2 else None)
    demand_shape("token_type_ids", token_type_ids, "that of input_ids", text)
    demand_shape("attention_mask", attention_mask, "that of input_ids", text)
    of_features = (*regions, config.visual_feature_size)
    demand_shape("visual_features", visual_features, "[B, R, visual_feature_size]", of_features)
    demand_shape("visual_boxes", visual_boxes, "[B, R, 5] as the features", (*regions, 5))
    demand_shape("visual_attention_mask", visual_attention_mask, "[B, R] as the features", regions)
    if text[0] != regions[0] and 1 not in (text[0], regions[0]):
        raise ValueError(f"there are {text[0]} texts and {regions[0]} images, expected as many, or one of either")
    if not 1 <= text[1] <= config.max_position_embeddings:
        raise ValueError(f"the text has {text[1]} tokens, expected 1 to {config.max_position_embeddings}")
    if 0 in (text[0], *regions):
        raise ValueError(f"there are {text[0]} texts and {regions[0]} images of {regions[1]} regions, expected some")
    inputs = Inputs(
        input_ids=input_ids,
        token_type_ids=token_type_ids,
        text_mask=attention_mask.bool(),
        features=visual_features,
        boxes=visual_boxes,
        visual_mask=visual_attention_mask.bool(),
    )
    if checks_values and not (input_ids.is_meta or torch.compiler.is_compiling()):
        demand_values(inputs, config)
    return inputs


def demand_tensors(**inputs: Any) -> None:
    """Raises: ValueError for a picture, an array or a list; what is left out, None, may be."""
    for name, given in inputs.items():
        if given is not None and not isinstance(given, Tensor):
            raise ValueError(f"{name} is of type {type(given).__name__}, expected a tensor; VilbertProcessor makes all")


def demand_shape(name: str, tensor: Tensor, meaning: str, expected: tuple[int, ...] | None) -> None:
    """Raises: ValueError if the tensor has another shape."""
    if tuple(tensor.shape) != expected:
        described = f"{meaning}, {list(expected)}" if expected else meaning
        raise ValueError(f"{name} has the shape {list(tensor.shape)}, expected {described}")


def demand_values(inputs: Inputs, config: TextAndRegionsConfig) -> None:
    """Raises: ValueError. All values are read in one go, as each reading makes a GPU wait."""
    found = [
        inputs.text_mask[:, 0].all(),
        inputs.visual_mask[:, 0].all(),
        inputs.boxes.min(),
        inputs.boxes.max(),
        inputs.input_ids.min(),
        inputs.input_ids.max(),
        inputs.token_type_ids.min(),
        inputs.token_type_ids.max(),
        inputs.features.isfinite().all(),
    ]
    has_cls, has_image, low, high, *ids, are_numbers = torch.stack([value.float() for value in found]).tolist()
    for name, first, mask, is_there in (
        ("attention_mask", "token 0", inputs.text_mask, has_cls),
        ("visual_attention_mask", "region 0", inputs.visual_mask, has_image),
    ):
        if not is_there:
            rows = (~mask[:, 0]).nonzero().flatten().tolist()
            raise ValueError(f"{name} hides {first} in row {rows[0]}, expected 1 there: each row needs a key")
    if not are_numbers:
        rows = (~inputs.features.isfinite()).flatten(1).any(dim=1).nonzero().flatten().tolist()
        raise ValueError(f"visual_features hold NaN or infinity in row {rows[0]}, expected numbers")
    if not (low >= -BOX_TOLERANCE and high <= 1 + BOX_TOLERANCE):
        raise ValueError(
            f"visual_boxes go from {low:g} to {high:g}, expected fractions of the image, 0 to 1; "
            "VilbertProcessor makes them of pixels"
        )
    for name, lowest, highest, num_rows in (
        ("input_ids", ids[0], ids[1], config.vocab_size),
        ("token_type_ids", ids[2], ids[3], config.type_vocab_size),
    ):
        if not (lowest >= 0 and highest < num_rows):
            raise ValueError(f"{name} go from {lowest:.0f} to {highest:.0f}, expected 0 to {num_rows - 1}")
