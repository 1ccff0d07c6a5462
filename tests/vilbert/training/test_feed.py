import pytest
import torch
from accelerate import Accelerator
from pretraining_world import make_dataset, make_world, runtime_settings

from vilbert.pretraining.evaluation import count_items
from vilbert.settings import OptimizerSettings
from vilbert.training.feed import make_sampler, one_ahead, steps_of


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_dataset(make_world(tmp_path_factory.mktemp("world")))


OPTIMIZER = {
    "batch_size": 12,
    "num_epochs": 2,
    "learning_rate": 0.1,
    "warmup_share": 0.1,
    "weight_decay": 0,
    "beta2": 0.9,
    "max_gradient_norm": 1,
}


def feed(dataset, *, micro_batch_size, steps_done=0, num_workers=0):
    runtime = runtime_settings(num_workers=num_workers, micro_batch_size=micro_batch_size)
    optimizer = OptimizerSettings.model_validate(OPTIMIZER)
    accelerator, lengths = Accelerator(cpu=True), dataset.tokens.lengths()
    sampler = make_sampler(accelerator, lengths, optimizer=optimizer, runtime=runtime, seed=3, first_step=steps_done)
    return list(steps_of(dataset, sampler, runtime=runtime, device=accelerator.device, count_items=count_items))


def test_a_step_holds_its_micro_batches_and_over_how_many_items_each_loss_is_a_mean(dataset):
    steps = feed(dataset, micro_batch_size=4)
    assert [step.number for step in steps] == list(range(1, 15))  # 2 epochs of 93 pairs in batches of 12
    for step in steps:
        assert [len(batch["input_ids"]) for batch in step.batches] == [4, 4, 4]
        assert [int(counts["alignment"]) for counts in step.counts] == [4, 4, 4]
        masked = [int((batch["labels"] != -100).sum()) for batch in step.batches]
        assert [int(counts["masked_token"]) for counts in step.counts] == masked


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_resumed_training_gets_the_steps_that_are_left(dataset, num_workers):
    whole = feed(dataset, micro_batch_size=4)
    left = feed(dataset, micro_batch_size=4, steps_done=9, num_workers=num_workers)
    assert [step.number for step in left] == [10, 11, 12, 13, 14]
    for ours, theirs in zip(left, whole[9:], strict=True):
        for batch, other in zip(ours.batches, theirs.batches, strict=True):
            assert all(torch.equal(batch[name], other[name]) for name in other)


def test_the_feed_draws_nothing_from_torch_s_generator(dataset):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    feed(dataset, micro_batch_size=12)
    assert torch.equal(torch.rand(3), expected)


def test_one_step_is_made_ahead():
    made = []

    def steps():
        for number in range(4):
            made.append(number)
            yield number

    seen = [(step, made[-1]) for step in one_ahead(steps())]
    assert seen == [(0, 1), (1, 2), (2, 3), (3, 3)]


def test_no_step_is_made_before_a_pause_has_ended():
    made = []

    def steps():
        for number in range(5):
            made.append(number)
            yield number

    seen = [(step, made[-1]) for step in one_ahead(steps(), is_pause=lambda step: step in (1, 4))]
    assert seen == [(0, 1), (1, 1), (2, 3), (3, 4), (4, 4)]


def test_nothing_is_ahead_of_no_step():
    assert list(one_ahead([])) == []
