"""How far pretraining has come: losses and accuracies on held-out pairs, and zero-shot retrieval among few images.

Dimension key:
    B: pairs   N: images, each with one caption
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from vilbert.batches.masking import IGNORED
from vilbert.batches.sampling import Draw
from vilbert.model.configuration_vilbert import TextAndRegionsConfig
from vilbert.model.flops import Work, training_flops
from vilbert.model.inputs import Batch
from vilbert.pretraining.data import PretrainingDataset, PretrainingExample, spread, unmasked
from vilbert.retrieval.ranks import best_ranks, recalls
from vilbert.retrieval.scoring import EncodedImage
from vilbert.training.shares import ask_in_shares, score_in_shares

BATCH_SIZE = 32  # pairs


def count_items(batch: Batch) -> Batch:
    """Over how many items of a batch each loss is a mean."""
    return {
        "masked_token": (batch["labels"] != IGNORED).sum(),
        "masked_region": batch["region_target_mask"].sum(),
        "alignment": torch.tensor(len(batch["alignment_labels"]), device=batch["labels"].device),
    }


def count_flops(config: TextAndRegionsConfig, batch: Batch) -> Tensor:
    """What a step of pretraining costs on a batch."""
    items = count_items(batch)
    work = Work(
        num_tokens=batch["attention_mask"].sum(dim=1),
        num_regions=batch["visual_attention_mask"].sum(dim=1),
        num_masked_tokens=items["masked_token"],
        num_masked_regions=items["masked_region"],
    )
    return training_flops(config, work)


class PretrainingEvaluator:
    """Metrics of a model on a fixed part of the validation pairs, masked and mismatched once for all; of several
    processes each does a share.

    Args:
        num_retrieval_images: that each caption ranks; 0: retrieval is not measured.
    """

    def __init__(self, dataset: PretrainingDataset, *, num_pairs: int, num_retrieval_images: int):
        self.dataset = dataset
        draws = [Draw(epoch=0, example=example) for example in spread(len(dataset), num_pairs)]
        stage = replace(dataset.stages[0], mismatch_probability=0.5)  # whatever the training asks
        self.pairs = [dataset.example(draw, stage=stage) for draw in draws]
        self.alignment = {"alignment": [unmasked(pair) for pair in self.pairs]}
        if any(stage.changed_share > 0 for stage in dataset.stages):
            stage = replace(stage, changed_share=1)
            changed = [unmasked(dataset.example(draw, stage=stage)) for draw in draws]
            self.alignment["changed_alignment"] = changed
        self.retrieval = [dataset.whole_pair(index) for index in one_pair_an_image(dataset, num_retrieval_images)]

    def __call__(self, model: nn.Module) -> dict[str, float]:
        metrics = self.losses_and_accuracies(model)
        for name, pairs in self.alignment.items():
            metrics[f"accuracy/{name}"] = self.alignment_accuracy(model, pairs)
        return metrics | self.zero_shot_retrieval(model) if self.retrieval else metrics

    def losses_and_accuracies(self, model: nn.Module) -> dict[str, float]:
        """Mean losses; share of the masked tokens and of the masked regions (the detector's best class; not where a
        feature is asked for) that are right."""
        starts = range(0, len(self.pairs), BATCH_SIZE)
        parts = ask_in_shares(starts, lambda batch: [self._sums(model, start) for start in batch], batch_size=1)
        sums = {name: sum(part[name] for part in parts.values()) for name in parts[0]}
        means = {}
        for name, total in sums.items():
            kind, _, objective = name.partition("/")
            if kind != "items":
                means[name] = total / max(sums[f"items/{objective}"], 1)
        return means

    def alignment_accuracy(self, model: nn.Module, pairs: Sequence[PretrainingExample]) -> float:
        """Share of whole pairs, as a user has them, of which it is rightly said whether they are aligned."""

        def are_right(share: list[int]) -> list[bool]:
            batch = self._batch([pairs[number] for number in share], model)
            return (model(**batch).alignment_logits.argmax(-1) == batch["alignment_labels"]).tolist()

        return float(np.mean(list(ask_in_shares(range(len(pairs)), are_right, batch_size=BATCH_SIZE).values())))

    def zero_shot_retrieval(self, model: nn.Module) -> dict[str, float]:
        """Share of the captions whose own image is among the best 1, 5 and 10 of N, by the alignment head."""
        scores = alignment_scores(model, self.dataset, self.retrieval)
        found = recalls(best_ranks(scores, np.eye(len(scores), dtype=bool)))
        return {f"retrieval/{name}": value for name, value in found.items()}

    def _sums(self, model: nn.Module, start: int) -> dict[str, float]:
        """Of a batch of pairs: losses, what is right, and the `items/` that they are of."""
        batch = self._batch(self.pairs[start : start + BATCH_SIZE], model)
        output, counts = model(**batch), count_items(batch)
        right = {"masked_token": output.token_logits.argmax(-1) == batch["labels"][batch["labels"] != IGNORED]}
        if self.dataset.visual_target == "classes":
            right["masked_region"] = output.region_logits.argmax(-1) == batch["region_targets"].argmax(-1)
        sums = {f"loss/{name}": output.losses[name] * count for name, count in counts.items()}
        sums |= {f"accuracy/{name}": correct.sum() for name, correct in right.items()}
        sums |= {f"items/{name}": count for name, count in counts.items()}
        return dict(zip(sums, torch.stack([value.float() for value in sums.values()]).tolist(), strict=True))

    def _batch(self, examples: Sequence[PretrainingExample], model: nn.Module) -> Batch:
        device = next(model.parameters()).device
        return {name: value.to(device) for name, value in self.dataset.collate(examples).items()}


def alignment_scores(model: nn.Module, dataset: PretrainingDataset, pairs: Sequence[PretrainingExample]) -> np.ndarray:
    """How well the caption of each of N pairs fits each of their images: float32 [N captions, N images]."""
    alone = [dataset.collate([pair]) for pair in pairs]
    captions = [batch["input_ids"][0] for batch in alone]
    images = [EncodedImage(batch["visual_features"][0], batch["visual_boxes"][0]) for batch in alone]
    return score_in_shares(model, captions, images).numpy()


def one_pair_an_image(dataset: PretrainingDataset, num_images: int) -> list[int]:
    """The first caption of each of the first images."""
    first: dict[str, int] = {}
    for index, image in enumerate(dataset.tokens.image_keys.to_pylist()):
        first.setdefault(image, index)
    return list(first.values())[:num_images]
