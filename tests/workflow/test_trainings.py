from pathlib import Path

import pytest

from vilbert.training.folder import TrainingFolder
from workflow.trainings import PlannedTraining, prepare

MADE_OF = {"version": 1, "pretraining": {"seed": 1}}
IDENTITY = MADE_OF | {"inputs": {"tokens": "ab"}, "regions": {"detector": "cd"}}


@pytest.fixture
def unfinished(tmp_path) -> Path:
    """The folder of a training that was killed."""
    folder = TrainingFolder(tmp_path / "pretrain/checkpoints", IDENTITY, earlier=tmp_path / "earlier")
    folder.claim(num_earlier_kept=2)
    (folder.path / "checkpoint-3").mkdir()
    folder.let_go()
    return folder.path


def planned(folder: Path, made_of=MADE_OF, *, is_forced: bool = False, changes: tuple[str, ...] = ()):
    return PlannedTraining(folder, made_of, is_forced, list(changes), [folder.with_name("model")])


def prepared(folder: Path, *trainings: PlannedTraining) -> None:
    prepare(trainings, earlier=folder.parents[1] / "earlier", num_kept=2)


def test_an_unfinished_training_goes_on_with_the_same_settings(unfinished):
    prepared(unfinished, planned(unfinished))
    assert (unfinished / "checkpoint-3").is_dir()


def test_other_settings_are_refused_for_every_training_at_once(unfinished):
    other = {"version": 2, "pretraining": {"seed": 1}}
    with pytest.raises(ValueError, match=r"nothing was run or deleted:\n.*version was 1, is 2") as raised:
        prepared(unfinished, planned(unfinished, other), planned(unfinished, other))
    assert str(raised.value).count("is unfinished and would be another") == 2
    assert (unfinished / "checkpoint-3").is_dir()


def test_jobs_that_make_its_data_anew_are_a_reason_too(unfinished):
    with pytest.raises(ValueError, match="its data would be made anew by extract_regions, whose settings or files"):
        prepared(unfinished, planned(unfinished, changes=("extract_regions",)))


def test_a_forced_one_is_set_aside(unfinished):
    prepared(unfinished, planned(unfinished, is_forced=True))
    assert not unfinished.exists()
    (earlier,) = (unfinished.parents[1] / "earlier").iterdir()
    assert (earlier / "checkpoint-3").is_dir()


def test_one_that_another_process_is_at_stays_where_it_is(unfinished):
    """A second Snakemake after `--unlock`: the first would go on writing to a folder that is gone."""
    at_it = TrainingFolder(unfinished, IDENTITY, earlier=unfinished.parents[1] / "earlier")
    at_it.claim(num_earlier_kept=2)
    with pytest.raises(ValueError, match="another process is writing to"):
        prepared(unfinished, planned(unfinished, is_forced=True))
    assert (unfinished / "checkpoint-3").is_dir()
    at_it.let_go()


def test_a_forced_one_that_never_got_to_a_checkpoint_takes_the_place_of_none_that_did(unfinished):
    (unfinished / "checkpoint-3").rmdir()
    prepared(unfinished, planned(unfinished, is_forced=True))
    assert not (unfinished.parents[1] / "earlier").exists()


def test_what_a_training_left_whose_folder_is_gone_is_kept_before_snakemake_deletes_it(tmp_path):
    """Checkpoints take much room, and a copy of a run from another machine may lack them."""
    folder = tmp_path / "pretrain/checkpoints"
    (tmp_path / "pretrain/model").mkdir(parents=True)
    (tmp_path / "pretrain/model/weights").write_text("of a week")
    for _ in range(2):  # the second start of a run whose first job fails
        prepared(folder, planned(folder))
    assert not (tmp_path / "earlier").exists()
    TrainingFolder(folder, MADE_OF, earlier=tmp_path / "earlier").claim(num_earlier_kept=2)
    (earlier,) = (tmp_path / "earlier").iterdir()
    assert (earlier / "result/model/weights").read_text() == "of a week"


def test_where_nothing_began_nothing_is_looked_at(tmp_path):
    prepared(tmp_path / "pretrain/checkpoints", planned(tmp_path / "pretrain/checkpoints", is_forced=True))
    assert list(tmp_path.iterdir()) == []


def test_one_that_has_ended_may_become_another(unfinished):
    TrainingFolder(unfinished, IDENTITY, earlier=unfinished.parents[1] / "earlier").end([])
    prepared(unfinished, planned(unfinished, {"version": 2}))
    assert (unfinished / "checkpoint-3").is_dir()
