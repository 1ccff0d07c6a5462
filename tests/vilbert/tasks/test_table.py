import json
from pathlib import Path

import pytest
import yaml
from places import ROOT

from vilbert.settings import FinetuningSettings
from vilbert.tasks.table import TaskData, TaskSource, refcoco_data, retrieval_data, vcr_data, vqa_data
from vilbert.tasks.vcr import read_vcr
from vilbert.tasks.vqa import answer_list


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
            processor=drawn.processor,
            settings=FinetuningSettings.model_validate(section),
            cache=tmp_path,
        )

    return make


def ids(data: TaskData) -> tuple[set[str], set[str]]:
    """Questions to learn from, and to measure on."""
    return tuple({one.annotation for one in part.questions} for part in (data.training, data.evaluation["validation"]))


def test_what_is_not_kept_back_of_vqas_validation_is_trained_on(source):
    training, validation = ids(vqa_data(source("vqa", min_answer_count=1)))
    more, kept_back = ids(vqa_data(source("vqa", min_answer_count=1, minival_size=7)))
    assert (len(training), len(validation)) == (34, 25)
    assert kept_back == set(sorted(validation, key=int)[-7:])
    assert more == training | (validation - kept_back)


def test_answers_are_those_of_training_and_validation_together(source, drawn):
    files = [drawn.annotations / f"vqa/v2_drawn_{split}_annotations.json" for split in ("train", "val")]
    data = vqa_data(source("vqa", min_answer_count=3))
    assert data.answers == answer_list(files, min_count=3)
    assert data.answers != answer_list(files[:1], min_count=3)
    assert set(files) < set(data.files)


def test_a_given_list_of_answers_is_taken_as_it_is(source, drawn, tmp_path):
    path = tmp_path / "list.json"
    path.write_text('["no", "yes", ""]')
    data = vqa_data(source("vqa", answers=str(path)))
    assert data.answers == ["no", "yes", ""]
    assert path in data.files


def test_a_test_set_is_there_to_be_answered_alone(source):
    data = vqa_data(source("vqa", min_answer_count=1))
    assert len(data.unlabelled["test"]) == 14
    assert not vqa_data(source("vqa", min_answer_count=1, test=None)).unlabelled
    assert len(vcr_data(source("vcr")).unlabelled["test"].answers) == 4
    assert not vcr_data(source("vcr", test=None)).unlabelled


def test_what_every_split_of_vqa_lacks_is_told(source, drawn, tmp_path):
    questions = json.loads((drawn.annotations / "vqa/v2_OpenEnded_drawn_test_questions.json").read_text())
    questions["questions"].append({"question_id": 5, "image_id": 999, "question": "Why?"})
    (tmp_path / "test.json").write_text(json.dumps(questions))
    split = {"questions": str(tmp_path / "test.json"), "annotations": None, "image_key": "{image_id:012d}"}
    train = [{"questions": str(tmp_path / "cut.json"), "annotations": None, "image_key": "{image_id:012d}"}]
    data = vqa_data(source("vqa", min_answer_count=1, test=split))
    assert data.dropped == [("5", "no_features", "000000000999")]
    (tmp_path / "cut.json").write_text((tmp_path / "test.json").read_text()[:99])
    with pytest.raises(ValueError, match=r"cut\.json is no whole JSON file"):
        vqa_data(source("vqa", min_answer_count=1, train=train))


def test_vcrs_objects_are_regions(source, drawn):
    data = vcr_data(source("vcr"))
    assert data.training.questions == read_vcr(drawn.annotations / "vcr/train.jsonl", seed=1).examples
    assert data.training.given is data.evaluation["validation"].given is drawn.given
    assert {one.answer_label for one in data.unlabelled["test"].questions} == {None}


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
    assert {name: dataset.truth for name, dataset in data.evaluation.items()} == {
        "val": None,
        "testA": None,
        "testB": None,
    }
    assert {one.split for one in data.evaluation["testA"].expressions} == {"testA"}
    with pytest.raises(ValueError, match="holds no expression of the split 'test'"):
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
    assert (len(data.training), len(data.evaluation["validation"])) == (2, 1)
    assert data.evaluation["validation"].nearest is None
    with pytest.raises(ValueError, match="no caption of the split 'minival' whose image has features"):
        retrieval_data(source("retrieval", annotations=tmp_path, captions="captions.json", validation_split="minival"))
