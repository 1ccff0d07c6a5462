import numpy as np
import pytest

from vilbert.batches.sampling import StepSampler

LENGTHS = np.random.default_rng(0).integers(3, 37, 1009)


def sampler(**changes) -> StepSampler:
    arguments = {"batch_size": 24, "num_steps": 97, "seed": 5, "block_size": 53, "window_size": 311}
    return StepSampler(LENGTHS, **{**arguments, **changes})


def test_an_epoch_shows_each_example_at_most_once_and_nearly_all():
    batches = [examples for epoch, examples in sampler().global_batches() if epoch == 0]
    examples = np.concatenate(batches)
    assert len(examples) == len(set(examples.tolist())) == 1009 // 24 * 24


@pytest.mark.parametrize(("num_processes", "accumulation"), [(2, 1), (1, 3), (2, 2)])
def test_any_split_of_the_work_makes_the_same_steps(num_processes, accumulation):
    whole = [set(batch) for batch in sampler()]
    parts = [
        list(sampler(num_processes=num_processes, process=process, accumulation=accumulation))
        for process in range(num_processes)
    ]
    for step, expected in enumerate(whole):
        micro = [part[step * accumulation + index] for part in parts for index in range(accumulation)]
        assert set().union(*micro) == expected
        assert {len(batch) for batch in micro} == {24 // (num_processes * accumulation)}


def test_batches_hold_captions_of_like_length():
    spread = [np.ptp(LENGTHS[examples]) for _, examples in sampler().global_batches()]
    random = [np.ptp(LENGTHS[np.random.default_rng(i).integers(0, 1009, 24)]) for i in range(97)]
    assert np.mean(spread) < np.mean(random) / 3


def test_batches_hold_pairs_of_like_length_and_as_many_regions():
    generator = np.random.default_rng(1)
    sizes = np.stack([generator.integers(5, 30, 4000), generator.integers(10, 37, 4000)], axis=1)
    spreads = {}
    for name, given in {"tokens": sizes[:, 0], "both": sizes}.items():
        steps = StepSampler(given, batch_size=40, num_steps=100, seed=5)
        batches = [sizes[batch] for _, batch in steps.global_batches()]
        spreads[name] = np.mean([np.ptp(batch, axis=0) for batch in batches], axis=0)
    assert spreads["tokens"][0] < 2 < spreads["both"][0] < 5
    assert spreads["both"][1] < 5 < 20 < spreads["tokens"][1]


def test_a_window_bounds_what_is_read_at_once():
    steps = StepSampler(LENGTHS[:1000], batch_size=25, num_steps=40, seed=5, block_size=50, window_size=100)
    blocks = [len(set((examples // 50).tolist())) for _, examples in steps.global_batches()]
    assert max(blocks) == 2


def test_epochs_differ_and_a_second_walk_is_the_same():
    walk = list(sampler())
    assert walk == list(sampler())
    assert {draw.epoch for batch in walk for draw in batch} == {0, 1, 2}
    assert [draw.example for draw in walk[0]] != [draw.example for draw in walk[42]]


def test_a_batch_that_does_not_divide_is_an_error():
    with pytest.raises(ValueError, match="24 does not divide by 5 processes x 1 micro-batches"):
        sampler(num_processes=5)


def test_too_few_examples_are_an_error():
    with pytest.raises(ValueError, match="1009 examples fill no batch of 2048"):
        sampler(batch_size=2048)
