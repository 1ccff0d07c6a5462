"""How far pretraining has come: losses and accuracies on held-out pairs, and zero-shot retrieval among few images."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from vilbert.masking import IGNORED
from vilbert.pretraining_data import PretrainingBatch, PretrainingDataset, PretrainingExample, collate
from vilbert.processing_vilbert import encode_boxes
from vilbert.sampling import Draw

BATCH_SIZE = 64  # pairs


def count_items(batch: PretrainingBatch) -> dict[str, Tensor]:
    """Over how many items of a batch each loss is a mean."""
    return {
        "masked_token": (batch["labels"] != IGNORED).sum(),
        "masked_region": batch["region_target_mask"].sum(),
        "alignment": torch.tensor(len(batch["alignment_labels"]), device=batch["labels"].device),
    }


class PretrainingEvaluator:
    """Metrics of a model on a fixed part of the validation pairs, masked and mismatched once for all."""

    def __init__(self, dataset: PretrainingDataset, *, num_pairs: int, num_retrieval_images: int, pad_token_id: int):
        examples = spread(len(dataset), num_pairs)
        self.pairs = [dataset[Draw(epoch=0, example=example)] for example in examples]
        self.retrieval = first_captions(dataset, num_images=num_retrieval_images)
        self.collate = collate(pad_token_id)

    def __call__(self, model: nn.Module) -> dict[str, float]:
        return self.losses_and_accuracies(model) | self.zero_shot_retrieval(model)

    def losses_and_accuracies(self, model: nn.Module) -> dict[str, float]:
        """Mean losses; share of the masked tokens, of the masked regions (best class), of the pairs that are right."""
        sums: dict[str, float] = {}
        right: dict[str, float] = {}
        totals: dict[str, float] = {}
        for batch in self._batches(self.pairs, model):
            output = model(**batch)
            unlabelled = model(**{name: batch[name] for name in INPUTS})
            is_token, is_region = batch["labels"] != IGNORED, batch["region_target_mask"].bool()
            hits = {
                "masked_token": unlabelled.token_logits.argmax(-1)[is_token] == batch["labels"][is_token],
                "masked_region": unlabelled.region_logits.argmax(-1)[is_region]
                == batch["region_targets"].argmax(-1)[is_region],
                "alignment": unlabelled.alignment_logits.argmax(-1) == batch["alignment_labels"],
            }
            for name, count in count_items(batch).items():
                sums[name] = sums.get(name, 0) + float(output.losses[name] * count)
                right[name] = right.get(name, 0) + float(hits[name].sum())
                totals[name] = totals.get(name, 0) + float(count)
        losses = {f"loss/{name}": sums[name] / max(1, totals[name]) for name in sums}
        return losses | {f"accuracy/{name}": right[name] / max(1, totals[name]) for name in right}

    def zero_shot_retrieval(self, model: nn.Module) -> dict[str, float]:
        """Recall of the right image at 1, 5 and 10, among as many images as captions, by the alignment head."""
        size = len(self.retrieval)
        scores = np.empty((size, size), dtype=np.float32)
        for row, query in enumerate(self.retrieval):
            pairs = [with_caption(candidate, query) for candidate in self.retrieval]
            logits = [
                model(**{name: batch[name] for name in INPUTS}).alignment_logits.float()
                for batch in self._batches(pairs, model)
            ]
            scores[row] = torch.cat(logits).diff(dim=-1)[:, 0].cpu().numpy()
        ranks = (scores > scores.diagonal()[:, None]).sum(axis=1)
        return {f"retrieval/recall_at_{limit}": float((ranks < limit).mean()) for limit in (1, 5, 10)}

    def _batches(self, examples: Sequence[PretrainingExample], model: nn.Module):
        device = next(model.parameters()).device
        for batch in DataLoader(examples, batch_size=BATCH_SIZE, collate_fn=self.collate):  # type: ignore[arg-type]
            yield {name: value.to(device) for name, value in batch.items()}


INPUTS = ("input_ids", "token_type_ids", "attention_mask", "visual_features", "visual_boxes", "visual_attention_mask")


def spread(length: int, count: int) -> list[int]:
    """`count` indices below `length`, evenly spread; all of them if there are fewer."""
    return np.linspace(0, length - 1, min(count, length)).astype(int).tolist()


def first_captions(dataset: PretrainingDataset, *, num_images: int) -> list[PretrainingExample]:
    """The first caption of each of the first images, nothing hidden."""
    examples: list[PretrainingExample] = []
    seen: set[str] = set()
    for index, key in enumerate(dataset.tokens.image_keys.to_pylist()):
        if len(examples) == num_images:
            break
        if key not in seen:
            seen.add(key)
            examples.append(whole_example(dataset, index))
    return examples


def whole_example(dataset: PretrainingDataset, index: int) -> PretrainingExample:
    """A pair as it is: nothing hidden, nothing asked."""
    ids = dataset.tokens[index].astype(np.int64)
    regions = dataset.store[dataset.tokens.image_keys[index].as_py()]
    features = regions.features.astype(np.float32)
    num_rows = len(features) + 1
    return PretrainingExample(
        input_ids=ids,
        token_labels=np.full_like(ids, IGNORED),
        features=np.concatenate([features.mean(axis=0, keepdims=True), features]),
        boxes=encode_boxes(regions.boxes, regions.image_size),
        region_targets=np.zeros((num_rows, regions.class_probs.shape[1]), np.float32),
        is_target=np.zeros(num_rows, bool),
        is_aligned=True,
    )


def with_caption(image: PretrainingExample, text: PretrainingExample) -> PretrainingExample:
    """The image of one pair with the caption of another."""
    return PretrainingExample(
        input_ids=text.input_ids,
        token_labels=text.token_labels,
        features=image.features,
        boxes=image.boxes,
        region_targets=image.region_targets,
        is_target=image.is_target,
        is_aligned=image is text,
    )
