"""Captions as token ids, once for all epochs: python -m vilbert.batches.tokens PAIRS OUT_TABLE OUT_TOKENIZER."""

import hashlib
from collections import Counter
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import typer
from tqdm import tqdm
from transformers import AutoTokenizer, BertTokenizer, PreTrainedTokenizerBase

from extract.command import run
from extract.tables import read_table
from vilbert.settings import TextSettings

BATCH_SIZE = 10_000  # captions
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def main(
    pairs: Path,
    output: Path,
    tokenizer_output: Path,
    settings: Annotated[TextSettings, typer.Option(parser=TextSettings.model_validate_json)],
) -> None:
    """Write the ids of the captions in `pairs` to `output`, and the tokenizer to the folder `tokenizer_output`."""
    table = read_table(pairs, columns=["key", "image_key", "caption", "num_regions"])
    captions = table["caption"].to_pylist()
    if not captions:
        raise ValueError(f"{pairs} holds no pair; results/<run>/dropped.parquet says why")
    tokenizer: PreTrainedTokenizerBase = (
        train_tokenizer(captions, vocab_size=settings.vocab_size)
        if settings.tokenizer is None
        else AutoTokenizer.from_pretrained(settings.tokenizer)
    )
    tokenizer.save_pretrained(tokenizer_output)
    ids = tokenize(captions, tokenizer, max_tokens=settings.max_tokens)
    output.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.drop_columns("caption").append_column("input_ids", ids), output, compression="zstd")


def tokenize(captions: list[str], tokenizer: PreTrainedTokenizerBase, *, max_tokens: int) -> pa.ChunkedArray:
    """Lists of ids with [CLS] and [SEP], cut to `max_tokens`; uint16 where the vocabulary allows it."""
    kind = pa.list_(pa.uint16() if len(tokenizer) <= 1 << 16 else pa.uint32())
    chunks = []
    for start in tqdm(range(0, len(captions), BATCH_SIZE), desc="captions", unit_scale=BATCH_SIZE):
        encoded = tokenizer(captions[start : start + BATCH_SIZE], truncation=True, max_length=max_tokens)
        chunks.append(pa.array(encoded["input_ids"], type=kind))
    return pa.chunked_array(chunks, type=kind)


def train_tokenizer(captions: list[str], *, vocab_size: int) -> BertTokenizer:
    """A WordPiece tokenizer whose vocabulary is the most frequent words, and all characters for the rest."""
    counts = Counter(word for caption in captions for word in caption.lower().split())
    characters = sorted({character for word in counts for character in word})
    pieces = [*SPECIAL_TOKENS, *characters, *(f"##{character}" for character in characters)]
    if len(pieces) > vocab_size:
        raise ValueError(f"text.vocab_size is {vocab_size}, the captions' characters alone need {len(pieces)}")
    words = sorted(counts, key=lambda word: (-counts[word], word))
    vocabulary = list(dict.fromkeys([*pieces, *words]))[:vocab_size]
    return BertTokenizer(vocab={piece: index for index, piece in enumerate(vocabulary)}, do_lower_case=True)


class TokenTable:
    """The token ids of all pairs, in the memory of one copy, however many workers read it."""

    def __init__(self, path: Path, *, split: str, share: float = 1) -> None:
        """`share`: of the split's images, of which the pairs are; see `first_images`."""
        table = read_table(path)
        table = table.filter(pc.starts_with(table["key"], f"{split}-"))
        if not len(table):
            raise ValueError(f"{path} holds no pair of the split '{split}'; see dropped.parquet of the run")
        self.num_pairs_of_split = len(table)
        if share < 1:
            kept = pa.array(first_images(pc.unique(table["image_key"]).to_pylist(), share), table["image_key"].type)
            table = table.filter(pc.is_in(table["image_key"], kept))
        self.keys = table["key"].combine_chunks()
        self.image_keys = table["image_key"].combine_chunks()
        self._num_regions = table["num_regions"].to_numpy()
        lists = table["input_ids"].combine_chunks()
        self._offsets = lists.offsets.to_numpy()
        self._values = lists.values.to_numpy()

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        """Ids of one caption, [T], not to be written to."""
        return self._values[self._offsets[index] : self._offsets[index + 1]]

    def images(self) -> list[str]:
        """Keys of the images, each once."""
        return pc.unique(self.image_keys).to_pylist()

    def counts(self, vocab_size: int) -> np.ndarray:
        """How often each token stands in the captions, [V]."""
        return np.bincount(self._values[self._offsets[0] : self._offsets[-1]], minlength=vocab_size)

    def lengths(self) -> np.ndarray:
        """Tokens of each caption, [N]."""
        return np.diff(self._offsets)

    def sizes(self) -> np.ndarray:
        """Tokens of each caption and regions of its image: [N, 2]."""
        return np.stack([self.lengths(), self._num_regions], axis=1)


def first_images(keys: list[str], share: float) -> list[str]:
    """A share of the images, at least one: the first by a hash of their keys, so that a smaller share lies within a
    larger one."""
    in_order = sorted(keys, key=lambda key: hashlib.sha256(key.encode()).digest())
    return in_order[: max(1, round(share * len(keys)))]


if __name__ == "__main__":
    run(main)
