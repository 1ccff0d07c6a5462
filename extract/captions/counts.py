"""How often each caption and each word stands in a split: python -m extract.captions.counts."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
from tqdm import tqdm

from extract.captions.text import MAX_LENGTH, normalise_caption, repair_caption
from extract.command import run
from extract.tables import ROWS, read_rows, write_table

REPEATED_CAPTIONS = pa.schema([("caption", pa.string()), ("num_rows", pa.int64())])  # normalised, more than once
WORD_COUNTS = pa.schema([("word", pa.string()), ("num_captions", pa.int64())])  # the word '' is in every caption


def main(output_captions: Path, output_words: Path, rows: list[Path]):
    """Count the captions and the words of all row tables of a split."""
    captions, words = count_captions(rows)
    repeated = [{"caption": caption, "num_rows": count} for caption, count in sorted(captions.items()) if count > 1]
    write_table(output_captions, repeated, REPEATED_CAPTIONS)
    write_table(
        output_words, [{"word": word, "num_captions": count} for word, count in sorted(words.items())], WORD_COUNTS
    )


def count_captions(tables: list[Path]) -> tuple[Counter[str], Counter[str]]:
    """Rows by normalised caption, and captions by word, '' for all of them.

    Holds every distinct caption of the split: some 0.5 GB for the 3.3 M of Conceptual Captions.
    """
    captions: Counter[str] = Counter()
    words: Counter[str] = Counter()
    for table in tqdm(tables, desc="counting captions"):
        rows = read_rows(table, ROWS)
        texts = [row["caption"] for row in rows if row["caption"] and len(row["caption"]) <= MAX_LENGTH]
        captions.update(map(normalise_caption, map(repair_caption, texts)))
    for caption, count in captions.items():
        for word in {"", *caption.split()}:
            words[word] += count
    return captions, words


def read_repeats(path: Path) -> dict[str, int]:
    """Rows of the split by normalised caption, for those that stand more than once."""
    return {row["caption"]: row["num_rows"] for row in read_rows(path, REPEATED_CAPTIONS)}


def read_word_counts(path: Path) -> dict[str, int]:
    """Captions of the split by word, '' for all of them."""
    return {row["word"]: row["num_captions"] for row in read_rows(path, WORD_COUNTS)}


if __name__ == "__main__":
    run(main)
