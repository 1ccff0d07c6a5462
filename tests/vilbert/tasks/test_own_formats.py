"""Tasks of one's own that are measured as published ones are: questions, captions, expressions, SNLI-VE."""

import json

import pytest
import torch
from task_world import KEYS, reasons

from vilbert.batches.sampling import Draw
from vilbert.model.modeling_tasks import VilbertForQuestionAnswering
from vilbert.tasks import own_grounding, own_retrieval, own_vqa, snli_ve
from vilbert.tasks.table import KINDS, kind_named, models_of


def test_one_answer_a_question_is_right_or_wrong(own_source):
    lines = [
        "file,question,answer,split",
        f"{KEYS[0]}.jpg,what ?,Two,train",
        f"{KEYS[1]}.jpg,what ?,a cat,train",
        f"{KEYS[2]}.jpg,,cat,train",
        f"{KEYS[3]}.jpg,what ?,,train",
        f"{KEYS[4]}.jpg,what ?,2,val",
        f"{KEYS[5]}.jpg,what ?,dog,val",
        f"{KEYS[6]}.jpg,what ?,,test",
        "gone.jpg,what ?,cat,val",
    ]
    data = own_vqa.KIND.data(*own_source("\n".join(lines), kind="vqa"))
    assert data.answers == ["2", "cat"]
    assert data.training.__getitems__([Draw(0, 0), Draw(0, 1)])["labels"].tolist() == [[1, 0], [0, 1]]
    assert reasons(data) == {
        "line 4": "empty_question",
        "line 5": "no_answer",
        "line 7": "unknown_answer",
        "line 9": "no_features",
    }
    held_out = data.evaluation["val"]
    right = [{"answer": "2"}, {"answer": "cat"}, *held_out.unseen]
    assert held_out.measure(right)["accuracy"] == pytest.approx(100 / 3)
    assert data.count_baselines().of(held_out).ceiling["accuracy"] == pytest.approx(100 / 3)
    assert list(data.unlabelled) == ["test"]


def test_an_answer_of_which_nothing_would_be_left_is_kept_as_it_is(own_source):
    """A is an article to the official evaluator, and one of four choices to others."""
    lines = [
        f"{KEYS[i]}.jpg,which ?,{answer},{split}"
        for i, (answer, split) in enumerate(
            [("A", "train"), ("B", "train"), ("?", "train"), ("the", "train"), ("a", "val"), ("B", "val")]
        )
    ]
    data = own_vqa.KIND.data(*own_source("\n".join(["file,question,answer,split", *lines]), kind="vqa"))
    assert data.answers == ["?", "a", "b", "the"]
    assert [list(scores) for scores in data.training.scores] == [[1], [2], [0], [3]]
    held_out = data.evaluation["val"]
    assert held_out.measure([{"answer": "a"}, {"answer": "the"}])["accuracy"] == 50
    assert data.count_baselines().of(held_out).ceiling["accuracy"] == 100


def test_ten_answers_have_the_official_score_and_a_test_set_is_answered_whole_or_not_at_all(own_source):
    ten = "/".join(["red"] * 2 + ["blue"] * 8)
    lines = [
        "file,question,answer,split",
        f"{KEYS[0]}.jpg,which ?,{ten},train",
        f"{KEYS[1]}.jpg,which ?,{ten},val",
        f"{KEYS[2]}.jpg,which ?,red,test",
        f"{KEYS[3]}.jpg,which ?,,test",
    ]
    data = own_vqa.KIND.data(*own_source("\n".join(lines), kind="vqa", separator="/"))
    assert data.training.scores == [{data.answers.index("red"): 0.6, data.answers.index("blue"): 1.0}]
    assert data.evaluation["val"].measure([{"answer": "red"}])["accuracy"] == 60
    assert (data.evaluation["test"].num_examples, data.unlabelled, reasons(data)) == (1, {}, {"line 5": "no_answer"})


def test_captions_of_one_s_own_rank_the_pictures_of_their_split(own_source):
    lines = [f"{key}.jpg,a thing number {number},{'train' if number < 4 else 'val'}" for number, key in enumerate(KEYS)]
    data = own_retrieval.KIND.data(*own_source("\n".join(["file,caption,split", *lines, f"{KEYS[0]}.jpg,,train"])))
    assert reasons(data) == {"line 9": "empty_caption"}
    assert data.evaluation["val"].keys == KEYS[4:]
    assert data.evaluation["val"].measure(torch.eye(3))["image_recall_at_1"] == 1
    assert data.training.__getitems__([Draw(0, 0)])["input_ids"].shape[:2] == (1, 4)


def test_a_box_that_is_not_in_the_picture_in_pixels_is_a_row_with_its_reason(own_source, drawn):
    box = ",".join(str(value) for value in drawn.detected[KEYS[0]].boxes[2])
    lines = [
        "file,expression,x1,y1,x2,y2,split",
        f"{KEYS[0]}.jpg,the one,{box},train",
        f"{KEYS[0]}.jpg,the one,0.1,0.2,0.5,0.5,train",  # fractions
        f"{KEYS[0]}.jpg,the one,10,10,90,20,train",  # of 64
        f"{KEYS[0]}.jpg,the one,10,10,nan,20,train",
        f"{KEYS[0]}.jpg,the one,20,20,10,10,train",
        f"{KEYS[0]}.jpg,,{box},train",
        f"{KEYS[1]}.jpg,the one,0,0,64,64,val",
        f"{KEYS[0]}.jpg,the one,0,0,1,1,train",  # fractions of all of it
    ]
    data = own_grounding.KIND.data(*own_source("\n".join(lines), kind="grounding"))
    assert reasons(data) == {f"line {line}": "bad_box" for line in (3, 4, 5, 6, 9)} | {"line 7": "empty_expression"}
    labels = data.training.__getitems__([Draw(0, 0)])["labels"][0]
    assert labels.argmax() == 3  # the whole image is region 0
    assert labels.max() == pytest.approx(1)
    assert data.evaluation["val"].num_examples == 1


@pytest.fixture
def entailments(own_source, tmp_path):
    """The three files of SNLI-VE with a row or two each."""

    def make(**changed):
        rows = {
            "train": [("0", "entailment"), ("1", "neutral"), ("2", "contradiction"), ("3", "-")],
            "dev": [("4", "neutral")],
            "test": [("5", "entailment")],
        }
        (tmp_path / "snli_ve").mkdir(exist_ok=True)
        for split, of_split in rows.items():
            lines = [
                {
                    "Flickr30K_ID": KEYS[int(number)],
                    "pairID": f"{split} {number}",
                    "sentence2": "A thing is there.",
                    "gold_label": label,
                }
                | changed.get(split, {})
                for number, label in of_split
            ]
            text = "".join(json.dumps(line) + "\n" for line in lines)
            (tmp_path / f"snli_ve/snli_ve_{split}.jsonl").write_text(text)
        return own_source("", name="unused.csv", kind="snli_ve", table="snli_ve")

    return make


def test_snli_ve_is_a_classification_with_three_labels(entailments, tmp_path):
    data = snli_ve.KIND.data(*entailments())
    assert data.answers == ["contradiction", "entailment", "neutral"]
    assert (len(data.training), list(data.evaluation)) == (3, ["val", "test"])
    assert reasons(data) == {"train 3": "undecided"}
    assert snli_ve.KIND.pictures(tmp_path / "snli_ve") == [f"{key}.jpg" for key in KEYS[:6]]


def test_a_value_of_snli_ve_that_is_no_text_is_a_row_with_its_reason(entailments):
    data = snli_ve.KIND.data(*entailments(test={"sentence2": None}, train={}, dev={}))
    assert reasons(data) == {"train 3": "undecided", "snli_ve_test.jsonl, row 0": "bad_value"}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_found_by_its_name_and_by_its_module(name):
    assert kind_named(name) is kind_named(KINDS[name])


@pytest.mark.parametrize("name", ["classifcation", "vilbert.tasks.metrics", "no.such.module"])
def test_a_kind_that_is_none_is_refused_with_those_that_there_are(name):
    with pytest.raises(ValueError, match=f"kind is '{name}', expected one of classification, vqa, retrieval"):
        kind_named(name)


def test_a_mistake_inside_a_module_of_one_s_own_is_told_as_it_is(tmp_path, monkeypatch):
    (tmp_path / "my_kind_with_a_mistake.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        kind_named("my_kind_with_a_mistake")


def test_a_task_of_one_s_own_has_the_model_of_its_kind(own_source):
    source, _ = own_source("file,question,answer\n", kind="vqa")
    assert models_of("mine", source.settings)[0] is VilbertForQuestionAnswering
