"""Every caption with every image, scored by the model that a search learns from: what the search is measured against.

python -m vilbert.search.every_pair PAIRS TEACHER STORE... OUTPUT
"""

import time
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
import typer

from extract.command import run
from extract.devices import best_device
from extract.regions.store import RegionStore
from vilbert.model.origin import demand_same_regions
from vilbert.retrieval.scoring import EncodedImage, score_pairs
from vilbert.search.arrays import read_arrays, write_arrays
from vilbert.search.distil import load_teacher
from vilbert.search.searched import read_searched
from vilbert.settings import SearchSettings


class EveryPair(NamedTuple):
    """Scores, and what they cost."""

    scores: np.ndarray  # float32 [Q, I]
    image_keys: np.ndarray  # [I]
    texts: np.ndarray  # [Q]
    cpu_seconds: np.ndarray  # one number


def main(
    pairs: Path,
    teacher: Path,
    stores: list[Path],
    output: Path,
    train_split: Annotated[str, typer.Option()],
    validation_split: Annotated[str, typer.Option()],
    settings: Annotated[SearchSettings, typer.Option(parser=SearchSettings.model_validate_json)],
) -> None:
    """Score every pair of what is searched by what."""
    store = RegionStore(stores)
    demand_same_regions(teacher, store)
    model, processor = load_teacher(teacher)
    model.to(best_device())
    searched = read_searched(
        pairs,
        splits=(train_split, validation_split),
        settings=settings,
        tokenizer=processor.tokenizer,
        max_tokens=model.config.max_position_embeddings,
    )
    start = time.process_time()
    images = [EncodedImage.of(store[key], has_whole_image=processor.has_whole_image) for key in searched.image_keys]
    scores = score_pairs(model, [torch.from_numpy(text.ids) for text in searched.tokens], images).numpy()
    seconds = time.process_time() - start
    whole = EveryPair(scores, np.array(searched.image_keys), np.array(searched.texts), np.array(seconds))
    write_arrays(output, whole._asdict())


def read_every_pair(path: Path) -> EveryPair:
    """Raises: FileNotFoundError; ValueError for a file that is damaged."""
    return EveryPair(**read_arrays(path))


if __name__ == "__main__":
    run(main)
