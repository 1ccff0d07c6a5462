from copy import deepcopy

import pytest
import torch
from accelerate import Accelerator
from pretraining_world import CLASSES, make_dataset, model_settings, pretraining_settings, runtime_settings
from torch import nn
from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedModel

from vilbert.batches.sampling import Draw
from vilbert.model.modeling_tasks import VilbertTaskOutput
from vilbert.model.modeling_vilbert import VilbertPreTrainingOutput
from vilbert.pretraining.building import build_pretraining_model
from vilbert.pretraining.evaluation import count_items
from vilbert.settings import OptimizerSettings
from vilbert.training.feed import Step
from vilbert.training.folder import TrainingFolder
from vilbert.training.learning_curves import OBJECTIVES
from vilbert.training.loop import (
    is_multiple,
    learning_rate_at,
    loss_scales,
    losses_of,
    make_optimizer,
    take_step,
    train,
    what_to_lower,
)

SETTINGS = OptimizerSettings(
    batch_size=2,
    num_epochs=1,
    learning_rate=0.5,
    warmup_share=0.4,
    weight_decay=0.3,
    beta2=0.98,
    max_gradient_norm=1,
)


def test_a_model_with_one_loss_has_it_by_the_name_loss():
    loss, named = torch.tensor(3.0), {"alignment": torch.tensor(5.0)}
    assert losses_of(VilbertTaskOutput(loss=loss)) == {"loss": loss}
    assert losses_of(VilbertPreTrainingOutput(loss=loss, losses=named)) == named


class MeanOfItems(nn.Module):
    """Its loss falls by 1 an item for each unit of the weight."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.0))

    def forward(self, items):
        return VilbertTaskOutput(loss=(self.weight * items).mean())


@pytest.mark.parametrize("num_items", [[2], [11], [3, 8]], ids=str)
def test_an_item_weighs_the_same_in_a_step_of_few_and_of_many(num_items):
    """Steps hold captions of like length: a mean over each step's own items prefers the words of short captions."""
    model = MeanOfItems()
    batches = [{"items": torch.ones(count)} for count in num_items]
    step = Step(1, batches, batches, [{"loss": torch.tensor(count)} for count in num_items])
    scales = loss_scales({"loss": 3.0}, {"loss": 1.75}, batch_size=4)
    optimizer = torch.optim.SGD(model.parameters())
    losses, norm = take_step(
        Accelerator(cpu=True), model, optimizer, step, scales=scales, learning_rate=0.5, max_gradient_norm=1e9
    )
    assert losses == {"loss": 0}
    an_item = 3 / (4 * 1.75)
    assert float(norm) == pytest.approx(sum(num_items) * an_item)
    assert float(model.weight.detach()) == pytest.approx(-0.5 * sum(num_items) * an_item)


class TooLarge(PreTrainedModel):
    """A model whose every pass needs more memory than a GPU has."""

    config_class = PreTrainedConfig

    def __init__(self):
        super().__init__(PreTrainedConfig())
        self.weight = nn.Parameter(torch.tensor(0.0))

    def forward(self, **batch):
        raise torch.OutOfMemoryError("CUDA out of memory.")


def train_too_large(world, folder, *, dataset=None, micro_batch_size=12):
    whole = make_dataset(world)
    train(
        TooLarge(),
        whole if dataset is None else dataset,
        lengths=whole.tokens.sizes(),
        optimizer=pretraining_settings().optimizer,
        runtime=runtime_settings(micro_batch_size=micro_batch_size, trackers=[]),
        seed=3,
        folder=TrainingFolder(folder / "checkpoints", {}, earlier=folder / "earlier"),
        loss_weights=dict.fromkeys(OBJECTIVES, 1.0),
        count_items=count_items,
        expected_items=whole.expected_items(),
        count_flops=None,
        evaluator=lambda model: {},
        evaluation_steps=None,
    )


@pytest.mark.parametrize(("micro_batch_size", "half"), [(12, 6), (4, 2)])
def test_too_little_memory_says_what_to_halve(world, tmp_path, micro_batch_size, half):
    expected = f"{micro_batch_size} examples at once; set runtime.micro_batch_size to {half}, or"
    with pytest.raises(ValueError, match=f"the GPU's memory is too small: it does not hold {expected}"):
        train_too_large(world, tmp_path, micro_batch_size=micro_batch_size)


class CopiedInVain:
    """Batches that a GPU has no memory for, though they come before the first pass."""

    def __getitems__(self, draws):
        raise torch.OutOfMemoryError("CUDA out of memory.")


def test_too_little_memory_for_the_copy_of_a_batch_says_the_same(world, tmp_path):
    with pytest.raises(ValueError, match="12 examples at once; set runtime"):
        train_too_large(world, tmp_path, dataset=CopiedInVain())


def test_one_example_cannot_be_halved():
    assert "a smaller model" in what_to_lower(1)


def test_of_what_is_never_masked_nothing_is_asked():
    scales = loss_scales({"alignment": 1, "masked_token": 1}, {"alignment": 1, "masked_token": 0.0}, batch_size=5)
    assert scales == {"alignment": 0.2, "masked_token": 0}


@pytest.mark.parametrize("visual_target", ["classes", "contrastive"])
def test_a_step_is_the_same_in_micro_batches_of_4_and_of_32(world, visual_target):
    dataset = make_dataset(world, visual_target=visual_target)
    torch.manual_seed(2)
    tokenizer = AutoTokenizer.from_pretrained(world.tokenizer)
    settings = model_settings(visual_target=visual_target, dropout=0)
    model = build_pretraining_model(settings, tokenizer, num_classes=len(CLASSES))
    nn.init.normal_(model.region_head.decoder.weight)
    scales = loss_scales(dict.fromkeys(OBJECTIVES, 1.0), dataset.expected_items(), batch_size=32)
    taken = []
    for size in (4, 32):
        batches = [dataset.__getitems__([Draw(0, start + row) for row in range(size)]) for start in range(0, 32, size)]
        step, network = Step(1, batches, batches, list(map(count_items, batches))), deepcopy(model)
        optimizer = torch.optim.SGD(network.parameters())
        losses, _ = take_step(
            Accelerator(cpu=True), network, optimizer, step, scales=scales, learning_rate=1, max_gradient_norm=1e9
        )
        moved = {name: weight - model.state_dict()[name] for name, weight in network.state_dict().items()}
        taken.append(losses | moved)
    torch.testing.assert_close(*taken, atol=1e-5, rtol=1e-4)
    assert taken[0]["region_head.decoder.weight"].any()


@pytest.mark.parametrize(("step", "interval", "expected"), [(14, 7, True), (15, 7, False), (14, None, False)])
def test_intervals(step, interval, expected):
    assert is_multiple(step, interval) is expected


def test_the_learning_rate_rises_over_the_warmup_and_falls_to_the_end():
    rates = [learning_rate_at(step, 5, SETTINGS) for step in range(1, 6)]
    assert rates == pytest.approx([0, 0.25, 0.5, 0.5 * 2 / 3, 0.5 / 3])


def test_without_warmup_the_first_step_takes_the_whole_rate():
    assert learning_rate_at(1, 5, SETTINGS.model_copy(update={"warmup_share": 0})) == 0.5


def test_matrices_decay_biases_and_norms_do_not():
    model = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    matrices, vectors = make_optimizer(model, SETTINGS).param_groups
    assert (matrices["weight_decay"], [weight.shape for weight in matrices["params"]]) == (0.3, [(2, 3)])
    assert (vectors["weight_decay"], len(vectors["params"])) == (0.0, 3)


def test_frozen_weights_are_left_alone():
    model = nn.Linear(3, 2)
    model.weight.requires_grad_(False)
    assert [len(group["params"]) for group in make_optimizer(model, SETTINGS).param_groups] == [0, 1]
