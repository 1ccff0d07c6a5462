"""Pairs of captions and regions as pretraining batches: hidden, mismatched, padded.

B pairs, T tokens, R regions (region 0 is the whole image), D feature size, C classes (background first).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from extract.store import RegionStore
from vilbert.masking import IGNORED, example_generator, mask_regions, mask_tokens
from vilbert.processing_vilbert import encode_boxes
from vilbert.sampling import Draw
from vilbert.settings import ObjectiveSettings
from vilbert.tokens import TokenTable

NEIGHBOURS = 2_000  # captions of like length that a mismatched one is drawn from
MAX_DRAWS = 50


@dataclass(frozen=True)
class PretrainingExample:
    """One pair as the model sees it, and what it has to find."""

    input_ids: np.ndarray  # [T] int64
    token_labels: np.ndarray  # [T] int64
    features: np.ndarray  # [R, D] float32
    boxes: np.ndarray  # [R, 5] float32, as `encode_boxes` gives them
    region_targets: np.ndarray  # [R, C] float32, of the masked regions; 0 elsewhere
    is_target: np.ndarray  # [R] bool
    is_aligned: bool


class PretrainingBatch(TypedDict):
    """What VilbertForPreTraining.forward takes."""

    input_ids: Tensor  # [B, T]
    token_type_ids: Tensor  # [B, T]
    attention_mask: Tensor  # [B, T]
    visual_features: Tensor  # [B, R, D]
    visual_boxes: Tensor  # [B, R, 5]
    visual_attention_mask: Tensor  # [B, R]
    labels: Tensor  # [B, T]
    region_targets: Tensor  # [B, R, C]
    region_target_mask: Tensor  # [B, R]
    alignment_labels: Tensor  # [B], 1 = aligned


class PretrainingDataset(Dataset):
    """Examples by (epoch, example): the same draw gives the same example, in any process.

    Raises: ValueError if no pair has features, or the pairs have but one image.
    """

    def __init__(
        self,
        tokens: TokenTable,
        store: RegionStore,
        tokenizer: PreTrainedTokenizerBase,
        *,
        objective: ObjectiveSettings,
        seed: int,
    ) -> None:
        self.tokens, self.store, self.objective, self.seed = tokens, store, objective, seed
        self.special_ids = frozenset(tokenizer.all_special_ids)
        self.mask_token_id, self.pad_token_id = tokenizer.mask_token_id, tokenizer.pad_token_id
        self.vocab_size = len(tokenizer)
        self.by_length = np.argsort(tokens.lengths(), kind="stable")
        self.rank = np.empty_like(self.by_length)
        self.rank[self.by_length] = np.arange(len(tokens))
        if tokens.image_keys[0].as_py() not in store:
            raise ValueError(
                f"image '{tokens.image_keys[0]}' of the token table is in no feature store; make both anew: "
                "snakemake -R tokenize_captions pretrain"
            )
        if tokens.num_images() < 2 and objective.mismatch_probability > 0:
            raise ValueError("all pairs have the same image, so no caption can be mismatched")

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, draw: Draw) -> PretrainingExample:
        generator = example_generator(self.seed, draw.epoch, draw.example)
        objective = self.objective
        caption = draw.example
        if generator.random() < objective.mismatch_probability:
            caption = self._mismatched(draw.example, generator)
        text = mask_tokens(
            self.tokens[caption],
            generator,
            probability=objective.token_mask_probability,
            mask_token_id=self.mask_token_id,
            special_ids=self.special_ids,
            vocab_size=self.vocab_size,
        )
        regions = self.store[self.tokens.image_keys[draw.example].as_py()]
        hidden = mask_regions(
            regions.features,
            regions.boxes,
            generator,
            probability=objective.region_mask_probability,
            max_overlap=objective.mask_overlap_iou,
        )
        is_aligned = caption == draw.example
        counts = is_aligned or objective.masked_losses_on == "all"
        is_target = hidden.is_masked & counts
        targets = np.concatenate([np.zeros_like(regions.class_probs[:1]), regions.class_probs]).astype(np.float32)
        return PretrainingExample(
            input_ids=text.input_ids,
            token_labels=text.labels if counts else np.full_like(text.labels, IGNORED),
            features=hidden.features,
            boxes=encode_boxes(regions.boxes, regions.image_size),
            region_targets=np.where(is_target[:, None], targets, 0),
            is_target=is_target,
            is_aligned=is_aligned,
        )

    def _mismatched(self, example: int, generator: np.random.Generator) -> int:
        """Another image's caption with another text, about as long, so that its length tells nothing."""
        own_image, own_text = self.tokens.image_keys[example], self.tokens[example]
        for _ in range(MAX_DRAWS):
            neighbour = int(self.rank[example]) + int(generator.integers(-NEIGHBOURS, NEIGHBOURS + 1))
            other = int(self.by_length[neighbour % len(self.by_length)])
            if self.tokens.image_keys[other] != own_image and not np.array_equal(self.tokens[other], own_text):
                return other
        return example  # nothing but its own text around it: it stays aligned


def collate(pad_token_id: int) -> Callable[[list[PretrainingExample]], PretrainingBatch]:
    """A function that pads examples to the longest of them."""

    def pad_to_longest(examples: list[PretrainingExample]) -> PretrainingBatch:
        num_tokens = [len(example.input_ids) for example in examples]
        num_regions = [len(example.features) for example in examples]
        return PretrainingBatch(
            input_ids=pad([example.input_ids for example in examples], pad_token_id),
            token_type_ids=torch.zeros(len(examples), max(num_tokens), dtype=torch.long),
            attention_mask=pad([np.ones(length, np.int64) for length in num_tokens]),
            visual_features=pad([example.features for example in examples]),
            visual_boxes=pad([example.boxes for example in examples]),
            visual_attention_mask=pad([np.ones(length, np.int64) for length in num_regions]),
            labels=pad([example.token_labels for example in examples], IGNORED),
            region_targets=pad([example.region_targets for example in examples]),
            region_target_mask=pad([example.is_target for example in examples]),
            alignment_labels=torch.tensor([int(example.is_aligned) for example in examples]),
        )

    return pad_to_longest


def pad(arrays: list[np.ndarray], value: int = 0) -> Tensor:
    """Arrays [L, ...] of one kind, one above the other: [B, longest L, ...]."""
    longest = max(len(array) for array in arrays)
    padded = np.full((len(arrays), longest, *arrays[0].shape[1:]), value, dtype=arrays[0].dtype)
    for row, array in zip(padded, arrays, strict=True):
        row[: len(array)] = array
    return torch.from_numpy(padded)
