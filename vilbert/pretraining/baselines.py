"""What the alignment accuracy and the zero-shot retrieval of pretraining are read against.

Dimension key:
    N: pairs that rank each other
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from extract.cleaning.relatedness import relatedness
from vilbert.baselines.class_words import class_names, fits
from vilbert.baselines.rows import Baselines, Row
from vilbert.batches.masking import MaskedText
from vilbert.pretraining.data import PretrainingExample
from vilbert.pretraining.evaluation import PretrainingEvaluator
from vilbert.retrieval.ranks import best_ranks, chance_summary, recalls

RELATED = 0.2  # from which a caption is of an image, as the cleaning has it by default


def pretraining_rows(
    evaluator: PretrainingEvaluator, tokenizer: PreTrainedTokenizerBase, *, split: str, measured: dict[str, float]
) -> list[Row]:
    """Of the very pairs that the evaluator measures.

    Args:
        measured: by the evaluator's names.
    """
    classes = evaluator.dataset.store.classes
    rows = []
    for name, pairs in evaluator.alignment.items():
        found = alignment_baselines(pairs, tokenizer, classes=classes, measure=f"accuracy/{name}")
        rows += found.rows(split, measured)
    if evaluator.retrieval:
        rows += retrieval_baselines(evaluator.retrieval, tokenizer, classes=classes).rows(split, measured)
    return rows


def alignment_baselines(
    pairs: Sequence[PretrainingExample], tokenizer: PreTrainedTokenizerBase, *, classes: Sequence[str], measure: str
) -> Baselines:
    """Chance is always the commoner label. An image alone tells no more; nor does a caption of another image, while one
    that was changed may read oddly, which nobody has counted: it has no blind baseline.
    """
    are_aligned = np.array([pair.is_aligned for pair in pairs])
    chance = {measure: float(max(are_aligned.mean(), 1 - are_aligned.mean()))}
    captions = [caption_of(pair.text, tokenizer) for pair in pairs]
    rule = {}
    if classes:
        names = class_names(classes, captions)
        found = [
            relatedness(names.mentions(caption), pair.regions.class_probs)
            for caption, pair in zip(captions, pairs, strict=True)
        ]
        are_related = np.array([value is None or value >= RELATED for value in found])
        rule = {measure: float((are_related == are_aligned).mean())}
    return Baselines(
        chance=chance,
        blind=chance if measure == "accuracy/alignment" else {},
        no_text=chance,
        rule=rule,
        ceiling={measure: 1.0},
        num_examples=len(pairs),
        num_dropped=0,
    )


def retrieval_baselines(
    pairs: Sequence[PretrainingExample], tokenizer: PreTrainedTokenizerBase, *, classes: Sequence[str]
) -> Baselines:
    """Of N captions that rank N images. Captions alike rank alike: of their images one is first, one second."""
    captions = [caption_of(pair.text, tokenizer) for pair in pairs]
    chance = recalls_of(chance_summary(np.ones(len(pairs), int), len(pairs)))
    rule = {}
    if classes:
        names = class_names(classes, captions)
        scores = fits([names.mentions(caption) for caption in captions], [pair.regions.class_probs for pair in pairs])
        rule = recalls_of(recalls(best_ranks(scores, np.eye(len(pairs), dtype=bool))))
    return Baselines(
        chance=chance,
        blind=chance,
        no_text=chance,
        rule=rule,
        ceiling=recalls_of(recalls(best_possible_ranks(captions))),
        num_examples=len(pairs),
        num_dropped=0,
    )


def caption_of(text: MaskedText, tokenizer: PreTrainedTokenizerBase) -> str:
    """A caption without masks, in words that the tokenizer knows."""
    return str(tokenizer.decode(text.input_ids, skip_special_tokens=True))


def best_possible_ranks(captions: Sequence[str]) -> np.ndarray:
    """How often each caption has stood by now, [N]: so far down is its own image, whoever ranks."""
    counts: Counter[str] = Counter()
    ranks = []
    for caption in captions:
        counts[caption] += 1
        ranks.append(counts[caption])
    return np.array(ranks)


def recalls_of(summary: dict[str, float]) -> dict[str, float]:
    """By the evaluator's names."""
    return {f"retrieval/{name}": value for name, value in summary.items() if name.startswith("recall")}
