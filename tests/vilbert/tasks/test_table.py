import json
from collections import Counter
from pathlib import Path

import pytest
import yaml
from places import ROOT

from vilbert.baselines.rows import COLUMNS, KINDS
from vilbert.settings import FinetuningSettings
from vilbert.tasks.finetune import baseline_rows
from vilbert.tasks.table import TASKS, refcoco_data, retrieval_data, vcr_data, vqa_data
from vilbert.tasks.task import TaskData, TaskSource
from vilbert.tasks.vcr import read_vcr
from vilbert.tasks.vqa import answer_list
from vilbert.tasks.vqa_baselines import commonest_answer

RANKS = ("recall_at_1", "recall_at_5", "recall_at_10", "median_rank")
MEASURES = {
    "vqa": {"accuracy"},
    "vcr": {"answer", "rationale", "both"},
    "refcoco": {"accuracy"},
    "retrieval": {f"{what}_{name}" for what in ("image", "text") for name in RANKS},
}


@pytest.fixture
def source(drawn, tmp_path):
    """Makes the sources of a task by changes of the default settings of it."""

    def make(task: str, *, annotations: Path = drawn.annotations, **changed) -> TaskSource:
        section = yaml.safe_load((ROOT / "config.yaml").read_text())["finetuning"]
        section[task] |= changed
        return TaskSource(
            annotations=annotations,
            store=drawn.detected,
            given=drawn.given,
            turned=frozenset(),
            processor=drawn.processor,
            settings=FinetuningSettings.model_validate(section),
            cache=tmp_path,
        )

    return make


def ids(data: TaskData) -> tuple[set[str], set[str]]:
    """Questions to learn from, and to measure on."""
    parts = (data.training, data.evaluation["validation"].data)
    return tuple({one.annotation for one in part.questions} for part in parts)


def test_what_is_not_kept_back_of_vqas_validation_is_trained_on(source):
    training, validation = ids(vqa_data(source("vqa", min_answer_count=1)))
    more, kept_back = ids(vqa_data(source("vqa", min_answer_count=1, minival_size=7)))
    assert (len(training), len(validation)) == (34, 24)
    assert kept_back == set(sorted(validation, key=int)[-7:])
    assert more == training | (validation - kept_back)


def test_answers_are_those_of_training_and_validation_together(source, drawn):
    files = [drawn.annotations / f"vqa/v2_drawn_{split}_annotations.json" for split in ("train", "val")]
    said = [row["multiple_choice_answer"] for path in files for row in json.loads(path.read_text())["annotations"]]
    (commonest, count), *_ = Counter(said).most_common()
    assert commonest in vqa_data(source("vqa", min_answer_count=count)).answers
    with pytest.raises(ValueError, match="no answer stands"):
        answer_list(files[:1], min_count=count)
    data = vqa_data(source("vqa", min_answer_count=3))
    assert data.answers == answer_list(files, min_count=3)
    assert set(files) < set(data.files)


def test_a_given_list_of_answers_is_taken_as_it_is(source, drawn, tmp_path):
    path = tmp_path / "list.json"
    path.write_text('["no", "yes", ""]')
    data = vqa_data(source("vqa", answers=str(path)))
    assert data.answers == ["no", "yes", ""]
    assert path in data.files


def test_a_list_that_has_no_answer_of_the_questions_is_refused(source, tmp_path):
    (tmp_path / "list.json").write_text('["rot", "blau"]')
    with pytest.raises(ValueError, match="no answer to 34 questions is one of the 2 of the list, such as 'rot'"):
        vqa_data(source("vqa", answers=str(tmp_path / "list.json")))


def test_a_test_set_is_there_to_be_answered_alone(source):
    data = vqa_data(source("vqa", min_answer_count=1))
    assert data.unlabelled["test"].num_examples == 14
    assert not vqa_data(source("vqa", min_answer_count=1, test=None)).unlabelled
    assert len(vcr_data(source("vcr")).unlabelled["test"].data.answers) == 4
    assert not vcr_data(source("vcr", test=None)).unlabelled


def test_what_every_split_of_vqa_lacks_is_told(source, drawn, tmp_path):
    questions = json.loads((drawn.annotations / "vqa/v2_OpenEnded_drawn_test_questions.json").read_text())
    questions["questions"].append({"question_id": 5, "image_id": 999, "question": "Why?"})
    (tmp_path / "test.json").write_text(json.dumps(questions))
    split = {"questions": str(tmp_path / "test.json"), "annotations": None, "image_key": "{image_id:012d}"}
    train = [{"questions": str(tmp_path / "cut.json"), "annotations": None, "image_key": "{image_id:012d}"}]
    data = vqa_data(source("vqa", min_answer_count=1, test=split))
    assert data.dropped == [("5", "no_features", "000000000999")]
    test = data.unlabelled["test"]
    assert test.unseen == [{"question_id": 5, "answer": commonest_answer(data.training)}]
    assert (len(test.data), test.num_examples) == (14, 15)
    (tmp_path / "cut.json").write_text((tmp_path / "test.json").read_text()[:99])
    with pytest.raises(ValueError, match=r"cut\.json is no whole JSON file"):
        vqa_data(source("vqa", min_answer_count=1, train=train))


def test_what_is_kept_back_does_not_depend_on_which_images_have_features(source, drawn, tmp_path):
    """A question of the training half whose image has none is dropped, one that is kept back counts as wrong."""
    split = {"image_key": "{image_id:012d}"}
    for name in ("questions", "annotations"):
        prefix = "v2_OpenEnded_drawn" if name == "questions" else "v2_drawn"
        content = json.loads((drawn.annotations / f"vqa/{prefix}_val_{name}.json").read_text())
        rows = sorted(content[name], key=lambda row: row["question_id"])
        rows[0]["image_id"] = rows[-1]["image_id"] = 999
        (tmp_path / f"{name}.json").write_text(json.dumps(content | {name: rows}))
        split[name] = str(tmp_path / f"{name}.json")
    data = vqa_data(source("vqa", min_answer_count=1, minival_size=7, validation=split))
    first, last = (str(rows[place]["question_id"]) for place in (0, -1))
    held_out = data.evaluation["validation"]
    assert [row["question_id"] for row in held_out.unseen] == [int(last)]
    assert held_out.num_examples == 7
    assert first not in {one.annotation for one in data.training.questions}
    assert {row.annotation for row in data.dropped} == {first, last}


def test_vcrs_rows_without_features_have_their_line_in_what_is_held_out_alone(source, drawn, tmp_path):
    changed = {}
    for name, split in (("train", "train"), ("validation", "val"), ("test", "test")):
        rows = [json.loads(line) for line in (drawn.annotations / f"vcr/{split}.jsonl").read_text().splitlines()]
        rows[0]["img_fn"] = "gone.jpg"
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        changed[name] = str(tmp_path / f"{split}.jsonl")
    data = vcr_data(source("vcr", **changed))
    assert {row.annotation for row in data.dropped} == {"train-0", "val-0", "test-0"}
    for split, held_out in (("val", data.evaluation["validation"]), ("test", data.unlabelled["test"])):
        (row,) = held_out.unseen
        assert row.pop("annot_id") == f"{split}-0"
        assert set(row.values()) == {0.25}
        assert len(row) == 4 + 4 * 4
        assert held_out.num_examples == len(held_out.data.questions) + 1
    assert "train-0" not in {one.annotation for one in data.training.questions}


def test_refcocos_rows_without_features_point_at_nothing(source, drawn, tmp_path):
    instances = json.loads((drawn.annotations / "refcoco+/instances.json").read_text())
    before = refcoco_data(source("refcoco")).evaluation["val"]
    gone = before.data.expressions[0].image_key
    for image in instances["images"]:
        if Path(image["file_name"]).stem == gone:
            image["file_name"] = "gone.jpg"
    (tmp_path / "instances.json").write_text(json.dumps(instances))
    data = refcoco_data(source("refcoco", instances=str(tmp_path / "instances.json")))
    after = data.evaluation["val"]
    lost = [one.annotation for one in before.data.expressions if one.image_key == gone]
    assert [row["annotation"] for row in after.unseen] == lost
    assert all(row["overlap"] == 0 for row in after.unseen)
    assert after.num_examples == before.num_examples
    assert set(lost) <= {row.annotation for row in data.dropped}


@pytest.mark.parametrize("task", ["vqa", "vcr", "refcoco", "retrieval"])
def test_every_measure_of_every_task_has_all_columns(source, task):
    """RefCOCO+'s upper_bound is no measure of its own but the ceiling of one."""
    changed = {"min_answer_count": 1} if task == "vqa" else {}
    data = TASKS[task](source(task, **changed))
    measured = {f"{split}/{name}": 0.5 for split in data.evaluation for name in MEASURES[task]}
    rows = baseline_rows(data, measured)
    assert {(row["split"], row["measure"]) for row in rows} == {
        (split, name) for split in data.evaluation for name in MEASURES[task]
    }
    for row in rows:
        assert list(row) == COLUMNS
        empty = {kind for kind in COLUMNS if row[kind] is None}
        assert empty == ({"blind"} if task == "refcoco" else set())
        if "median_rank" not in row["measure"]:
            assert row["ceiling"] >= max(row[kind] or 0 for kind in KINDS)
        assert (row["num_examples"] > 0, row["num_dropped"]) == (True, 0)


def test_vcrs_objects_are_regions(source, drawn):
    data = vcr_data(source("vcr"))
    assert data.training.questions == read_vcr(drawn.annotations / "vcr/train.jsonl", seed=1).examples
    assert data.training.given is data.evaluation["validation"].data.given is drawn.given
    assert {one.answer_label for one in data.unlabelled["test"].data.questions} == {None}


def test_vcrs_names_follow_the_seed(source, tmp_path):
    words = [[[0], "runs"]] * 4
    row = {"annot_id": "a", "img_fn": "000000000001.jpg", "objects": ["person"], "question": [[0], "?"]}
    row |= {"answer_choices": words, "rationale_choices": words, "answer_label": 0, "rationale_label": 0}
    path = tmp_path / "all.jsonl"
    path.write_text(json.dumps(row))
    data = vcr_data(source("vcr", train=str(path), validation=str(path), test=None))
    assert data.training.questions == read_vcr(path, seed=1).examples != read_vcr(path, seed=0).examples


def test_annotated_boxes_are_refcocos_candidates_in_training_alone(source, drawn):
    data = refcoco_data(source("refcoco"))
    assert data.training.truth is drawn.given
    assert {name: dataset.data.truth for name, dataset in data.evaluation.items()} == {
        "val": None,
        "testA": None,
        "testB": None,
    }
    assert {one.split for one in data.evaluation["testA"].data.expressions} == {"testA"}
    with pytest.raises(ValueError, match="holds nothing of the split 'test' whose image has features"):
        refcoco_data(source("refcoco", validation_splits=["test"]))


def test_captions_that_cannot_be_used_are_counted_once(source, tmp_path):
    images = [
        {
            "filename": f"{number:012d}.jpg",
            "imgid": number,
            "split": split,
            "sentences": [{"sentid": number, "raw": raw}],
        }
        for number, split, raw in (
            (1, "train", "a dog"),
            (2, "restval", "a cat"),
            (3, "train", " "),
            (9, "val", "a red dog"),
            (900, "val", "no features"),
            (901, "test", "of no interest"),
        )
    ]
    (tmp_path / "captions.json").write_text(json.dumps({"images": images}))
    data = retrieval_data(source("retrieval", annotations=tmp_path, captions="captions.json"))
    assert sorted(data.dropped) == [("3", "empty_caption", "' '"), ("900", "no_features", "000000000900")]
    assert (len(data.training), len(data.evaluation["validation"])) == (2, 2)
    assert data.evaluation["validation"].columns_seen == [0]
    assert data.evaluation["validation"].nearest is None
    with pytest.raises(ValueError, match="nothing of the split 'minival' whose image has features"):
        retrieval_data(source("retrieval", annotations=tmp_path, captions="captions.json", validation_split="minival"))
