import math

import pytest
import torch

from vilbert.model.losses import alignment_loss, masked_region_loss, masked_token_loss


@pytest.mark.parametrize("target", ["classes", "features", "contrastive"])
def test_no_masked_region_costs_nothing(target):
    """vilbert_beta divides by max(count, 0) here and returns NaN."""
    logits = torch.empty(0, 5, requires_grad=True)
    targets = torch.empty(0, 3, 5) if target == "contrastive" else torch.empty(0, 5)
    loss = masked_region_loss(logits, targets, target=target)
    loss.backward()
    assert loss == 0


def test_no_masked_token_costs_nothing():
    assert masked_token_loss(torch.empty(0, 7), torch.empty(0, dtype=torch.long)) == 0


def test_token_loss_is_the_mean_surprise():
    logits = torch.tensor([[0.0, math.log(3.0)], [0.0, 0.0]])
    assert masked_token_loss(logits, torch.tensor([1, 0])).item() == pytest.approx((math.log(4 / 3) + math.log(2)) / 2)


def test_region_loss_is_the_mean_divergence_and_zero_where_the_prediction_is_right():
    targets = torch.tensor([[0.5, 0.5], [1.0, 0.0]])
    assert masked_region_loss(targets.clamp(min=1e-9).log(), targets, target="classes").item() == pytest.approx(
        0, abs=1e-6
    )
    flat = torch.zeros(2, 2)
    assert masked_region_loss(flat, targets, target="classes").item() == pytest.approx(math.log(2) / 2)


def test_feature_loss_is_the_mean_square():
    loss = masked_region_loss(torch.zeros(2, 3), torch.full((2, 3), 2.0), target="features")
    assert loss.item() == pytest.approx(4)


def test_contrastive_loss_asks_for_the_own_feature():
    candidates = torch.eye(5).repeat(2, 1, 1)[:, :3] * 20  # the first of three is asked for
    assert masked_region_loss(candidates[:, 0], candidates, target="contrastive").item() == pytest.approx(0, abs=1e-6)
    assert masked_region_loss(candidates[:, 2], candidates, target="contrastive").item() == pytest.approx(400)
    assert masked_region_loss(torch.zeros(2, 5), candidates, target="contrastive").item() == pytest.approx(math.log(3))


@pytest.mark.parametrize("target", ["classes", "features", "contrastive"])
def test_targets_may_be_half_as_precise_as_stores_hold_them(target):
    shape = (3, 5, 7) if target == "contrastive" else (3, 7)
    logits, targets = torch.randn(3, 7), torch.rand(shape).softmax(-1).half()
    given = masked_region_loss(logits, targets, target=target)
    torch.testing.assert_close(given, masked_region_loss(logits, targets.float(), target=target))


@pytest.mark.parametrize("is_autocast", [False, True])
def test_losses_of_logits_in_bfloat16_are_those_of_the_same_numbers_in_float32(is_autocast):
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(13, 1601, generator=generator).bfloat16()
    targets = (torch.randn(13, 1601, generator=generator) * 3).softmax(-1).half()
    labels = torch.arange(13) % 2

    def losses(logits):
        return {
            "classes": masked_region_loss(logits, targets, target="classes"),
            "features": masked_region_loss(logits, targets, target="features"),
            "contrastive": masked_region_loss(logits, targets.view(13, 1, -1).repeat(1, 3, 1), target="contrastive"),
            "tokens": masked_token_loss(logits, labels),
            "alignment": alignment_loss(logits[:, :2], labels),
        }

    expected = losses(logits.float())
    with torch.autocast("cpu", torch.bfloat16, enabled=is_autocast):
        found = losses(logits)
    assert all(loss.dtype == torch.float32 for loss in found.values())
    assert found == expected


def test_float64_stays_float64():
    logits = torch.zeros(3, 2, dtype=torch.float64)
    assert alignment_loss(logits, torch.tensor([0, 1, 1])).dtype == torch.float64


def test_index_1_means_aligned():
    logits = torch.tensor([[-9.0, 9.0]])
    assert alignment_loss(logits, torch.tensor([1])) < 1e-6 < alignment_loss(logits, torch.tensor([0]))
