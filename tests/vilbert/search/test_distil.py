import json
import shutil

import pytest
import torch
from commands import succeed
from safetensors.torch import load_file
from search_world import write_teacher

import vilbert
from vilbert.model.modeling_tasks import VilbertForImageTextRetrieval
from vilbert.search.distillation import Places
from vilbert.search.folder import main as index_folder
from vilbert.search.searcher import Searcher
from vilbert.training.metrics_file import read_metrics


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


@pytest.mark.slow
def test_two_processes_with_half_a_step_each_have_the_losses_of_one(search_world, tmp_path):
    """Each tells its examples apart from all of the step; those that the teacher is asked of are the same ones."""
    calm = search_world._replace(teacher=without_dropout(search_world.teacher, tmp_path / "teacher"))
    settings = {"num_distilled": 4, "optimizer": {"batch_size": 24}}
    calm.distil(tmp_path / "alone", **settings)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = calm.command(tmp_path / "together", settings=settings, runtime={"micro_batch_size": 12})
    succeed([*launcher, *command])
    alone, together = (losses_of(tmp_path / name) for name in ("alone", "together"))
    assert len(alone) == 6  # 93 captions are three batches of 24, twice
    torch.testing.assert_close(torch.tensor(together), torch.tensor(alone), atol=1e-4, rtol=0)


def test_a_model_fine_tuned_on_retrieval_teaches_by_its_score_head(search_world, tmp_path):
    """From its scores to an answer whose best are in the order of what both say together."""
    theirs = search_world._replace(teacher=tmp_path / "retrieval")
    torch.manual_seed(1)
    teacher = VilbertForImageTextRetrieval.from_pretrained(search_world.teacher)
    torch.nn.init.normal_(teacher.score_head.weight, std=9)  # scores that differ
    write_teacher(teacher, theirs)
    model = theirs.distil(tmp_path, optimizer={"num_epochs": 1})
    index_folder(model, search_world.world.stores[1], tmp_path / "index")
    searcher = Searcher(tmp_path / "index")
    rows = searcher.by_text("a red circle", k=3, rerank=3)
    scorer = vilbert.pipeline(theirs.teacher)
    regions = [search_world.store[row["image"]] for row in rows]
    scores = [row["score"] for row in scorer.score(regions, "a red circle")]
    assert [row["score"] for row in rows] == pytest.approx(scores)
    assert len(set(scores)) == 3
    logits = [row["similarity"] / searcher.encoder.temperature.item() + row["score"] for row in rows]
    assert logits == sorted(logits, reverse=True)


def without_dropout(teacher, copy):
    shutil.copytree(teacher, copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"dropout": 0}))
    return copy


def losses_of(out):
    """Of every step, both."""
    names = ("loss/contrastive", "loss/distillation")
    return [[line[name] for name in names] for line in read_metrics(out / "metrics.jsonl") if "loss" in line]


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


def test_scores_of_a_teacher_with_other_settings_are_not_taken(search_world, tmp_path):
    """The weights are the same."""
    other = shutil.copytree(search_world.teacher, tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"co_num_heads": 1}))
    for teacher in (search_world.teacher, other):
        search_world._replace(teacher=teacher).distil(tmp_path / "run", optimizer={"num_epochs": 1})
    assert len(list((tmp_path / "run/scores").glob("*.lmdb"))) == 2
