import pytest

from vilbert.training.checkpoints import STAGING, checkpoints_in, claim, publish


def stage(folder, step):
    path = folder / STAGING / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "weights").write_text(f"of step {step}")


def test_checkpoints_stand_in_the_order_of_their_steps(tmp_path):
    for step in (9, 100, 20):
        stage(tmp_path, step)
        publish(tmp_path, step, num_kept=5)
    assert [path.name for path in checkpoints_in(tmp_path)] == ["checkpoint-9", "checkpoint-20", "checkpoint-100"]


def test_the_newest_are_kept(tmp_path):
    for step in (1, 2, 13):
        stage(tmp_path, step)
        publish(tmp_path, step, num_kept=2)
    assert [path.name for path in checkpoints_in(tmp_path)] == ["checkpoint-2", "checkpoint-13"]
    assert (tmp_path / "checkpoint-13/weights").read_text() == "of step 13"


def test_what_a_crash_left_half_written_is_no_checkpoint(tmp_path):
    stage(tmp_path, 7)
    publish(tmp_path, 7, num_kept=2)
    stage(tmp_path, 11)
    assert [path.name for path in checkpoints_in(tmp_path)] == ["checkpoint-7"]
    claim(tmp_path, {})
    assert not (tmp_path / STAGING).exists()


def test_a_step_that_is_taken_again_replaces_its_checkpoint(tmp_path):
    for _ in range(2):
        stage(tmp_path, 3)
        publish(tmp_path, 3, num_kept=2)
    assert len(checkpoints_in(tmp_path)) == 1


def test_checkpoints_of_other_settings_are_refused_by_the_first_that_differs(tmp_path):
    claim(tmp_path, {"optimizer": {"learning_rate": 0.1}, "seed": 1})
    stage(tmp_path, 1)
    publish(tmp_path, 1, num_kept=1)
    claim(tmp_path, {"seed": 1, "optimizer": {"learning_rate": 0.1}})
    with pytest.raises(
        ValueError, match=r"optimizer.learning_rate was 0.1, is 0.2; set it back, or start anew with `rm"
    ):
        claim(tmp_path, {"optimizer": {"learning_rate": 0.2}, "seed": 1})


def test_settings_may_change_while_there_is_no_checkpoint(tmp_path):
    claim(tmp_path, {"seed": 1})
    claim(tmp_path, {"seed": 2})
