"""Fine-tunes as a user runs them, on a few drawn images."""

import csv
import json
import os
import subprocess
from pathlib import Path

import pytest
import torch
import yaml
from commands import ONE_THREAD, run, succeed
from places import ROOT
from small_configs import make_single_stream, make_two_stream

from extract.finder import FoundRegions, RegionFinder
from extract.regions.store import RegionStore
from vilbert.baselines.rows import read_rows
from vilbert.conversion.convert import MODELS
from vilbert.model.directory import sha256_of
from vilbert.model.modeling_single_stream import VilbertSingleStreamForPreTraining
from vilbert.model.modeling_tasks import VilbertForImageTextRetrieval, VilbertForQuestionAnswering
from vilbert.model.modeling_vilbert import VilbertForPreTraining
from vilbert.pipelines import Pipeline, load, pipeline
from vilbert.predict import main as predict_command
from vilbert.settings import FinetuningSettings, RuntimeSettings
from vilbert.tasks.finetune import TaskEvaluator, build_task_model, demand_room, main
from vilbert.tasks.probes import main as probe
from vilbert.tasks.task import TaskData
from vilbert.tasks.zero_shot import main as zero_shot
from vilbert.training.metrics_file import read_metrics

SIZES = {"vocab_size": 199, "visual_feature_size": 11, "visual_num_classes": 3, "max_position_embeddings": 101}
MEASURES = {
    "vqa": {"validation/accuracy"},
    "vcr": {"validation/answer", "validation/rationale", "validation/both"},
    "refcoco": {f"{split}/{name}" for split in ("val", "testA", "testB") for name in ("accuracy", "upper_bound")},
    "retrieval": {"validation/image_recall_at_1", "validation/text_median_rank"},
}
UPPER_BOUNDS = {f"{split}/upper_bound" for split in ("val", "testA", "testB")}


def settings(**changed) -> dict:
    """Those of the default run, a pass each."""
    section = yaml.safe_load((ROOT / "config.yaml").read_text())["finetuning"]
    for task in MEASURES:
        section[task]["optimizer"] |= {"batch_size": 6, "num_epochs": 1}
        section[task]["max_tokens"] = 91
    section["vqa"]["min_answer_count"] = 3
    return section | changed


def runtime() -> dict:
    section = yaml.safe_load((ROOT / "config.yaml").read_text())["runtime"]
    return section | {"log_every_steps": 1}


@pytest.fixture(scope="module", params=["two_stream", "single_stream"])
def pretrained(request, drawn, tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp(request.param)
    is_two = request.param == "two_stream"
    config = (make_two_stream if is_two else make_single_stream)(**SIZES)
    (VilbertForPreTraining if is_two else VilbertSingleStreamForPreTraining)(config).save_pretrained(path)
    drawn.processor.save_pretrained(path)
    return path


def all_of(store: RegionStore) -> list[FoundRegions]:
    return [FoundRegions(key, store[key], None) for key in store]


def finetune(task: str, model: Path, drawn, out: Path, *options: object, **changed) -> subprocess.CompletedProcess:
    (out / "scratch").mkdir(parents=True, exist_ok=True)
    detected, given = (store._paths[0] for store in (drawn.detected, drawn.given))
    outputs = [out / name for name in ("model", "metrics.jsonl", "dropped.csv", "predictions", "baselines.json")]
    if task in ("vcr", "refcoco"):
        options = (*options, "--given", given)
    sections = [
        "--settings",
        json.dumps(settings(**changed)),
        "--runtime",
        json.dumps(runtime() | {"scratch": str(out / "scratch")}),
    ]
    arguments = [task, model, detected, drawn.annotations, *outputs, "--checkpoints", out / "checkpoints"]
    arguments += ["--earlier", out / "earlier", *sections]
    return run(["-m", "vilbert.tasks.finetune", *map(str, [*arguments, *options])])


@pytest.mark.slow
@pytest.mark.parametrize("task", MEASURES)
def test_every_task_runs_to_its_measure(task, pretrained, drawn, tmp_path):
    done = finetune(task, pretrained, drawn, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("1 of 1 feature stores") == (2 if task in ("vcr", "refcoco") else 1)
    assert not list((tmp_path / "scratch").rglob("*.lmdb"))
    evaluation = read_metrics(tmp_path / "metrics.jsonl")[-1]
    assert {f"eval/{name}" for name in MEASURES[task]} <= evaluation.keys()
    with (tmp_path / "dropped.csv").open() as file:
        assert next(csv.reader(file)) == ["annotation", "reason", "detail"]
    assert {path.stem for path in (tmp_path / "predictions").iterdir()} >= (
        {"test", "validation"} if task in ("vqa", "vcr") else {"val"} if task == "refcoco" else {"validation"}
    )
    rows = read_rows(tmp_path / "baselines.json")
    assert {f"{row['split']}/{row['measure']}" for row in rows} >= MEASURES[task] - UPPER_BOUNDS
    assert all(row["value"] == evaluation[f"eval/{row['split']}/{row['measure']}"] for row in rows)
    assert (
        f"| {rows[0]['split']} | {rows[0]['measure']} | {rows[0]['value']:.4g} |"
        in (tmp_path / "model/README.md").read_text()
    )
    provenance = json.loads((tmp_path / "model/provenance.json").read_text())
    assert provenance["task"] == task
    assert provenance["inputs"]["model"] == sha256_of(pretrained / "model.safetensors")
    if task != "vcr":
        rows = pipeline(tmp_path / "model")(all_of(drawn.detected), "where is the red circle ?")
        assert len(rows) == 15


@pytest.mark.slow
@pytest.mark.parametrize("task", MEASURES)
def test_two_processes_measure_and_predict_what_one_does_with_half_the_work(task, pretrained, drawn, tmp_path):
    detected, given = (store._paths[0] for store in (drawn.detected, drawn.given))
    script, known = str(Path(__file__).parent / "evaluate_in_processes.py"), {}
    for num_processes in (1, 2):
        out = tmp_path / str(num_processes)
        out.mkdir()
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(num_processes)]
        arguments = [*launcher, script, task, pretrained, detected, given, drawn.annotations, out]
        environment = ONE_THREAD | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
        done = run([*map(str, arguments)], env=environment)
        assert done.returncode == 0, done.stderr
        known[num_processes] = [json.loads((out / f"{process}.json").read_text()) for process in range(num_processes)]
    (alone,), (first, second) = known[1], known[2]
    assert first["measures"] == second["measures"] == pytest.approx(alone["measures"])
    assert max(first["num_texts"], second["num_texts"]) <= 0.6 * alone["num_texts"]
    for path in (tmp_path / "1/predictions").iterdir():
        ours, theirs = (read_predictions(tmp_path / str(number) / "predictions" / path.name) for number in (2, 1))
        assert ours == theirs


def read_predictions(path: Path) -> list:
    """Rows of either kind of file, numbers to five places."""
    if path.suffix == ".json":
        return json.loads(path.read_text())
    with path.open() as file:
        return [
            [cell if index == 0 else round(float(cell), 5) for index, cell in enumerate(row)]
            for row in list(csv.reader(file))[1:]
        ]


@pytest.mark.slow
def test_a_model_of_mmf_stays_without_a_whole_image(drawn, tmp_path):
    (tmp_path / "start").mkdir()
    VilbertForPreTraining(make_two_stream(**SIZES)).save_pretrained(tmp_path / "start")
    drawn.processor_of_mmf.save_pretrained(tmp_path / "start")
    done = finetune("refcoco", tmp_path / "start", drawn, tmp_path)
    assert done.returncode == 0, done.stderr
    model, processor = load(tmp_path / "model")
    assert not processor.has_whole_image
    rows = {row["image"]: row for row in pipeline(tmp_path / "model")(all_of(drawn.detected), "red circle")}
    pointed = json.loads((tmp_path / "predictions/val.json").read_text())
    assert len(rows) == 15
    assert all(len(one["box"]) == 4 for one in pointed)
    key = next(iter(rows))
    logits = model(**processor(["red circle"], [drawn.detected[key]])).logits[0]
    assert rows[key]["box"] == pytest.approx(drawn.detected[key].boxes[int(logits.argmax())].tolist(), abs=0.05)


@pytest.mark.slow
def test_zero_shot_retrieval_needs_no_training(pretrained, drawn, tmp_path):
    outputs = [tmp_path / "metrics.json", tmp_path / "dropped.csv", tmp_path / "baselines.json"]
    store = drawn.detected._paths[0]
    sections = ["--settings", json.dumps(settings()), "--runtime", json.dumps(runtime())]
    succeed(["-m", "vilbert.tasks.zero_shot", *map(str, [pretrained, store, drawn.annotations, *outputs]), *sections])
    metrics = json.loads(outputs[0].read_text())
    assert metrics["num_images"] == 5
    assert metrics["image_recall_at_5"] == 1
    assert 0.2 <= metrics["commonest_first"] <= 1
    beside = {"num_images", "num_captions", "commonest_first"}
    assert {row["measure"]: row["value"] for row in read_rows(outputs[2])} == {
        name: value for name, value in metrics.items() if name not in beside
    }


@pytest.mark.slow
def test_a_checkpoint_of_other_answers_is_refused(pretrained, drawn, tmp_path):
    assert finetune("vqa", pretrained, drawn, tmp_path).returncode == 0
    vqa = settings()["vqa"] | {"min_answer_count": 1}
    done = finetune("vqa", tmp_path / "model", drawn, tmp_path / "again", vqa=vqa)
    assert done.returncode == 1
    assert "give the model's own list as finetuning.vqa.answers" in done.stderr.strip().splitlines()[-1]


@pytest.mark.slow
def test_annotations_without_any_features_end_in_one_sentence(pretrained, drawn, tmp_path):
    vqa = settings()["vqa"]
    vqa["train"][0]["image_key"] = "COCO_{image_id}"
    done = finetune("vqa", pretrained, drawn, tmp_path, vqa=vqa)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == (
        "error: none of 34 annotations can be used, the first because of 'no_features', COCO_1"
    )


@pytest.fixture
def learnt(drawn, tmp_path):
    """A function: where a model directory lies that has learnt of these regions."""

    def model_of(**regions: str) -> Path:
        path = tmp_path / "learnt"
        VilbertForPreTraining(make_two_stream(**SIZES)).save_pretrained(path)
        drawn.processor.save_pretrained(path)
        (path / "provenance.json").write_text(json.dumps({"regions": regions}))
        return path

    return model_of


@pytest.mark.parametrize("command", ["finetune", "zero_shot", "probe", "predict"])
def test_a_store_of_another_detector_is_refused_by_every_command(command, learnt, drawn, tmp_path):
    """It holds numbers of the same shape, about which a model would answer at random."""
    model, store, outputs = learnt(detector="another"), drawn.detected._paths[0], [tmp_path / name for name in "abcde"]
    section, runtime_section = FinetuningSettings.model_validate(settings()), RuntimeSettings.model_validate(runtime())
    commands = {
        "finetune": lambda: main(
            "vqa",
            model,
            store,
            drawn.annotations,
            *outputs,
            checkpoints=tmp_path / "checkpoints",
            earlier=tmp_path / "earlier",
            settings=section,
            runtime=runtime_section,
        ),
        "zero_shot": lambda: zero_shot(
            model, store, drawn.annotations, *outputs[:3], settings=section, runtime=runtime_section
        ),
        "probe": lambda: probe(model, store, drawn.annotations / "probes/val.csv", outputs[0]),
        "predict": lambda: predict_command(model, store, "a red circle"),
    }
    with pytest.raises(ValueError, match=r"has learnt of other regions .* detector was another, is 0;"):
        commands[command]()
    assert not any(path.exists() for path in outputs)


@pytest.mark.slow
def test_a_pretrained_model_may_choose_among_detections_that_a_file_names(learnt, drawn, tmp_path):
    """No selection chose them, as one chose the regions that it has learnt of; any other task has the latter."""
    model = learnt(detector="0", box_source="proposal")
    refused = finetune("refcoco", model, drawn, tmp_path)
    assert "box_source was proposal, is given" in refused.stderr.strip().splitlines()[-1]
    refcoco = settings()["refcoco"] | {"detections": "refcoco+/detections.json"}
    done = finetune("refcoco", model, drawn, tmp_path, refcoco=refcoco)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_same_weights_with_another_processor_are_another_start(learnt, drawn, tmp_path):
    """As of a checkpoint that was converted anew, with the tokenizer that it should have had."""
    model = learnt()
    assert finetune("refcoco", model, drawn, tmp_path).returncode == 0
    drawn.processor_of_mmf.save_pretrained(model)
    assert finetune("refcoco", model, drawn, tmp_path).returncode == 0
    assert not load(tmp_path / "model")[1].has_whole_image
    assert len(list((tmp_path / "earlier").iterdir())) == 1


@pytest.mark.parametrize("has_whole_image", [True, False])
def test_images_are_ranked_as_the_processor_makes_them(drawn, has_whole_image):
    torch.manual_seed(0)
    model = VilbertForImageTextRetrieval(make_two_stream(**SIZES, initializer_range=0.3)).eval()
    processor = drawn.processor if has_whole_image else drawn.processor_of_mmf
    rows = Pipeline(model, processor, RegionFinder).score(all_of(drawn.detected), "the red circle")
    assert len({row["score"] for row in rows}) > 1
    for row in rows:
        inputs = processor(["the red circle"], [drawn.detected[row["image"]]])
        assert row["score"] == pytest.approx(float(model(**inputs).logits.detach()), abs=2e-4)


class Counting:
    """A held-out split that says how often it was asked."""

    asked = 0

    def predict(self, model):
        self.asked += 1
        return self.asked

    def measure(self, predictions):
        return {"asked": float(predictions)}

    def write(self, predictions, folder, name):
        (folder / name).write_text(str(predictions))


def test_what_was_measured_is_written_without_asking_again(tmp_path):
    data = TaskData(
        training=None,
        evaluation={"val": Counting()},
        count_baselines=None,
        dropped=[],
        unlabelled={"test": Counting()},
    )
    evaluator = TaskEvaluator(data)
    assert evaluator(None) == {"val/asked": 1}
    evaluator.complete(torch.nn.Identity())
    evaluator.write(tmp_path / "predictions")
    assert {path.name: path.read_text() for path in (tmp_path / "predictions").iterdir()} == {"val": "1", "test": "1"}
    evaluator = TaskEvaluator(data)
    evaluator.complete(torch.nn.Identity())
    evaluator.write(tmp_path / "predictions")
    assert (tmp_path / "predictions/val").read_text() == "2"


def test_texts_that_are_longer_than_the_model_takes_are_refused_before_training():
    demand_room(101, num_positions=101)
    with pytest.raises(ValueError, match="max_tokens is 102, the model takes 101 at most"):
        demand_room(102, num_positions=101)


def test_retrieval_is_not_trained_where_it_could_not_be_scored(tmp_path):
    with pytest.raises(ValueError, match="fsdp is true, but retrieval is scored by layers"):
        main(
            "retrieval",
            *[tmp_path] * 8,
            checkpoints=tmp_path,
            earlier=tmp_path / "earlier",
            settings=FinetuningSettings.model_validate(settings()),
            runtime=RuntimeSettings.model_validate(runtime() | {"fsdp": True}),
        )


def test_a_published_head_takes_the_list_that_came_with_it_alone(tmp_path):
    """It knows its answers by number."""
    saved = VilbertForQuestionAnswering(make_two_stream(**SIZES, num_labels=3))
    saved.save_pretrained(tmp_path)
    for answers, are_given in ((["yes", "no", ""], False), (["yes", "no"], True)):
        with pytest.raises(ValueError, match="give the list that came with its weights"):
            build_task_model(MODELS["vqa"], tmp_path, answers=answers, are_answers_given=are_given)
    model = build_task_model(MODELS["vqa"], tmp_path, answers=["yes", "no", ""], are_answers_given=True)
    assert torch.equal(model.answer_head.decoder.weight, saved.answer_head.decoder.weight)
    assert model.config.id2label[2] == ""


def test_a_task_of_one_s_own_says_what_to_start_from_in_place_of_another_head(tmp_path):
    """It has no list of answers that could be given."""
    saved = VilbertForQuestionAnswering(make_two_stream(**SIZES, id2label={0: "yes", 1: "no"}))
    saved.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="start from the model that it was made of, or from another without this head"):
        build_task_model(
            MODELS["vqa"],
            tmp_path,
            answers=["red", "yes"],
            are_answers_given=False,
            is_own=True,
        )


def test_the_answers_travel_with_the_model(pretrained):
    model = build_task_model(MODELS["vqa"], pretrained, answers=["yes", "no", ""], are_answers_given=False)
    assert model.config.num_labels == 3
    assert model.config.id2label == {0: "yes", 1: "no", 2: ""}
    assert model.answer_head.decoder.out_features == 3
