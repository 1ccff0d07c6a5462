import numpy as np
import pytest
from pretraining_world import CLASSES, COLOURS, make_dataset
from transformers import AutoTokenizer

from vilbert.batches.masking import IGNORED
from vilbert.batches.sampling import Draw
from vilbert.pretraining.evaluation import PretrainingEvaluator

LATE = {"from_epoch": 2, "mismatch_probability": 0.25, "contrast_words": [CLASSES[1:]], "changed_share": 1}
OBJECTIVE = {"contrast_words": [COLOURS, CLASSES[1:]], "contrast_mask_probability": 1, "token_mask_probability": 0}


@pytest.fixture
def dataset(world):
    return make_dataset(world, late=LATE, mismatch_probability=0.75, masked_losses_on="all", **OBJECTIVE)


def words_asked_for(dataset, world, epoch):
    tokenizer = AutoTokenizer.from_pretrained(world.tokenizer)
    labels = np.concatenate([dataset.example(Draw(epoch, number)).text.labels for number in range(93)])
    return set(tokenizer.convert_ids_to_tokens(labels[labels != IGNORED]))


def test_from_the_late_epoch_on_its_own_words_stand_out(dataset, world):
    for epoch, words in ((0, {*COLOURS, *CLASSES[1:]}), (1, {*COLOURS, *CLASSES[1:]}), (2, {*CLASSES[1:]})):
        asked = words_asked_for(dataset, world, epoch)
        assert asked <= words
        assert (asked & set(COLOURS) != set()) == (epoch < 2)


@pytest.mark.parametrize(("epoch", "share"), [(0, 0.75), (1, 0.75), (2, 0.25), (9, 0.25)])
def test_each_stage_has_its_share_of_mismatches(dataset, epoch, share):
    are_mismatched = [not dataset.example(Draw(epoch, number)).is_aligned for number in range(93)]
    assert np.mean(are_mismatched) == pytest.approx(share, abs=0.13)


def test_without_a_late_stage_all_epochs_ask_the_same(world):
    dataset = make_dataset(world)
    assert dataset.stage(0) is dataset.stage(1_000)


def test_half_of_the_evaluated_pairs_are_mismatched_whatever_training_asks(world):
    dataset = make_dataset(world, split="val", late=LATE, mismatch_probability=0.1, **OBJECTIVE)
    evaluator = PretrainingEvaluator(dataset, num_pairs=40, num_retrieval_images=0)
    for pairs in evaluator.alignment.values():
        assert np.mean([pair.is_aligned for pair in pairs]) == pytest.approx(0.5, abs=0.25)
