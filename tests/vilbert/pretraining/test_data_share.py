import pytest
from pretraining_world import pretraining_settings

from vilbert.pretraining.data_share import in_as_many_steps
from vilbert.settings import LateSettings
from vilbert.training.feed import count_steps

LATE = LateSettings(from_epoch=1, mismatch_probability=0.5, contrast_words=(), changed_share=0.5)


@pytest.mark.parametrize("num_kept", [12, 23, 47, 92])
def test_a_share_takes_the_steps_of_the_whole(num_kept):
    """Three epochs of 93 pairs in batches of 12 are 21 steps."""
    settings = in_as_many_steps(pretraining_settings(), num_pairs=93, num_kept=num_kept)
    assert count_steps(settings.optimizer, num_kept) == 21


def test_the_late_stage_begins_as_far_along():
    """After a third of the steps: of three epochs one, of 21/3 = 7 that are 3 batches long two and a third."""
    whole = pretraining_settings()
    whole = whole.model_copy(update={"objective": whole.objective.model_copy(update={"late": LATE})})
    settings = in_as_many_steps(whole, num_pairs=93, num_kept=36)
    assert settings.optimizer.num_epochs == 7
    assert settings.objective.late.from_epoch == 2


def test_nothing_else_changes():
    whole = pretraining_settings()
    assert in_as_many_steps(whole, num_pairs=93, num_kept=93) == whole


def test_a_share_that_fills_no_batch_is_refused():
    with pytest.raises(ValueError, match=r"the share of 11 of 93 pairs fills no batch of 12; take a larger one"):
        in_as_many_steps(pretraining_settings(), num_pairs=93, num_kept=11)
