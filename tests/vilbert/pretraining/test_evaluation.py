import numpy as np
import pytest
import torch
from pretraining_world import CLASSES, COLOURS, make_dataset, model_settings
from transformers import AutoTokenizer

from vilbert.batches.masking import IGNORED
from vilbert.batches.sampling import Draw
from vilbert.pretraining.building import build_pretraining_model
from vilbert.pretraining.evaluation import (
    PretrainingEvaluator,
    alignment_scores,
    count_flops,
    count_items,
    one_pair_an_image,
)

INPUTS = ("input_ids", "token_type_ids", "attention_mask", "visual_features", "visual_boxes", "visual_attention_mask")


@pytest.fixture
def model(world):
    torch.manual_seed(2)
    tokenizer = AutoTokenizer.from_pretrained(world.tokenizer)
    return build_pretraining_model(model_settings(), tokenizer, num_classes=len(CLASSES)).eval()


def test_losses_are_means_over_all_pairs_whatever_the_batches(world, model, monkeypatch):
    dataset = make_dataset(world, split="val")
    evaluator = PretrainingEvaluator(dataset, num_pairs=13, num_retrieval_images=3)
    with torch.no_grad():
        at_once = evaluator.losses_and_accuracies(model)
        monkeypatch.setattr("vilbert.pretraining.evaluation.BATCH_SIZE", 5)
        in_parts = evaluator.losses_and_accuracies(model)
        output = model(**dataset.collate(evaluator.pairs))
    assert in_parts == pytest.approx(at_once, rel=1e-5)
    for name, loss in output.losses.items():
        assert at_once[f"loss/{name}"] == pytest.approx(float(loss), rel=1e-5)


def test_accuracies_by_hand(world, model):
    dataset = make_dataset(world, split="val")
    evaluator = PretrainingEvaluator(dataset, num_pairs=13, num_retrieval_images=3)
    batch = dataset.collate(evaluator.pairs)
    with torch.no_grad():
        everywhere = model(**{name: batch[name] for name in INPUTS})
        accuracies = evaluator.losses_and_accuracies(model)
    is_token = batch["labels"] != IGNORED
    tokens = (everywhere.token_logits.argmax(-1) == batch["labels"])[is_token].float().mean()
    best = everywhere.region_logits.argmax(-1)[batch["region_target_mask"]]
    regions = (best == batch["region_targets"].argmax(-1)).float().mean()
    assert accuracies["accuracy/masked_token"] == pytest.approx(float(tokens))
    assert accuracies["accuracy/masked_region"] == pytest.approx(float(regions))


@pytest.mark.parametrize("changed_share", [0, 0.5])
def test_alignment_is_judged_of_whole_pairs_with_and_without_changed_captions(world, model, changed_share):
    late = {"from_epoch": 1, "mismatch_probability": 0.4, "contrast_words": [COLOURS], "changed_share": changed_share}
    dataset = make_dataset(world, split="val", late=late)
    evaluator = PretrainingEvaluator(dataset, num_pairs=13, num_retrieval_images=3)
    with torch.no_grad():
        metrics = evaluator(model)
        for name, pairs in evaluator.alignment.items():
            batch = dataset.collate(pairs)
            assert not (batch["input_ids"] == dataset.mask_token_id).any()
            logits = model(**{name: batch[name] for name in INPUTS}).alignment_logits
            right = (logits.argmax(-1) == batch["alignment_labels"]).float().mean()
            assert metrics[f"accuracy/{name}"] == pytest.approx(float(right))
    assert ("accuracy/changed_alignment" in metrics) == (changed_share > 0)


def test_a_feature_target_has_no_accuracy(world):
    tokenizer = AutoTokenizer.from_pretrained(world.tokenizer)
    model = build_pretraining_model(model_settings(visual_target="features"), tokenizer, num_classes=7).eval()
    dataset = make_dataset(world, split="val", visual_target="features")
    with torch.no_grad():
        metrics = PretrainingEvaluator(dataset, num_pairs=13, num_retrieval_images=3)(model)
    assert "accuracy/masked_region" not in metrics
    assert "loss/masked_region" in metrics


def test_scores_are_those_of_each_caption_with_each_image(world, model):
    dataset = make_dataset(world, split="val")
    pairs = [dataset.whole_pair(index) for index in one_pair_an_image(dataset, 7)]
    batch = dataset.collate(pairs)
    with torch.no_grad():
        scores = alignment_scores(model, dataset, pairs)
        logits = model(**{name: batch[name] for name in INPUTS}).alignment_logits
    assert scores.shape == (7, 7)
    np.testing.assert_allclose(scores.diagonal(), (logits[:, 1] - logits[:, 0]).numpy(), atol=1e-5)


@pytest.mark.parametrize("weight", [0.0, float("nan")], ids=["all_equal", "no_numbers"])
def test_a_model_that_tells_no_pair_from_another_finds_nothing(world, model, weight):
    """Whatever fits as well as the own image stands before it: a recall of 1 would praise a broken model."""
    with torch.no_grad():
        model.alignment_head.weight.fill_(weight)
    evaluator = PretrainingEvaluator(make_dataset(world, split="val"), num_pairs=3, num_retrieval_images=11)
    recalls = evaluator.zero_shot_retrieval(model)
    assert recalls == {f"retrieval/recall_at_{limit}": 0 for limit in (1, 5, 10)}


def test_without_images_to_rank_retrieval_is_not_measured(world, model):
    evaluator = PretrainingEvaluator(make_dataset(world, split="val"), num_pairs=3, num_retrieval_images=0)
    with torch.no_grad():
        assert "retrieval/recall_at_1" not in evaluator(model)


def test_one_caption_stands_for_each_image(world):
    dataset = make_dataset(world, split="val")
    indices = one_pair_an_image(dataset, 7)
    keys = [dataset.tokens.image_keys[index].as_py() for index in indices]
    assert len(set(keys)) == len(keys) == 7
    assert len(one_pair_an_image(dataset, 100)) == 11


def test_items_and_flops_leave_padding_out(world, model):
    dataset = make_dataset(world)
    examples = [dataset.example(Draw(0, example)) for example in range(11)]
    together = dataset.collate(examples)
    alone = [dataset.collate([example]) for example in examples]
    assert count_items(together)["alignment"] == 11
    assert count_items(together)["masked_token"] == sum(count_items(one)["masked_token"] for one in alone)
    total = sum(count_flops(model.config, one) for one in alone)
    assert float(count_flops(model.config, together)) == pytest.approx(float(total))
