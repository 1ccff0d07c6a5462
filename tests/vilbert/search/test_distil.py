import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from vilbert.search.distillation import Places
from vilbert.training.metrics import read_metrics


def weights_of(model):
    return load_file(model / "model.safetensors")


def test_it_learns_from_captions_and_from_its_teacher_and_says_what_of(search_world, dual_encoder):
    lines = read_metrics(dual_encoder.parent / "metrics.jsonl")
    losses = [line["loss/contrastive"] for line in lines if "loss/contrastive" in line]
    assert len(losses) == 6  # 93 captions are three batches of 31, twice
    assert losses[-1] < losses[0]
    assert [line["step"] for line in lines if "eval/recall_at_1" in line] == [3, 6]
    provenance = json.loads((dual_encoder / "provenance.json").read_text())
    assert provenance["teacher"] == str(search_world.teacher)
    assert "VilbertDualEncoder" in (dual_encoder / "README.md").read_text()


def test_killed_in_an_epoch_it_ends_with_the_same_weights(search_world, dual_encoder, tmp_path):
    """What was mined for the epoch, and what the teacher said, are read from the disk again."""
    killed = tmp_path / "killed"
    shutil.copytree(dual_encoder.parent, killed)
    for step in (5, 6):
        shutil.rmtree(killed / f"checkpoints/checkpoint-{step}", ignore_errors=True)
    shutil.rmtree(killed / "checkpoints/result")
    note = json.loads((killed / "checkpoints/training.json").read_text())
    (killed / "checkpoints/training.json").write_text(json.dumps(note | {"ended": None}))
    again = weights_of(search_world.distil(killed))
    for name, weight in weights_of(dual_encoder).items():
        assert torch.equal(again[name], weight), name


def test_a_step_that_would_be_cut_is_refused(search_world, tmp_path):
    with pytest.raises(ValueError, match="micro_batch_size is 7, but a dual encoder tells all examples"):
        search_world.distil(tmp_path, runtime={"micro_batch_size": 7})


def test_a_teacher_that_scores_no_pairs_is_refused(search_world, dual_encoder, tmp_path):
    with pytest.raises(ValueError, match="expected one that is asked about one image"):
        search_world._replace(teacher=dual_encoder).distil(tmp_path)


def test_what_is_in_a_batch_has_one_place():
    places = Places([4, 9, 4])
    assert [places.of(one) for one in (9, 7, 4, 7)] == [1, 3, 0, 3]
    assert places.all == [4, 9, 4, 7]
