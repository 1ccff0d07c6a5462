"""Pairs of captions and regions as pretraining batches: masked, mismatched, padded.

Dimension key:
    B: pairs   T: tokens   R: regions (the first is the whole image)   N: masked regions   D: feature size
    C: classes (background first)   K: candidates, the right one first
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from extract.regions.store import Regions, RegionStore
from vilbert.batches.candidates import NUM_CANDIDATES, Candidates, draw_candidates
from vilbert.batches.masking import IGNORED, MaskedText, RegionMask, example_generator, mask_regions, mask_tokens
from vilbert.batches.padding import Tokens, nothing_hidden, pad_images, pad_texts
from vilbert.batches.sampling import Draw
from vilbert.batches.tokens import TokenTable
from vilbert.model.inputs import Batch
from vilbert.settings import ObjectiveSettings

NEIGHBOURS = 2_000  # captions of like length, shorter and longer, that a mismatched one is drawn from
NUM_OTHER_IMAGES = 4  # that an image's negatives are of
MAX_DRAWS = 50
NUM_COUNTED = 1_000  # examples whose regions tell how many there are on average


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
    ):
        """Raises: ValueError if a pair has no features, or all pairs have the same image."""
        self.tokens, self.store, self.objective, self.seed = tokens, store, objective, seed
        self.visual_target = visual_target
        self.special_ids = frozenset(tokenizer.all_special_ids)
        self.mask_token_id, self.pad_token_id = tokenizer.mask_token_id, tokenizer.pad_token_id
        self.vocab_size = len(tokenizer)
        self.by_length = np.argsort(tokens.lengths(), kind="stable")
        self.rank = np.empty_like(self.by_length)
        self.rank[self.by_length] = np.arange(len(tokens))
        demand_features(tokens, store)
        if len(tokens.images()) < 2 and objective.mismatch_probability > 0:
            raise ValueError("all pairs have the same image, so no caption can be mismatched")

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitems__(self, draws: Sequence[Draw]) -> Batch:
        return self.collate([self.example(draw) for draw in draws])

    def example(self, draw: Draw) -> PretrainingExample:
        """One pair in one epoch, with another caption in `mismatch_probability` of the cases."""
        generator, objective = example_generator(self.seed, draw.epoch, draw.example), self.objective
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
        return PretrainingExample(text, regions, mask, is_aligned=caption == draw.example, candidates=candidates)

    def whole_pair(self, example: int) -> PretrainingExample:
        """A pair as it is: nothing masked, nothing asked."""
        ids = self.tokens[example].astype(np.int64)
        regions = self.store[self.tokens.image_keys[example].as_py()]
        text = MaskedText(input_ids=ids, labels=np.full_like(ids, IGNORED))
        nothing = Candidates([regions], np.zeros((0, NUM_CANDIDATES), np.int64))
        return PretrainingExample(text, regions, nothing_hidden(regions), is_aligned=True, candidates=nothing)

    def expected_items(self) -> dict[str, float]:
        """Over how many items of an example each loss is taken on average, by the names of the losses.

        Tokens are counted in all captions, regions in the images of 1,000 examples that are evenly spread over the
        data set: of images with 10 to 36 regions, their mean is that of all but for 1 %.
        """
        objective = self.objective
        share = 1 - objective.mismatch_probability if objective.masked_losses_on == "aligned" else 1
        counts = self.tokens.counts(self.vocab_size)
        counts[list(self.special_ids)] = 0
        images = [self.tokens.image_keys[example].as_py() for example in spread(len(self), NUM_COUNTED)]
        num_regions = float(np.mean([len(self.store[image]) for image in images]))
        return {
            "masked_token": share * objective.token_mask_probability * float(counts.sum()) / len(self),
            "masked_region": share * objective.region_mask_probability * num_regions,
            "alignment": 1,
        }

    def collate(self, examples: Sequence[PretrainingExample]) -> Batch:
        """Examples padded to the longest.

        Returns: what VilbertForPreTraining.forward takes, with `visual_features` [B, R, D] as they are stored, float16,
            and `region_targets` [N, D] or [N, K, D] likewise, or [N, C], float32, each of which sums to 1.
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
            probs = example.regions.class_probs[is_masked].astype(np.float32)
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

    def _mismatched(self, example: int, generator: np.random.Generator) -> int:
        """Another image's caption with another text, about as long, so that its length tells nothing."""
        own_image, own_text = self.tokens.image_keys[example], self.tokens[example]
        for _ in range(MAX_DRAWS):
            neighbour = int(self.rank[example]) + int(generator.integers(-NEIGHBOURS, NEIGHBOURS + 1))
            other = int(self.by_length[neighbour % len(self.by_length)])
            if self.tokens.image_keys[other] != own_image and not np.array_equal(self.tokens[other], own_text):
                return other
        return example  # nothing but its own text around it: it stays aligned


def spread(length: int, count: int) -> list[int]:
    """`count` indices below `length`, evenly spread; all of them if there are fewer."""
    return np.linspace(0, length - 1, min(count, length)).astype(int).tolist()


def demand_features(tokens: TokenTable, store: RegionStore) -> None:
    """Raises: ValueError if captions speak of images that no store holds."""
    images = tokens.images()
    missing = [image for image in images if image not in store]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(images)} images of the captions are in no feature store, the first is "
            f"'{missing[0]}'; make both anew: snakemake -R tokenize_captions extract_regions"
        )
