import json
from pathlib import Path

import pytest
import torch
from commands import succeed

from vilbert.training.shares import ask_in_shares


def test_one_process_asks_about_all_in_the_given_order():
    asked = []

    def ask(batch):
        asked.append(batch)
        return [-example for example in batch]

    assert ask_in_shares([5, 3, 11, 7, 2], ask, batch_size=2) == {5: -5, 3: -3, 11: -11, 7: -7, 2: -2}
    assert asked == [[5, 3], [11, 7], [2]]


def test_of_nothing_nobody_is_asked():
    assert ask_in_shares([], lambda batch: 1 / 0, batch_size=2) == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("examples", "asked"),
    [
        ([5, 3, 11, 7, 2], [[[5, 11], [2]], [[3, 7], [2]]]),
        ([5, 3, 11, 7], [[[5, 11]], [[3, 7]]]),
        ([5], [[[5]], [[5]]]),
    ],
    ids=str,
)
def test_two_processes_ask_about_as_many_each_and_know_every_answer(tmp_path, examples, asked):
    """Spread weights are gathered batch by batch: a process with one less would leave the other waiting."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = Path(__file__).parent / "shares_of_processes.py"
    succeed([*launcher, str(script), str(tmp_path), *map(str, examples)])
    answers = [[example, example * 10] for example in sorted(examples)]
    for process in range(2):
        known = json.loads((tmp_path / f"{process}.json").read_text())
        assert known == {"asked": asked[process], "answers": answers}


def test_held_out_examples_that_a_gpu_cannot_hold_end_in_one_sentence():
    def ask(batch: list[int]) -> list[int]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(ValueError, match="memory is too small: it does not hold 3 held-out examples beside the model"):
        ask_in_shares(range(3), ask, batch_size=7)
