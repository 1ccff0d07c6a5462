"""Pairs of captions and regions as pretraining batches: masked, mismatched, padded.

Dimension key:
    B: pairs   T: tokens   R: regions (the first is the whole image)   N: masked regions   D: feature size
    C: classes (background first)   K: candidates, the right one first
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from extract.regions.store import Regions, RegionStore
from vilbert.batches.candidates import NUM_CANDIDATES, Candidates, draw_candidates
from vilbert.batches.masking import (
    IGNORED,
    MaskedText,
    RegionMask,
    example_generator,
    in_float32,
    mask_regions,
    mask_tokens,
)
from vilbert.batches.padding import ANY_WIDTH, Tokens, few_widths, nothing_hidden, pad_images, pad_texts
from vilbert.batches.sampling import Draw
from vilbert.batches.tokens import TokenTable
from vilbert.model.inputs import Batch
from vilbert.pretraining.mismatches import OtherCaptions
from vilbert.pretraining.stages import Stage, make_stages
from vilbert.settings import ObjectiveSettings

NEIGHBOURS = 2_000  # pairs before and behind one on the disk, whose images are near at hand
NUM_OTHER_IMAGES = 4  # that an image's negatives are of
MAX_DRAWS = 50


@dataclass(frozen=True)
class PretrainingExample:
    """One pair, and what is hidden of it."""

    text: MaskedText
    regions: Regions
    mask: RegionMask
    is_aligned: bool
    candidates: Candidates | None = None  # for a contrastive target


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
        has_few_widths: bool = False,
    ):
        """Args:
            has_few_widths: for compiled layers.
        Raises: ValueError if a pair has no features, or all pairs have the same image.
        """
        self.tokens, self.store, self.objective, self.seed = tokens, store, objective, seed
        self.visual_target = visual_target
        self.mask_token_id, self.pad_token_id = tokenizer.mask_token_id, tokenizer.pad_token_id
        self.vocab_size = len(tokenizer)
        max_tokens, max_regions = map(int, tokens.sizes().max(axis=0))
        self.widths = few_widths(max_tokens=max_tokens, max_regions=max_regions) if has_few_widths else ANY_WIDTH
        self.others = OtherCaptions(tokens)
        self.stages = make_stages(objective, tokenizer)
        demand_features(tokens, store)
        if len(tokens.images()) < 2 and objective.mismatch_probability > 0:
            raise ValueError("all pairs have the same image, so no caption can be mismatched")

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitems__(self, draws: Sequence[Draw]) -> Batch:
        return self.collate([self.example(draw) for draw in draws])

    def example(self, draw: Draw, *, stage: Stage | None = None) -> PretrainingExample:
        """One pair in one epoch, with another caption in `mismatch_probability` of the cases.

        Args:
            stage: what is asked; None: what this epoch asks.
        """
        generator, objective = example_generator(self.seed, draw.epoch, draw.example), self.objective
        stage = self.stage(draw.epoch) if stage is None else stage
        other = None
        if generator.random() < stage.mismatch_probability:
            other = self._mismatched(draw.example, generator, stage)
        text = mask_tokens(
            self.tokens[draw.example] if other is None else other,
            generator,
            probabilities=stage.mask_probabilities,
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
        candidates = None
        if self.visual_target == "contrastive":
            others = list(islice(self._others(draw.example, generator), NUM_OTHER_IMAGES))
            candidates = draw_candidates(regions, others, is_masked=mask.is_masked, generator=generator)
        return PretrainingExample(text, regions, mask, is_aligned=other is None, candidates=candidates)

    def stage(self, epoch: int) -> Stage:
        """What an epoch asks."""
        return [stage for stage in self.stages if stage.from_epoch <= epoch][-1]

    def _mismatched(self, example: int, generator: np.random.Generator, stage: Stage) -> np.ndarray | None:
        """Ids [T] of a caption that is not the image's; None where there is none, and the pair stays aligned."""
        is_changed = generator.random() < stage.changed_share
        changed = stage.contrasts.change(self.tokens[example], generator) if is_changed else None
        return self.others.draw(example, generator) if changed is None else changed

    def whole_pair(self, example: int) -> PretrainingExample:
        """A pair as it is: nothing masked, nothing asked."""
        ids = self.tokens[example].astype(np.int64)
        text = MaskedText(input_ids=ids, labels=np.full_like(ids, IGNORED))
        regions = self.store[self.tokens.image_keys[example].as_py()]
        return PretrainingExample(text, regions, nothing_hidden(regions), is_aligned=True, candidates=of_none(regions))

    def expected_items(self) -> dict[str, float]:
        """Over how many items of an example each loss is taken on average before the late stage, by the names of the
        losses."""
        objective, counts = self.objective, self.tokens.counts(self.vocab_size)
        share = 1 - objective.mismatch_probability if objective.masked_losses_on == "aligned" else 1
        return {
            "masked_token": share * float(counts @ self.stages[0].mask_probabilities) / len(self),
            "masked_region": share * objective.region_mask_probability * float(self.tokens.sizes()[:, 1].mean()),
            "alignment": 1,
        }

    def collate(self, examples: Sequence[PretrainingExample]) -> Batch:
        """Examples padded to the longest, or to the width that holds it.

        Returns: what VilbertForPreTraining.forward takes, with `visual_features` [B, R, D] as they are stored, float16,
            and `region_targets` [N, D] or [N, K, D] likewise, or [N, C], float32, each of which sums to 1.
        """
        texts = [Tokens(example.text.input_ids, np.zeros_like(example.text.input_ids)) for example in examples]
        regions, masks = [example.regions for example in examples], [example.mask for example in examples]
        batch = pad_texts(texts, pad_token_id=self.pad_token_id, widths=self.widths)
        batch |= pad_images(regions, masks, widths=self.widths)
        labels = np.full(tuple(batch["input_ids"].shape), IGNORED, np.int64)
        is_asked = np.zeros(tuple(batch["visual_attention_mask"].shape), bool)
        targets = []
        for row, example in enumerate(examples):
            if example.is_aligned or self.objective.masked_losses_on == "all":
                labels[row, : len(example.text.labels)] = example.text.labels
                is_asked[row, 1 : 1 + len(example.regions)] = example.mask.is_masked
                targets.append(self._targets(example))
        none = self._targets(examples[0])[:0]
        return batch | {
            "labels": torch.from_numpy(labels),
            "label_positions": torch.from_numpy(np.flatnonzero(labels != IGNORED)),
            "region_target_mask": torch.from_numpy(is_asked),
            "region_target_positions": torch.from_numpy(np.flatnonzero(is_asked)),
            "region_targets": torch.from_numpy(np.concatenate([none, *targets])),
            "alignment_labels": torch.tensor([int(example.is_aligned) for example in examples]),
        }

    def _targets(self, example: PretrainingExample) -> np.ndarray:
        """What is asked of the masked regions of an example. Distributions are made whole: stores round them."""
        is_masked = example.mask.is_masked
        if self.visual_target == "classes":
            probs = in_float32(example.regions.class_probs[is_masked])
            return probs / probs.sum(axis=1, keepdims=True)
        if self.visual_target == "features":
            return example.regions.features[is_masked]
        assert example.candidates is not None
        return example.candidates.features()

    def _others(self, example: int, generator: np.random.Generator) -> Iterator[Regions]:
        """Other images, of pairs that lie near on the disk, as those that are read at about the same time do."""
        own_image = self.tokens.image_keys[example]
        for _ in range(MAX_DRAWS):
            other = (example + int(generator.integers(-NEIGHBOURS, NEIGHBOURS + 1))) % len(self)
            if (image := self.tokens.image_keys[other]) != own_image:
                yield self.store[image.as_py()]


def unmasked(example: PretrainingExample) -> PretrainingExample:
    """The same pair, aligned or not, with nothing masked and nothing asked."""
    text, regions = example.text, example.regions
    ids = np.where(text.labels == IGNORED, text.input_ids, text.labels)
    return replace(
        example,
        text=MaskedText(input_ids=ids, labels=np.full_like(ids, IGNORED)),
        mask=nothing_hidden(regions),
        candidates=of_none(regions),
    )


def of_none(regions: Regions) -> Candidates:
    """The candidates of no masked region."""
    return Candidates([regions], np.zeros((0, NUM_CANDIDATES), np.int64))


def spread(length: int, count: int) -> list[int]:
    """`count` indices below `length`, evenly spread; all of them if there are fewer."""
    return np.linspace(0, length - 1, min(count, length)).astype(int).tolist()


def demand_features(tokens: TokenTable, store: RegionStore) -> None:
    """Raises: ValueError if captions speak of images that no store holds."""
    images = tokens.images()
    known = set(store)  # a third of the time that looking each up takes, 2.4 s for 2.9 million
    missing = [image for image in images if image not in known]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(images)} images of the captions are in no feature store, the first is "
            f"'{missing[0]}'; make both anew with `snakemake --forcerun tokenize_captions extract_regions`"
        )
