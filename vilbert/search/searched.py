"""What is searched by what, when a search is measured.

Dimension key:
    Q: captions   I: images that they search
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from vilbert.batches.padding import Tokens
from vilbert.pretraining.data import spread
from vilbert.search.captions import read_captions
from vilbert.settings import SearchSettings


@dataclass(frozen=True)
class Searched:
    """Held-out captions, and images."""

    texts: list[str]  # [Q]
    tokens: list[Tokens]  # [Q]
    image_keys: list[str]  # [I], those of the held-out captions first
    num_held_out: int  # of these images; the others are of the training split
    is_right: np.ndarray  # bool [Q, I], all that the caption, or one equal to it, is of


def read_searched(
    pairs: Path,
    *,
    splits: tuple[str, str],
    settings: SearchSettings,
    tokenizer: PreTrainedTokenizerBase,
    max_tokens: int,
) -> Searched:
    """Args:
    splits: for training, for validation.
    """
    training, held_out = (
        read_captions(pairs, split=split, tokenizer=tokenizer, max_tokens=max_tokens) for split in splits
    )
    keys = [*held_out.image_keys, *training.image_keys][: settings.num_images]
    columns = {key: column for column, key in enumerate(keys)}
    images_of: dict[str, set[int]] = {}
    for captions in (held_out, training):
        for text, image in zip(captions.texts, captions.image_of.tolist(), strict=True):
            if (column := columns.get(captions.image_keys[image])) is not None:
                images_of.setdefault(text, set()).add(column)
    asking = np.flatnonzero(held_out.image_of < len(keys))
    rows = asking[spread(len(asking), settings.num_queries)].tolist()
    is_right = np.zeros((len(rows), len(keys)), bool)
    for number, row in enumerate(rows):
        is_right[number, sorted(images_of[held_out.texts[row]])] = True
    return Searched(
        texts=[held_out.texts[row] for row in rows],
        tokens=[held_out.tokens[row] for row in rows],
        image_keys=keys,
        num_held_out=min(len(held_out.image_keys), len(keys)),
        is_right=is_right,
    )
