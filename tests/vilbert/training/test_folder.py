import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

from vilbert.training.folder import TrainingFolder, differences, has_ended, name_of, read_note, refusal, set_aside

IDENTITY = {"version": 1, "pretraining": {"seed": 1, "optimizer": {"num_epochs": 8}}, "inputs": {"tokens": "ab"}}
OTHER = {"version": 1, "pretraining": {"seed": 1, "optimizer": {"num_epochs": 9}}, "inputs": {"tokens": "ab"}}


@pytest.fixture
def run(tmp_path):
    """results/<run> with a folder `pretrain` of outputs."""
    (tmp_path / "pretrain/model").mkdir(parents=True)
    (tmp_path / "pretrain/model/weights").write_text("of eight epochs")
    (tmp_path / "pretrain/metrics.jsonl").write_text("{}")
    return tmp_path


def folder_of(run, identity=IDENTITY) -> TrainingFolder:
    return TrainingFolder(run / "pretrain/checkpoints", identity, earlier=run / "earlier")


def outputs_of(run):
    return [run / "pretrain/model", run / "pretrain/metrics.jsonl"]


def ended(run) -> TrainingFolder:
    folder = folder_of(run)
    folder.claim(num_earlier_kept=2)
    (folder.path / "checkpoint-7").mkdir()
    folder.end(outputs_of(run))
    return folder


def unfinished(run) -> TrainingFolder:
    folder = folder_of(run)
    folder.claim(num_earlier_kept=2)
    (folder.path / "checkpoint-3").mkdir()
    folder.let_go()  # as a kill does
    return folder


def test_what_an_ended_training_left_outlives_its_outputs_and_is_given_again(run):
    """Snakemake deletes them before it runs the rule again, and after a job that it thinks has failed."""
    ended(run)
    (run / "pretrain/model/weights").unlink()
    (run / "pretrain/model").rmdir()
    (run / "pretrain/metrics.jsonl").unlink()
    again = folder_of(run)
    assert again.has_ended
    again.give(outputs_of(run))
    assert (run / "pretrain/model/weights").read_text() == "of eight epochs"
    assert (run / "pretrain/metrics.jsonl").read_text() == "{}"


def test_it_is_kept_by_links_which_take_no_room(run):
    ended(run)
    kept = run / "pretrain/checkpoints/result/model/weights"
    assert kept.stat().st_ino == (run / "pretrain/model/weights").stat().st_ino


def test_another_training_sets_the_one_that_has_ended_aside(run):
    ended(run)
    another = folder_of(run, OTHER)
    assert not another.has_ended
    another.claim(num_earlier_kept=2)
    (earlier,) = (run / "earlier").iterdir()
    assert earlier.name.endswith("-pretrain")
    assert (earlier / "result/model/weights").read_text() == "of eight epochs"
    assert (earlier / "checkpoint-7").is_dir()
    assert read_note(another.path)["identity"] == OTHER
    assert not list(another.path.glob("checkpoint-*"))


def test_an_unfinished_training_is_refused_with_all_that_differs_and_each_way_out(run):
    unfinished(run)
    changed = {**OTHER, "inputs": {"tokens": "cd"}}
    with pytest.raises(ValueError, match="is unfinished and would be another") as raised:
        folder_of(run, changed).claim(num_earlier_kept=2)
    message = str(raised.value)
    assert "inputs.tokens was ab, is cd; pretraining.optimizer.num_epochs was 8, is 9" in message
    assert f"`snakemake --forcerun={run}/pretrain/model`" in message
    assert f"`rm -r {run}/pretrain/checkpoints`" in message
    assert (run / "pretrain/checkpoints/checkpoint-3").is_dir()
    assert read_note(run / "pretrain/checkpoints")["identity"] == IDENTITY


def test_the_ways_out_can_be_typed_whatever_the_folder_is_called():
    message = refusal(Path("my run/pretrain/checkpoints"), ["seed was 1, is 2"])
    assert "--forcerun='my run/pretrain/model'`" in message
    assert "`rm -r 'my run/pretrain/checkpoints'`" in message


def test_the_type_that_a_training_multiplies_in_is_its_own_and_outlives_a_kill(run):
    folder = unfinished(run)
    assert folder.dtype is None
    folder.keep_dtype("bfloat16")
    folder.let_go()
    again = folder_of(run)
    again.claim(num_earlier_kept=2)
    assert again.dtype == "bfloat16"
    assert folder_of(run, OTHER).dtype is None


def test_a_killed_training_goes_on(run):
    begun = read_note(unfinished(run).path)["begun"]
    again = folder_of(run)
    assert not again.has_ended
    again.claim(num_earlier_kept=2)
    assert (again.path / "checkpoint-3").is_dir()
    assert read_note(again.path)["begun"] == begun
    assert not (run / "earlier").exists()


def test_settings_may_change_before_the_first_checkpoint(run):
    folder = folder_of(run)
    folder.claim(num_earlier_kept=2)
    folder.let_go()
    folder_of(run, OTHER).claim(num_earlier_kept=2)
    assert read_note(run / "pretrain/checkpoints")["identity"] == OTHER


def test_a_note_of_before_is_an_unfinished_training(run):
    (run / "pretrain/checkpoints/checkpoint-9").mkdir(parents=True)
    (run / "pretrain/checkpoints/training.json").write_text(json.dumps({"pretraining": {"seed": 1}}))
    with pytest.raises(ValueError, match=r"version was None, is 1"):
        folder_of(run).claim(num_earlier_kept=2)


def test_a_damaged_note_is_named_with_both_ways_on(run):
    note = unfinished(run).path / "training.json"
    note.write_text(note.read_text()[:20])
    expected = rf"{note} is damaged \(.*\): to go on from .* `rm {note}`; to begin anew, `rm -r {note.parent}`"
    with pytest.raises(ValueError, match=expected):
        folder_of(run).claim(num_earlier_kept=2)


@pytest.mark.parametrize("left", ["[]", "null", "7", "\0" * 20])
def test_a_note_that_is_none_is_named_too(run, left):
    note = unfinished(run).path / "training.json"
    note.write_text(left)
    with pytest.raises(ValueError, match=rf"{note} is damaged \("):
        read_note(note.parent)


def test_the_newest_of_a_name_are_kept(run):
    earlier = run / "earlier"
    for name in ("pretrain", "finetune/vqa", "pretrain", "pretrain"):
        (run / name / "checkpoints").mkdir(parents=True, exist_ok=True)
        set_aside(run / name / "checkpoints", earlier=earlier, num_kept=2)
    names = [path.name.split("-", maxsplit=5)[-1] for path in sorted(earlier.iterdir())]
    assert names == ["finetune-vqa", "pretrain", "pretrain"]


def test_none_is_kept_where_none_is_to_be(run):
    ended(run)
    folder_of(run, OTHER).claim(num_earlier_kept=0)
    assert list((run / "earlier").iterdir()) == []


def test_a_training_is_named_by_where_it_lies_in_its_run(tmp_path):
    earlier = tmp_path / "results/tiny/earlier"
    assert name_of(tmp_path / "results/tiny/compare/vqa/new-1/checkpoints", earlier) == "compare-vqa-new-1"
    assert name_of(tmp_path / "elsewhere/mine/checkpoints", earlier) == "mine"


def test_two_processes_do_not_train_in_one_folder(run):
    code = (
        "import pathlib, sys; from vilbert.training.folder import TrainingFolder\n"
        "folder = TrainingFolder(pathlib.Path(sys.argv[1]), {}, earlier=pathlib.Path(sys.argv[1]) / 'earlier')\n"
        "folder.claim(num_earlier_kept=1); print(flush=True); input()"
    )
    command = [sys.executable, "-c", code, str(run / "pretrain/checkpoints")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as other:
        other.stdout.readline()
        with pytest.raises(ValueError, match="another process is writing to"):
            folder_of(run).claim(num_earlier_kept=2)
        other.communicate(b"\n")


def test_where_a_disk_has_no_locks_the_earlier_process_may_write_no_more(run, monkeypatch):
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    earlier, later = folder_of(run), folder_of(run)
    earlier.claim(num_earlier_kept=2)
    earlier.demand()
    later.claim(num_earlier_kept=2)
    for write in (earlier.demand, lambda: earlier.end(outputs_of(run))):
        with pytest.raises(ValueError, match=r"another process has taken .*checkpoints \(process \d+ on "):
            write()
    assert not later.has_ended
    later.end(outputs_of(run))
    assert later.has_ended


def test_a_kill_frees_the_folder_at_once_though_processes_that_read_live_on(run):
    code = (
        "import os, pathlib, sys, time; from vilbert.training.folder import TrainingFolder\n"
        "folder = TrainingFolder(pathlib.Path(sys.argv[1]), {}, earlier=pathlib.Path(sys.argv[1]) / 'earlier')\n"
        "folder.claim(num_earlier_kept=1)\n"
        "if not os.fork():\n"
        "    print(os.getpid(), flush=True)\n"
        "    os.close(1)\n"
        "time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(run / "pretrain/checkpoints")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as other:
        child = int(other.stdout.readline())
        try:
            with pytest.raises(ValueError, match="another process is writing to"):
                folder_of(run).claim(num_earlier_kept=2)
            other.kill()
            other.wait()
            os.kill(child, 0)  # it is there
            folder_of(run).claim(num_earlier_kept=2)
        finally:
            os.kill(child, signal.SIGKILL)


def test_the_commit_is_on_record_and_no_part_of_the_identity(run):
    folder = ended(run)
    note = read_note(folder.path)
    assert "commit" in note
    assert "commit" not in note["identity"]
    assert has_ended(note)
    assert folder.provenance.keys() == {*IDENTITY, "commit"}


def test_differences_are_named_by_their_path():
    assert differences({"a": {"b": 1}, "c": [1]}, {"a": {"b": 2}, "d": 3}) == [
        "a.b was 1, is 2",
        "c was [1], is None",
        "d was None, is 3",
    ]


def test_nothing_heavy_is_imported_with_it():
    code = "import sys, vilbert.training.folder; print(sorted({'torch', 'pandas', 'numpy'} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT).strip() == "[]"
