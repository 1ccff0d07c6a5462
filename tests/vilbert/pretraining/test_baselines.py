import numpy as np
import pytest
from pretraining_world import CLASSES, make_dataset, regions_of
from transformers import AutoTokenizer

from vilbert.baselines.rows import COLUMNS
from vilbert.batches.masking import IGNORED, MaskedText
from vilbert.batches.padding import nothing_hidden
from vilbert.pretraining.baselines import (
    alignment_baselines,
    best_possible_ranks,
    pretraining_rows,
    retrieval_baselines,
)
from vilbert.pretraining.data import PretrainingExample
from vilbert.pretraining.evaluation import PretrainingEvaluator

CIRCLE, SQUARE = 1, 2


@pytest.fixture
def tokenizer(world):
    return AutoTokenizer.from_pretrained(world.tokenizer)


@pytest.fixture
def pair(tokenizer):
    """Makes a caption with regions of some classes."""

    def make(caption: str, kinds: list[int], *, is_aligned: bool = True) -> PretrainingExample:
        ids = np.array(tokenizer(caption)["input_ids"])
        regions = regions_of(np.array(kinds), np.random.default_rng(3))
        text = MaskedText(input_ids=ids, labels=np.full_like(ids, IGNORED))
        return PretrainingExample(text, regions, nothing_hidden(regions), is_aligned=is_aligned)

    return make


def test_alignment_by_hand(pair, tokenizer):
    """The third circle is mismatched, but seen; the last caption names nothing and passes for aligned."""
    pairs = [
        pair("a circle", [CIRCLE, SQUARE]),
        pair("a circle", [SQUARE], is_aligned=False),
        pair("a circle", [CIRCLE], is_aligned=False),
        pair("a circle and a square", [CIRCLE, SQUARE]),
        pair("there", [CIRCLE]),
    ]
    found = alignment_baselines(pairs, tokenizer, classes=CLASSES, measure="accuracy/alignment")
    assert found.chance == found.blind == found.no_text == {"accuracy/alignment": 3 / 5}
    assert found.rule == {"accuracy/alignment": 4 / 5}
    assert found.ceiling == {"accuracy/alignment": 1}
    changed = alignment_baselines(pairs, tokenizer, classes=(), measure="accuracy/changed_alignment")
    assert changed.rule == changed.blind == {}


def test_retrieval_by_hand(pair, tokenizer):
    """Of two captions alike, one has its image second at best; a tie of the rule is no hit."""
    pairs = [pair("a circle", [CIRCLE]), pair("a square", [SQUARE]), pair("a circle", [CIRCLE])]
    found = retrieval_baselines(pairs, tokenizer, classes=CLASSES)
    assert found.chance["retrieval/recall_at_1"] == pytest.approx(1 / 3)
    assert found.rule["retrieval/recall_at_1"] == pytest.approx(1 / 3)
    assert found.ceiling["retrieval/recall_at_1"] == pytest.approx(2 / 3)
    assert found.rule["retrieval/recall_at_5"] == found.ceiling["retrieval/recall_at_5"] == 1
    assert retrieval_baselines(pairs, tokenizer, classes=()).rule == {}


def test_the_best_of_captions_alike_are_first_second_and_third():
    assert best_possible_ranks(["a", "b", "a", "a", "c"]).tolist() == [1, 1, 2, 3, 1]


@pytest.mark.parametrize("num_images", [5, 0])
def test_the_pairs_are_those_that_are_measured(world, tokenizer, num_images):
    evaluator = PretrainingEvaluator(make_dataset(world, split="val"), num_pairs=13, num_retrieval_images=num_images)
    alignment = [f"accuracy/{name}" for name in evaluator.alignment]
    names = [*alignment, *(f"retrieval/recall_at_{limit}" for limit in (1, 5, 10) if num_images)]
    rows = pretraining_rows(
        evaluator, tokenizer, split="val", measured=dict.fromkeys(names, 0.5) | {"loss/alignment": 1}
    )
    assert [row["measure"] for row in rows] == names
    assert [row["num_examples"] for row in rows] == [*[13] * len(alignment), *([5, 5, 5] if num_images else [])]
    for row in rows:
        assert list(row) == COLUMNS
        assert row["rule"] > row["chance"] or row["chance"] == 1 or "changed" in row["measure"]
