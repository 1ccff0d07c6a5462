"""Batches that a dual encoder learns from, and what it is told between its epochs.

Dimension key:
    B: examples of a step   Q: those that the teacher is asked of   K: candidates, the right one first
    M, N: texts and images of a step, the examples' own first
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from extract.regions.store import RegionStore
from vilbert.batches.masking import example_generator
from vilbert.batches.padding import pad_images, pad_texts
from vilbert.batches.sampling import Draw
from vilbert.model.inputs import Batch
from vilbert.model.processing_vilbert import VilbertProcessor
from vilbert.retrieval.ranks import best_ranks, recalls
from vilbert.search.captions import Captions
from vilbert.search.embed import embed_images, embed_texts
from vilbert.search.mining import Mined, mine, mined_path, read_mined, write_mined
from vilbert.search.teacher import Teacher
from vilbert.settings import SearchSettings
from vilbert.tasks.metrics import right_pairs
from vilbert.training.checkpoints import checkpoints_in, step_of
from vilbert.training.devices import is_first_process


class DistillationDataset(Dataset):
    """Captions with their images; for some of each batch, hard ones and what the teacher says of them.

    They stand evenly apart, so that they are the same for one process and for several that get as many of them each.
    Which hard ones depends on (seed, epoch, example) and on what was mined for the epoch alone.
    """

    def __init__(
        self,
        captions: Captions,
        store: RegionStore,
        processor: VilbertProcessor,
        teacher: Teacher,
        *,
        settings: SearchSettings,
        checkpoints: Path,
    ):
        """Args:
        checkpoints: folder that has what is mined for each epoch but the first.
        """
        self.captions, self.store, self.processor, self.teacher = captions, store, processor, teacher
        self.settings, self.checkpoints = settings, checkpoints
        self.stride = -(-settings.optimizer.batch_size // settings.num_distilled)
        self.mined: dict[int, Mined] = {}

    def __len__(self) -> int:
        return len(self.captions)

    def mined_for(self, epoch: int) -> Mined:
        """Raises: FileNotFoundError if the epoch before has not ended."""
        if epoch not in self.mined:
            self.mined = {epoch: read_mined(mined_path(self.checkpoints, epoch))}
        return self.mined[epoch]

    def __getitems__(self, draws: Sequence[Draw]) -> Batch:
        """What VilbertDualEncoder.forward takes."""
        captions = self.captions
        rows = [draw.example for draw in draws]
        columns = captions.image_of[rows].tolist()
        rows_needed, columns_needed = Places(rows), Places(columns)
        asked: list[Batch] = []
        for place in range(0, len(draws), self.stride):
            hard_columns, hard_rows = self.hard(draws[place])
            text, image = captions.tokens[rows[place]], captions.image_keys[columns[place]]
            images = [columns[place], *hard_columns]
            texts = [rows[place], *hard_rows]
            of_images = self.teacher.scores([text], [captions.image_keys[column] for column in images])
            of_texts = self.teacher.scores([captions.tokens[row] for row in texts], [image])
            asked.append(
                {
                    "image_candidates": torch.tensor([place, *map(columns_needed.of, hard_columns)]),
                    "image_scores": torch.from_numpy(of_images),
                    "text_candidates": torch.tensor([place, *map(rows_needed.of, hard_rows)]),
                    "text_scores": torch.from_numpy(of_texts),
                }
            )
        batch = pad_texts(
            [captions.tokens[row] for row in rows_needed.all], pad_token_id=self.processor.tokenizer.pad_token_id
        )
        batch |= pad_images(
            [self.store[captions.image_keys[column]] for column in columns_needed.all],
            has_whole_image=self.processor.has_whole_image,
        )
        batch["image_ids"] = torch.tensor(columns)
        return batch | {name: torch.stack([one[name] for one in asked]) for name in asked[0]}

    def hard(self, draw: Draw) -> tuple[list[int], list[int]]:
        """Images that are wrong for a caption, and captions that are wrong for its image, without order."""
        mined, image = self.mined_for(draw.epoch), self.captions.image_of[draw.example]
        generator = example_generator(self.settings.seed, draw.epoch, draw.example)

        def some(nearest: np.ndarray) -> list[int]:
            return generator.choice(nearest, min(self.settings.num_hard, len(nearest)), replace=False).tolist()

        return some(mined.images[draw.example]), some(mined.captions[image])


class Places:
    """Where something stands in a batch: what is there already stays, the rest comes behind it."""

    def __init__(self, first: Sequence[int]):
        self.all = list(first)
        self._place_of = {one: place for place, one in reversed(list(enumerate(first)))}

    def of(self, one: int) -> int:
        if one not in self._place_of:
            self._place_of[one] = len(self.all)
            self.all.append(one)
        return self._place_of[one]


def count_items(batch: Batch) -> Batch:
    """Over how many examples the losses of a batch are a mean."""
    device = batch["input_ids"].device
    return {
        "contrastive": torch.tensor(len(batch["image_ids"]), device=device),
        "distillation": torch.tensor(len(batch["image_scores"]), device=device),
    }


class BetweenEpochs:
    """Mines for the next epoch, and measures recall among the held-out images.

    Called as an evaluator at the end of every epoch, behind the checkpoint of its last step.
    """

    def __init__(self, dataset: DistillationDataset, held_out: Captions, *, steps_an_epoch: int):
        self.dataset, self.held_out, self.steps_an_epoch = dataset, held_out, steps_an_epoch

    def __call__(self, model: nn.Module) -> dict[str, float]:
        newest = checkpoints_in(self.dataset.checkpoints)[-1]  # of the step that was just taken
        epoch = step_of(newest) // self.steps_an_epoch
        mined = self.mine(model)
        if is_first_process():
            write_mined(mined_path(self.dataset.checkpoints, epoch), mined)
        self.dataset.mined = {epoch: mined}
        return self.recalls(model)

    def mine(self, model: nn.Module) -> Mined:
        """In every process the same."""
        texts, images = self._embedded(model, self.dataset.captions)
        return mine(texts, images, self.dataset.captions, num_mined=self.dataset.settings.num_mined)

    def recalls(self, model: nn.Module) -> dict[str, float]:
        """Share of the held-out captions whose image is among the best 1, 5 and 10 of the held-out images."""
        texts, images = self._embedded(model, self.held_out)
        is_right = right_pairs(self.held_out.image_of.tolist(), self.held_out.texts, num_images=len(images))
        return recalls(best_ranks(texts @ images.T, is_right))

    def _embedded(self, model: nn.Module, captions: Captions) -> tuple[np.ndarray, np.ndarray]:
        processor, store = self.dataset.processor, self.dataset.store
        texts = embed_texts(model, captions.tokens, processor)  # type: ignore[arg-type]
        images = embed_images(model, (store[key] for key in captions.image_keys), processor)  # type: ignore[arg-type]
        return texts, images
