import numpy as np
import pytest
import torch
from pretraining_world import CLASSES, FEATURE_SIZE, make_dataset

from extract.regions.store import RegionStore
from vilbert.batches.candidates import NUM_CANDIDATES
from vilbert.batches.masking import IGNORED
from vilbert.batches.sampling import Draw
from vilbert.batches.tokens import TokenTable
from vilbert.pretraining.data import demand_features, spread
from vilbert.pretraining.evaluation import count_items

DRAWS = [Draw(epoch=0, example=example) for example in range(93)]


def test_the_same_draws_give_the_same_batch_in_any_company(world):
    dataset = make_dataset(world)
    alone, in_company = dataset.__getitems__(DRAWS[7:9]), make_dataset(world).__getitems__(DRAWS[5:9])
    length = alone["input_ids"].shape[1]
    assert torch.equal(alone["input_ids"], in_company["input_ids"][2:, :length])
    assert torch.equal(alone["alignment_labels"], in_company["alignment_labels"][2:])
    regions = alone["visual_features"].shape[1]
    assert torch.equal(alone["visual_features"], in_company["visual_features"][2:, :regions])


def test_a_batch_says_where_it_is_masked(world):
    batch = make_dataset(world).__getitems__(DRAWS[:23])
    assert torch.equal(batch["label_positions"], (batch["labels"].flatten() != IGNORED).nonzero().flatten())
    assert torch.equal(batch["region_target_positions"], batch["region_target_mask"].flatten().nonzero().flatten())
    assert len(batch["region_target_positions"]) == len(batch["region_targets"]) > 0


def test_another_epoch_is_masked_otherwise(world):
    dataset = make_dataset(world, mismatch_probability=0)
    first, second = (dataset.__getitems__([Draw(epoch, 11), Draw(epoch, 12)])["labels"] for epoch in (0, 1))
    assert not torch.equal(first, second)


def test_half_of_the_pairs_have_the_caption_of_another_image_never_the_same_text(world):
    dataset = make_dataset(world, token_mask_probability=0)
    draws = [Draw(epoch, example) for epoch in range(5) for example in range(93)]
    examples = [dataset.example(draw) for draw in draws]
    assert np.mean([example.is_aligned for example in examples]) == pytest.approx(0.5, abs=0.06)
    for draw, example in zip(draws, examples, strict=True):
        is_own_text = np.array_equal(example.text.input_ids, dataset.tokens[draw.example])
        assert is_own_text == example.is_aligned


def test_mismatched_pairs_are_masked_alike_or_the_mask_gives_the_answer_away(world):
    """Alignment is learnt in no time, and for nothing, where only aligned pairs have [MASK] in them."""
    dataset = make_dataset(world)
    examples = [dataset.example(Draw(epoch, example)) for epoch in range(9) for example in range(93)]
    shares = {
        aligned: [
            np.mean([one.text.labels[1:-1].max() != IGNORED for one in examples if one.is_aligned == aligned]),
            np.mean(np.concatenate([one.mask.is_hidden for one in examples if one.is_aligned == aligned])),
        ]
        for aligned in (True, False)
    }
    np.testing.assert_allclose(shares[True], shares[False], atol=0.05)


def test_the_length_of_the_caption_tells_nothing(world):
    dataset = make_dataset(world)
    examples = [dataset.example(Draw(epoch, example)) for epoch in range(9) for example in range(93)]
    lengths = {
        aligned: np.mean([len(one.text.input_ids) for one in examples if one.is_aligned == aligned])
        for aligned in (True, False)
    }
    assert lengths[True] == pytest.approx(lengths[False], abs=0.7)


def test_masked_losses_are_taken_of_aligned_pairs_alone(world):
    batch = make_dataset(world).__getitems__(DRAWS)
    is_mismatched = batch["alignment_labels"] == 0
    assert is_mismatched.any()
    assert (batch["labels"][is_mismatched] == IGNORED).all()
    assert not batch["region_target_mask"][is_mismatched].any()
    assert (batch["labels"][~is_mismatched] != IGNORED).any()


def test_a_setting_takes_masked_losses_of_all_pairs_as_in_the_paper(world):
    batch = make_dataset(world, masked_losses_on="all").__getitems__(DRAWS)
    is_mismatched = batch["alignment_labels"] == 0
    assert (batch["labels"][is_mismatched] != IGNORED).any()
    assert batch["region_target_mask"][is_mismatched].any()


@pytest.mark.parametrize("target", ["classes", "features", "contrastive"])
def test_targets_are_those_of_the_masked_regions_in_reading_order(world, target):
    dataset = make_dataset(world, visual_target=target)
    batch = dataset.__getitems__(DRAWS[:29])
    expected = []
    for draw in DRAWS[:29]:
        example = dataset.example(draw)
        if example.is_aligned:
            expected += list(expected_targets(example.regions, target)[example.mask.is_masked])
    targets = batch["region_targets"].numpy()
    if target == "contrastive":
        assert targets.shape[1:] == (NUM_CANDIDATES, FEATURE_SIZE)
        targets = targets[:, 0]
    assert targets.shape == (
        int(batch["region_target_mask"].sum()),
        len(CLASSES) if target == "classes" else FEATURE_SIZE,
    )
    np.testing.assert_allclose(targets, np.stack(expected), rtol=1e-6)


def expected_targets(regions, target):
    if target != "classes":
        return regions.features
    probs = regions.class_probs.astype(np.float64)
    return probs / probs.sum(axis=1, keepdims=True)


def test_negatives_are_the_same_in_any_company_and_of_other_images_too(world):
    dataset = make_dataset(world, visual_target="contrastive", region_mask_probability=1, masked_losses_on="all")
    alone, in_company = (dataset.__getitems__(DRAWS[start:9])["region_targets"] for start in (8, 5))
    assert torch.equal(alone, in_company[-len(alone) :])
    example = dataset.example(DRAWS[8])
    own, *others = example.candidates.images
    assert own.features.tolist() == example.regions.features.tolist()
    assert len(others) == 4
    assert all(not np.array_equal(other.features, own.features) for other in others)


def test_a_whole_pair_has_no_candidates(world):
    dataset = make_dataset(world, visual_target="contrastive")
    assert dataset.collate([dataset.whole_pair(3)])["region_targets"].shape == (0, NUM_CANDIDATES, FEATURE_SIZE)


def test_distributions_that_the_store_rounded_are_float32_and_sum_to_1(world):
    targets = make_dataset(world).__getitems__(DRAWS)["region_targets"]
    assert targets.dtype == torch.float32
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(len(targets)), atol=3e-7, rtol=0)


@pytest.mark.parametrize("masked_losses_on", ["aligned", "all"])
@pytest.mark.parametrize("of_contrasts", [None, 0.5])
def test_as_many_items_are_expected_as_there_are_over_many_epochs(world, masked_losses_on, of_contrasts):
    objective = {"masked_losses_on": masked_losses_on, "contrast_mask_probability": of_contrasts}
    dataset = make_dataset(world, token_mask_probability=0.2, **objective)
    batches = [dataset.__getitems__([Draw(epoch, example) for example in range(93)]) for epoch in range(120)]
    for name, expected in dataset.expected_items().items():
        assert expected == pytest.approx(np.mean([float(count_items(batch)[name]) / 93 for batch in batches]), rel=0.03)


def test_of_what_is_never_masked_no_items_are_expected(world):
    dataset = make_dataset(world, token_mask_probability=0, region_mask_probability=0)
    assert dataset.expected_items() == {"masked_token": 0, "masked_region": 0, "alignment": 1}


def test_examples_are_spread_over_the_whole_split():
    assert spread(101, 5) == [0, 25, 50, 75, 100]
    assert spread(3, 5) == [0, 1, 2]


def test_a_hidden_region_is_zero_and_the_whole_image_does_not_show_it(world):
    dataset = make_dataset(world)
    example = next(
        one for one in map(dataset.example, DRAWS) if one.mask.is_hidden.any() and not one.mask.is_hidden.all()
    )
    rows = dataset.collate([example])["visual_features"][0].numpy()
    assert not rows[1:][example.mask.is_hidden].any()
    left = ~(example.mask.is_hidden | example.mask.is_masked)
    np.testing.assert_allclose(rows[0], example.regions.features[left].astype(np.float32).mean(axis=0), rtol=1e-3)


def test_padding_is_masked_out(world):
    batch = make_dataset(world).__getitems__(DRAWS[:17])
    assert (batch["input_ids"][batch["attention_mask"] == 0] == 0).all()
    assert not batch["visual_features"][batch["visual_attention_mask"] == 0].any()
    assert (batch["visual_attention_mask"][:, 0] == 1).all()
    assert batch["attention_mask"].sum(dim=1).max() == batch["input_ids"].shape[1]


def test_no_mask_at_all_leaves_targets_of_no_row(world):
    batch = make_dataset(world, region_mask_probability=0, token_mask_probability=0).__getitems__(DRAWS[:5])
    assert batch["region_targets"].shape == (0, len(CLASSES))
    assert (batch["labels"] == IGNORED).all()


def test_captions_of_images_without_features_are_an_error(world):
    tokens = TokenTable(world.tokens, split="train")
    with pytest.raises(
        ValueError, match=r"31 of 31 images of the captions are in no feature store, .* 'train-00000000'"
    ):
        demand_features(tokens, RegionStore(world.stores[1:]))
