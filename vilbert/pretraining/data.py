"""Pairs of captions and regions as pretraining batches: masked, mismatched, padded.

Dimension key:
    B: pairs   T: tokens   R: regions (the first is the whole image)   N: masked regions   D: feature size
    C: classes (background first)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from extract.regions.store import Regions, RegionStore
from vilbert.batches.masking import (
    IGNORED,
    MaskedText,
    RegionMask,
    example_generator,
    mask_probabilities,
    mask_regions,
    mask_tokens,
)
from vilbert.batches.padding import Tokens, nothing_hidden, pad_images, pad_texts
from vilbert.batches.sampling import Draw
from vilbert.batches.tokens import TokenTable
from vilbert.model.inputs import Batch
from vilbert.pretraining.mismatches import ContrastWords, OtherCaptions
from vilbert.settings import ObjectiveSettings


@dataclass(frozen=True)
class PretrainingExample:
    """One pair, and what is hidden of it."""

    text: MaskedText
    regions: Regions
    mask: RegionMask
    is_aligned: bool


class PretrainingDataset(Dataset):
    """Batches by their draws: the same draws give the same batch in any process.

    What is masked depends on (seed, epoch, example) alone, and on nothing that tells an aligned pair from another.
    """

    def __init__(
        self,
        tokens: TokenTable,
        store: RegionStore,
        tokenizer: PreTrainedTokenizerBase,
        *,
        objective: ObjectiveSettings,
        visual_target: Literal["classes", "features", "contrastive"],
        seed: int,
    ):
        """Raises: ValueError if a pair has no features, or all pairs have the same image."""
        self.tokens, self.store, self.objective, self.seed = tokens, store, objective, seed
        self.visual_target = visual_target
        self.mask_token_id, self.pad_token_id = tokenizer.mask_token_id, tokenizer.pad_token_id
        self.vocab_size = len(tokenizer)
        self.mask_probabilities = mask_probabilities(
            tokens.counts(self.vocab_size),
            mean=objective.token_mask_probability,
            rarity=objective.token_mask_rarity,
            special_ids=tokenizer.all_special_ids,
        )
        self.others, self.contrasts = OtherCaptions(tokens), ContrastWords(objective.contrast_words, tokenizer)
        demand_features(tokens, store)
        if len(tokens.images()) < 2 and objective.mismatch_probability > 0:
            raise ValueError("all pairs have the same image, so no caption can be mismatched")

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitems__(self, draws: Sequence[Draw]) -> Batch:
        return self.collate([self.example(draw) for draw in draws])

    def example(self, draw: Draw, *, changed_share: float | None = None) -> PretrainingExample:
        """One pair in one epoch, with another caption in `mismatch_probability` of the cases.

        Args:
            changed_share: of the other captions, those that are its own with a word changed; None: the objective's in
                this epoch.
        """
        generator, objective = example_generator(self.seed, draw.epoch, draw.example), self.objective
        other = None
        if generator.random() < objective.mismatch_probability:
            changed_share = self.changed_share(draw.epoch) if changed_share is None else changed_share
            other = self._mismatched(draw.example, generator, is_changed=generator.random() < changed_share)
        text = mask_tokens(
            self.tokens[draw.example] if other is None else other,
            generator,
            probabilities=self.mask_probabilities,
            mask_token_id=self.mask_token_id,
            vocab_size=self.vocab_size,
        )
        regions = self.store[self.tokens.image_keys[draw.example].as_py()]
        mask = mask_regions(
            regions.boxes,
            generator,
            probability=objective.region_mask_probability,
            max_overlap=objective.mask_overlap_iou,
        )
        return PretrainingExample(text, regions, mask, is_aligned=other is None)

    def changed_share(self, epoch: int) -> float:
        """Of the mismatched captions of an epoch, those that are the right one with a word changed."""
        return self.objective.changed_share if epoch >= self.objective.changed_from_epoch else 0

    def _mismatched(self, example: int, generator: np.random.Generator, *, is_changed: bool) -> np.ndarray | None:
        """Ids [T] of a caption that is not the image's; None where there is none, and the pair stays aligned."""
        changed = self.contrasts.change(self.tokens[example], generator) if is_changed else None
        return self.others.draw(example, generator) if changed is None else changed

    def whole_pair(self, example: int) -> PretrainingExample:
        """A pair as it is: nothing masked, nothing asked."""
        ids = self.tokens[example].astype(np.int64)
        regions = self.store[self.tokens.image_keys[example].as_py()]
        text = MaskedText(input_ids=ids, labels=np.full_like(ids, IGNORED))
        return PretrainingExample(text, regions, nothing_hidden(regions), is_aligned=True)

    def collate(self, examples: Sequence[PretrainingExample]) -> Batch:
        """Examples padded to the longest.

        Returns: what VilbertForPreTraining.forward takes, with `visual_features` [B, R, D] and `region_targets` [N, C],
            or [N, D] where features are asked for, as they are stored, float16.
        """
        texts = [Tokens(example.text.input_ids, np.zeros_like(example.text.input_ids)) for example in examples]
        images = pad_images([example.regions for example in examples], [example.mask for example in examples])
        batch = pad_texts(texts, pad_token_id=self.pad_token_id) | images
        labels = np.full(tuple(batch["input_ids"].shape), IGNORED, np.int64)
        is_asked = np.zeros(tuple(batch["visual_attention_mask"].shape), bool)
        targets = []
        for row, example in enumerate(examples):
            if example.is_aligned or self.objective.masked_losses_on == "all":
                labels[row, : len(example.text.labels)] = example.text.labels
                is_asked[row, 1 : 1 + len(example.regions)] = example.mask.is_masked
                targets.append(self._targets(example.regions)[example.mask.is_masked])
        width = self._targets(examples[0].regions).shape[1]
        return batch | {
            "labels": torch.from_numpy(labels),
            "label_positions": torch.from_numpy(np.flatnonzero(labels != IGNORED)),
            "region_target_mask": torch.from_numpy(is_asked),
            "region_target_positions": torch.from_numpy(np.flatnonzero(is_asked)),
            "region_targets": torch.from_numpy(np.concatenate([np.zeros((0, width), np.float16), *targets])),
            "alignment_labels": torch.tensor([int(example.is_aligned) for example in examples]),
        }

    def _targets(self, regions: Regions) -> np.ndarray:
        return regions.class_probs if self.visual_target == "classes" else regions.features


def demand_features(tokens: TokenTable, store: RegionStore) -> None:
    """Raises: ValueError if captions speak of images that no store holds."""
    images = tokens.images()
    missing = [image for image in images if image not in store]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(images)} images of the captions are in no feature store, the first is "
            f"'{missing[0]}'; make both anew: snakemake -R tokenize_captions extract_regions"
        )
