"""Pretraining as a user runs it: to the end, killed, and in two processes."""

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from commands import ONE_THREAD, run, succeed
from pretraining_world import CLASSES, FEATURE_SIZE, pretraining_settings
from safetensors.torch import load_file
from transformers import AutoProcessor

from extract.regions.store import manifest_path, read_manifest
from vilbert.baselines.rows import read_rows
from vilbert.model.modeling_vilbert import VilbertForPreTraining
from vilbert.model.origin import learnt_from
from vilbert.settings import TRAINING_VERSION
from vilbert.training.checkpoints import checkpoints_in
from vilbert.training.folder import read_note, write_note
from vilbert.training.metrics_file import read_metrics

EVALUATION_IN_PARTS = {"num_pairs": 33}  # a batch of 32, and one of 1
WORDS = "vilbert.text_embeddings.word.weight"
LOSSES = ("loss/masked_token", "loss/masked_region", "loss/alignment")

pytestmark = pytest.mark.slow


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "model/model.safetensors")


def evaluations(out: Path) -> list[list[float]]:
    """Of every evaluation, the three losses, then the accuracies."""
    names = [f"eval/{kind}/{name.partition('/')[2]}" for kind in ("loss", "accuracy") for name in LOSSES]
    return [
        [line[name] for name in names if name in line]
        for line in read_metrics(out / "metrics.jsonl")
        if names[0] in line
    ]


def losses(out: Path) -> list[list[float]]:
    """Of every step, the three losses."""
    return [[line[name] for name in LOSSES] for line in read_metrics(out / "metrics.jsonl") if "loss" in line]


@pytest.fixture(scope="module")
def finished(world, tmp_path_factory) -> Path:
    """The folder of a training that nothing disturbed."""
    out = tmp_path_factory.mktemp("finished")
    succeed(world.command(out))
    return out


def test_the_model_directory_says_what_it_is_made_of(finished, world):
    model = VilbertForPreTraining.from_pretrained(finished / "model")
    assert model.config.visual_feature_size == FEATURE_SIZE
    processor = AutoProcessor.from_pretrained(finished / "model")
    assert len(processor.tokenizer) == model.config.vocab_size
    assert json.loads((finished / "model/classes.json").read_text()) == list(CLASSES)
    provenance = json.loads((finished / "model/provenance.json").read_text())
    assert provenance["pretraining"] == pretraining_settings().made_of()
    assert set(provenance["inputs"]) == {"tokens", "tokenizer", "stores"}
    assert provenance["inputs"]["stores"] == [read_manifest(path).sha256 for path in world.stores]
    assert provenance["regions"]["feature_size"] == FEATURE_SIZE
    assert provenance["version"] == TRAINING_VERSION
    assert (finished / "curves.svg").read_text().startswith("<?xml")


def test_what_the_last_evaluation_is_read_against_stands_beside_it_and_on_the_card(finished):
    last = read_metrics(finished / "metrics.jsonl")[-1]
    rows = read_rows(finished / "baselines.json")
    measured = [name.removeprefix("eval/") for name in last if "alignment" in name or "retrieval" in name]
    assert {row["measure"] for row in rows} == {name for name in measured if not name.startswith("loss")}
    card = (finished / "model/README.md").read_text()
    for row in rows:
        assert row["value"] == last[f"eval/{row['measure']}"]
        assert f"| val | {row['measure']} | {row['value']:.4g} | {row['chance']:.4g} |" in card


def test_every_step_is_logged_with_its_losses_and_rates(finished):
    lines = [line for line in read_metrics(finished / "metrics.jsonl") if "loss" in line]
    assert [line["step"] for line in lines] == list(range(1, 22))  # 3 epochs of 93 pairs in batches of 12
    for line in lines:
        assert line["loss"] == pytest.approx(sum(line[name] for name in LOSSES), rel=1e-5)
        assert {"learning_rate", "grad_norm", "samples_per_second", "tokens_per_second", "tflops_per_device"} <= set(
            line
        )
        assert 0 <= line["padding_share"] < 1
        assert 0 < line["waiting_share"] < 1  # no worker makes its batches ahead


def test_evaluations_stand_at_every_seventh_step_and_at_the_end(finished):
    lines = [line for line in read_metrics(finished / "metrics.jsonl") if "eval/accuracy/alignment" in line]
    assert [line["step"] for line in lines] == [7, 14, 21]
    assert {"eval/loss/masked_token", "eval/accuracy/masked_region", "eval/retrieval/recall_at_1"} <= set(lines[0])


def test_half_of_the_images_are_learnt_of_in_as_many_steps(finished, world, tmp_path):
    succeed([*world.command(tmp_path), "--share", "0.5"])
    assert len(losses(tmp_path)) == len(losses(finished)) == 21
    assert losses(tmp_path) != losses(finished)
    assert "48 pairs of caption and image" in (tmp_path / "model/README.md").read_text()  # of 16 images of 31
    assert json.loads((tmp_path / "model/provenance.json").read_text())["share"] == 0.5


def test_it_learns_and_logs_its_first_step_at_once(world, tmp_path):
    settings = {"optimizer": {"num_epochs": 40, "learning_rate": 0.01}}
    succeed(world.command(tmp_path, settings=settings, runtime={"checkpoint_steps": None, "log_every_steps": 20}))
    (first, *_), *_, (last, *_) = losses(tmp_path)
    assert last < 0.5 * first
    steps = [line["step"] for line in read_metrics(tmp_path / "metrics.jsonl") if "loss" in line]
    assert steps == [1, *range(20, 281, 20)]


def test_killed_at_five_moments_the_weights_are_the_same_to_the_bit(finished, world, tmp_path):
    generator = random.Random(7)
    command = [sys.executable, *world.command(tmp_path)]
    killed_at = []
    for number in range(5):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ONE_THREAD)
        before = newest(tmp_path)
        deadline = time.monotonic() + 120
        while newest(tmp_path) == before and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(generator.random() * 0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed_at.append(newest(tmp_path))
        assert killed_at[-1] is not None, number
    assert len(set(killed_at)) > 2
    succeed(world.command(tmp_path))
    ours, theirs = weights(tmp_path), weights(finished)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert losses(tmp_path) == losses(finished)


def newest(out: Path) -> Path | None:
    found = checkpoints_in(out / "checkpoints")
    return found[-1] if found else None


@pytest.mark.parametrize(("micro_batch_size", "visual_target"), [(6, "classes"), (3, "classes"), (3, "contrastive")])
def test_two_processes_with_half_the_batch_each_take_the_same_steps(world, tmp_path, micro_batch_size, visual_target):
    """Masks, mismatches and the mean of each loss do not depend on who computes what; without dropout, all is equal."""
    settings = {"optimizer": {"num_epochs": 7.2}, "evaluation": EVALUATION_IN_PARTS}
    alone, together = tmp_path / "alone", tmp_path / "together"
    model = {"dropout": 0, "visual_target": visual_target}
    succeed(world.command(alone, settings=settings, model=model))
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    runtime = {"micro_batch_size": micro_batch_size}
    succeed([*launcher, *world.command(together, settings=settings, model=model, runtime=runtime)])
    assert len(losses(alone)) == 50
    check_losses(together, alone, atol=1e-5)


def test_what_wraps_the_model_is_gone_when_the_group_of_the_processes_ends(world, tmp_path):
    """Its destructor would keep Python's lock while it waits for a thread of the group, which may need that lock."""
    _, module, *arguments = world.command(tmp_path, settings={"optimizer": {"num_epochs": 1}})
    assert module == "vilbert.pretraining.pretrain"
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    succeed([*launcher, str(Path(__file__).parent / "end_of_group.py"), *arguments])


@pytest.mark.parametrize(("dtype", "of_losses", "of_weights"), [("float32", 1e-5, 1e-5), ("bfloat16", 2e-3, 2e-2)])
def test_weights_that_are_spread_over_processes_end_as_those_of_one(world, tmp_path, dtype, of_losses, of_weights):
    """Without dropout, all is equal; the model that is written is whole, and so is a checkpoint that is taken up."""
    settings, model = {"optimizer": {"num_epochs": 1}, "evaluation": EVALUATION_IN_PARTS}, {"dropout": 0}
    alone, spread = tmp_path / "alone", tmp_path / "spread"
    succeed(world.command(alone, settings=settings, model=model, runtime={"dtype": dtype}))
    runtime = {"micro_batch_size": 3, "fsdp": True, "dtype": dtype}
    _, module, *arguments = world.command(spread, settings=settings, model=model, runtime=runtime)
    assert module == "vilbert.pretraining.pretrain"
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, str(Path(__file__).parent / "fsdp_on_cpus.py"), *arguments]
    succeed(command)
    check_alike(spread, alone, of_losses=of_losses, of_weights=of_weights)
    newest, before = newest_two(spread)
    shutil.rmtree(newest)
    shutil.rmtree(spread / "model")
    write_note(spread / "checkpoints", read_note(spread / "checkpoints") | {"ended": None})  # as if it had been killed
    succeed(command)
    assert checkpoints_in(spread / "checkpoints") == [before, newest]
    check_alike(spread, alone, of_losses=of_losses, of_weights=of_weights)


@pytest.mark.parametrize(
    ("num_processes", "script", "runtime"),
    [
        (1, "compiled_on_cpus.py", {"gradient_checkpointing": True}),
        (2, "compiled_on_cpus.py", {"micro_batch_size": 3}),
        (2, "fsdp_on_cpus.py", {"micro_batch_size": 6, "fsdp": True}),
    ],
    ids=["checkpointing", "ddp", "fsdp"],
)
def test_compiled_layers_take_the_same_steps_as_plain_ones(world, tmp_path, num_processes, script, runtime):
    settings, model = {"optimizer": {"num_epochs": 1}}, {"dropout": 0}
    plain, compiled = tmp_path / "plain", tmp_path / "compiled"
    succeed(world.command(plain, settings=settings, model=model))
    _, _, *arguments = world.command(compiled, settings=settings, model=model, runtime={"compile": True, **runtime})
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(num_processes)]
    succeed([*(launcher if num_processes > 1 else []), str(Path(__file__).parent / script), *arguments])
    check_alike(compiled, plain, of_losses=1e-5, of_weights=1e-4)


def test_a_training_goes_on_in_the_type_that_it_began_in(world, tmp_path):
    """As one of a GPU does where there is none."""
    settings, checkpoints = {"optimizer": {"num_epochs": 1}}, tmp_path / "checkpoints"
    succeed(world.command(tmp_path, settings=settings, runtime={"dtype": "auto"}))
    note = read_note(checkpoints)
    assert note["dtype"] == "float32"
    write_note(checkpoints, note | {"ended": None, "dtype": "bfloat16"})
    shutil.rmtree(newest(tmp_path))
    done = run(world.command(tmp_path, settings=settings, runtime={"dtype": "auto"}))
    assert done.returncode == 0, done.stderr
    assert "matrices are multiplied in bfloat16: as the training began" in done.stderr
    assert read_note(checkpoints)["dtype"] == "bfloat16"


def check_alike(out: Path, other: Path, *, of_losses: float, of_weights: float) -> None:
    check_losses(out, other, atol=of_losses)
    ours, theirs = weights(out), weights(other)
    assert ours.keys() == theirs.keys()
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], atol=of_weights, rtol=0)


def check_losses(out: Path, other: Path, *, atol: float) -> None:
    """Of every step, and of every evaluation."""
    torch.testing.assert_close(torch.tensor(losses(out)), torch.tensor(losses(other)), atol=atol, rtol=0)
    ours, theirs = torch.tensor(evaluations(out)), torch.tensor(evaluations(other))
    torch.testing.assert_close(ours[:, :3], theirs[:, :3], atol=atol, rtol=0)
    torch.testing.assert_close(ours[:, 3:], theirs[:, 3:], atol=0.05, rtol=0)  # a pair may be on the border


def newest_two(out: Path) -> tuple[Path, Path]:
    *_, before, newest = checkpoints_in(out / "checkpoints")
    return newest, before


@pytest.mark.parametrize(("num_processes", "num_workers"), [(1, 0), (1, 2), (2, 0)])
def test_sigterm_makes_it_write_a_checkpoint_and_end(finished, world, tmp_path, num_processes, num_workers):
    """A scheduler sends it to every process of a job, the reading ones too; after that, it goes on where it was."""
    runtime = {"checkpoint_steps": None, "num_workers": num_workers, "micro_batch_size": 12 // num_processes}
    command = world.command(tmp_path, settings={"optimizer": {"num_epochs": 300}}, runtime=runtime)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(num_processes)]
    start = [sys.executable, *(launcher if num_processes > 1 else []), *command]
    process = subprocess.Popen(start, stderr=subprocess.PIPE, text=True, env=ONE_THREAD, start_new_session=True)
    lines, deadline = tmp_path / "checkpoints/metrics.jsonl", time.monotonic() + 120
    while not (lines.exists() and len(read_metrics(lines)) > 5) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGTERM)
    _, error = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "its checkpoint is in" in error
    step = int(re.search("SIGTERM (?:at|in the evaluation of) step ([0-9]+)", error)[1])
    assert newest(tmp_path).name == f"checkpoint-{step}"
    assert not (tmp_path / "model").exists()
    assert read_metrics(lines)[-1]["step"] in (step, step - 1)


def test_sigterm_in_an_evaluation_ends_it_at_once_and_a_resume_makes_up_for_it(finished, world, tmp_path):
    """The last one, so that no step follows: else a training that ended would have no measure."""
    settings = {"evaluation": {"num_retrieval_images": 11}}
    slow = [str(Path(__file__).parent / "slow_evaluation.py"), *world.command(tmp_path, settings=settings)[2:]]
    process = subprocess.Popen([sys.executable, *slow], stderr=subprocess.PIPE, text=True, env=ONE_THREAD)
    deadline = time.monotonic() + 120
    while newest(tmp_path) != tmp_path / "checkpoints/checkpoint-21" and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.5)
    start = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=60)
    assert "SIGTERM in the evaluation of step 21" in error
    assert time.monotonic() - start < 30  # of the minute that the evaluation takes
    succeed(world.command(tmp_path, settings=settings))
    lines = [line for line in read_metrics(tmp_path / "metrics.jsonl") if "eval/accuracy/alignment" in line]
    assert [line["step"] for line in lines] == [7, 14, 21]
    ours, theirs = weights(tmp_path), weights(finished)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(
    "changed",
    [
        {"model": {"visual_target": "features"}},
        {"model": {"visual_target": "contrastive"}},
        {"model": {"architecture": "single_stream"}},
        {"runtime": {"gradient_checkpointing": True}},
        {"runtime": {"num_workers": 2, "dtype": "bfloat16", "peak_tflops": 0.1}},
        {"settings": {"objective": {"region_mask_probability": 0, "token_mask_probability": 0}}},
    ],
    ids=lambda changed: json.dumps(changed)[:60],
)
def test_settings_of_every_kind_run_to_the_end(world, tmp_path, changed):
    succeed(world.command(tmp_path, **{"settings": {"optimizer": {"num_epochs": 1}}} | changed))
    line = next(line for line in read_metrics(tmp_path / "metrics.jsonl") if "loss" in line)
    assert ("model_flops_utilisation" in line) == ("peak_tflops" in changed.get("runtime", {}))


def test_workers_change_nothing(finished, world, tmp_path):
    succeed(world.command(tmp_path, runtime={"num_workers": 2}))
    assert losses(tmp_path) == losses(finished)


@pytest.mark.parametrize("num_processes", [1, 2])
def test_copies_of_the_stores_on_a_nodes_disk_change_nothing(finished, world, tmp_path, num_processes):
    scratch, runtime = tmp_path / "scratch", {"micro_batch_size": 12 // num_processes, "num_workers": 1}
    scratch.mkdir()
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(num_processes)]
    command = world.command(tmp_path, runtime={**runtime, "scratch": str(scratch)})
    done = run([*(launcher if num_processes > 1 else []), *command])
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("2 of 2 feature stores") == 1, "a copy a node, not one a process"
    assert not list(scratch.rglob("*.lmdb"))
    if num_processes == 1:
        assert all(torch.equal(value, weights(finished)[name]) for name, value in weights(tmp_path).items())


def test_metrics_go_to_the_trackers(finished):
    assert next(path.name for path in (finished / "checkpoints/trackers/vilbert").iterdir()).startswith("events.out")


def test_two_nodes_of_one_process_each_meet_at_an_address(world, tmp_path):
    """As on a cluster, but both nodes are this machine."""
    port = free_port()
    settings, runtime = {"optimizer": {"num_epochs": 1}}, {"micro_batch_size": 6}
    nodes = []
    for rank in range(2):
        launcher = ["-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", "--node-rank", str(rank)]
        launcher += ["--master-addr", "127.0.0.1", "--master-port", str(port)]
        command = [sys.executable, *launcher, *world.command(tmp_path, settings=settings, runtime=runtime)]
        nodes.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ONE_THREAD))
    errors = [node.communicate(timeout=120)[1] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], errors
    assert len(losses(tmp_path)) == 7


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_a_training_that_has_ended_is_given_again_and_set_aside_by_another(world, tmp_path):
    settings = {"optimizer": {"num_epochs": 1}}
    succeed(world.command(tmp_path, settings=settings))
    first = weights(tmp_path)
    shutil.rmtree(tmp_path / "model")
    succeed(world.command(tmp_path, settings=settings, runtime={"log_every_steps": 3}))
    assert all(torch.equal(weights(tmp_path)[name], first[name]) for name in first)
    assert [line["step"] for line in read_metrics(tmp_path / "metrics.jsonl") if "loss" in line] == list(range(1, 8))
    settings = {"optimizer": {"num_epochs": 1, "learning_rate": 0.002}}
    succeed(world.command(tmp_path, settings=settings))
    assert not torch.equal(weights(tmp_path)[WORDS], first[WORDS])
    (earlier,) = tmp_path.with_name(f"{tmp_path.name}-earlier").iterdir()
    assert torch.equal(load_file(earlier / "result/model/model.safetensors")[WORDS], first[WORDS])


def test_the_same_records_of_another_selection_are_another_training(world, tmp_path):
    """A limit that no image reaches: the model given again would refuse the very store that it was asked for with."""
    settings = {"optimizer": {"num_epochs": 1}}
    stores = [Path(shutil.copy(path, tmp_path / path.name)) for path in world.stores]
    for store, path in zip(stores, world.stores, strict=True):
        shutil.copy(manifest_path(path), manifest_path(store))
    moved = world._replace(stores=stores)
    succeed(moved.command(tmp_path / "out", settings=settings))
    for store in stores:
        manifest = json.loads(manifest_path(store).read_text())
        manifest_path(store).write_text(json.dumps(manifest | {"selection": {"max_regions": 37}}))
    succeed(moved.command(tmp_path / "out", settings=settings))
    assert learnt_from(tmp_path / "out/model")["selection"] == {"max_regions": 37}
    assert len(list((tmp_path / "out-earlier").iterdir())) == 1
