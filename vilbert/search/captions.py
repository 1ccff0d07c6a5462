"""The captions of a split as the teacher reads them, and which images each is right of.

Dimension key:
    C: captions   I: images   U: texts that differ
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from transformers import PreTrainedTokenizerBase

from extract.tables import read_table
from vilbert.batches.padding import Tokens


@dataclass(frozen=True)
class Captions:
    """Captions and the images that they are of."""

    texts: list[str]  # [C]
    tokens: list[Tokens]  # [C]
    image_keys: list[str]  # [I], each once
    image_of: np.ndarray  # int64 [C], in image_keys

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each, [C]."""
        return np.array([len(one.ids) for one in self.tokens])

    @cached_property
    def right_images(self) -> list[np.ndarray]:
        """Of each caption the images that it, or a caption equal to it, is of: [C] of int64."""
        numbers: dict[str, int] = {}
        text_of = [numbers.setdefault(text, len(numbers)) for text in self.texts]
        images: list[set[int]] = [set() for _ in numbers]
        for text, image in zip(text_of, self.image_of.tolist(), strict=True):
            images[text].add(image)
        return [np.array(sorted(images[text])) for text in text_of]

    @cached_property
    def right_captions(self) -> list[np.ndarray]:
        """The same of each image: [I] of int64."""
        captions: list[list[int]] = [[] for _ in self.image_keys]
        for caption, images in enumerate(self.right_images):
            for image in images.tolist():
                captions[image].append(caption)
        return [np.array(of_image) for of_image in captions]


def read_captions(path: Path, *, split: str, tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> Captions:
    """Those of one split of pairs.parquet.

    Raises: ValueError if there is none.
    """
    table = read_table(path, columns=["key", "image_key", "caption"])
    table = table.filter(pc.starts_with(table["key"], f"{split}-"))
    texts = table["caption"].to_pylist()
    if not texts:
        raise ValueError(f"{path} holds no pair of the split '{split}'; see dropped.parquet of the run")
    encoded = tokenizer(texts, truncation=True, max_length=max_tokens)["input_ids"]
    keys = table["image_key"].to_pylist()
    places = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    return Captions(
        texts=texts,
        tokens=[Tokens(np.asarray(ids), np.zeros(len(ids), np.int64)) for ids in encoded],
        image_keys=list(places),
        image_of=np.array([places[key] for key in keys]),
    )
