import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from places import REAL

from vilbert.batches.sampling import Draw
from vilbert.model.modeling_tasks import VilbertTaskOutput
from vilbert.tasks.reading import with_features
from vilbert.tasks.vqa import (
    Question,
    VqaDataset,
    answer_list,
    demand_answers,
    demand_own_list,
    image_key_of,
    minival,
    numbered,
    read_answer_list,
    read_questions,
    soft_scores,
)

KEY = "{image_id:012d}"
SAMPLE = REAL / "vqa"


def files(drawn, split):
    folder = drawn.annotations / "vqa"
    return folder / f"v2_OpenEnded_drawn_{split}_questions.json", folder / f"v2_drawn_{split}_annotations.json"


def write(path, name, rows):
    path.write_text(json.dumps({name: rows}))
    return path


def test_drawn_questions_come_with_ten_answers_each(drawn):
    reading = read_questions(*files(drawn, "train"), image_key=KEY)
    assert len(reading.examples) == 34
    assert not reading.dropped
    assert reading.examples[0].image_key == "000000000001"
    assert all(len(question.answers) == 10 for question in reading.examples)


def test_a_test_set_has_no_answers(drawn):
    reading = read_questions(files(drawn, "test")[0], None, image_key=KEY)
    assert reading.examples[0].answers == ()


@pytest.mark.skipif(not SAMPLE.is_dir(), reason=f"no real questions at {SAMPLE}")
def test_real_questions_are_read_whole():
    path = SAMPLE / "v2_OpenEnded_mscoco_val2014_questions_slice.json"
    reading = read_questions(path, None, image_key="COCO_val2014_{image_id:012d}")
    assert len(reading.examples) == 68
    assert reading.examples[0] == Question("262148000", "COCO_val2014_000000262148", "Where is he looking?", ())


@pytest.mark.skipif(not SAMPLE.is_dir(), reason=f"no real answers at {SAMPLE}")
def test_the_real_answer_list_has_the_empty_answer_in_it():
    answers = read_answer_list(SAMPLE / "label2ans.json")
    assert len(answers) == 3129
    assert answers[0] == ""


def test_questions_and_annotations_that_miss_each_other_are_dropped(tmp_path):
    questions = [
        {"question_id": 1, "image_id": 7, "question": "Why?"},
        {"question_id": 2, "image_id": 7, "question": "Who?"},
        {"question_id": 3, "image_id": 7, "question": "  "},
        {"question_id": 4, "image_id": 7, "question": "How?"},
    ]
    annotations = [{"question_id": number, "answers": [{"answer": "yes"}]} for number in (1, 9)]
    annotations += [{"question_id": 1, "answers": [{"answer": "no"}]}, {"question_id": 4, "answers": []}]
    reading = read_questions(
        write(tmp_path / "q.json", "questions", questions),
        write(tmp_path / "a.json", "annotations", annotations),
        image_key=KEY,
    )
    assert [(question.annotation, question.answers) for question in reading.examples] == [("1", ("yes",))]
    assert {(row.annotation, row.reason) for row in reading.dropped} == {
        ("2", "no_annotation"),
        ("3", "empty_question"),
        ("9", "no_question"),
        ("1", "duplicate_annotation"),
        ("4", "no_answer"),
    }


def test_a_question_that_stands_twice_is_asked_once(drawn, tmp_path):
    questions = [{"question_id": 1, "image_id": 1, "question": "Why?"}] * 2
    annotations = [{"question_id": 1, "answers": [{"answer": "yes"}]}]
    reading = read_questions(
        write(tmp_path / "q.json", "questions", questions),
        write(tmp_path / "a.json", "annotations", annotations),
        image_key=KEY,
    )
    kept, dropped = with_features(reading, drawn.detected)
    assert len(kept) == 1
    assert dropped == [("1", "duplicate_id", "1")]


def test_another_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="holds no list 'questions'"):
        read_questions(write(tmp_path / "q.json", "images", []), None, image_key=KEY)
    with pytest.raises(ValueError, match=r"q\.json, questions: row 0 has no 'image_id'"):
        read_questions(write(tmp_path / "q.json", "questions", [{"question_id": 5}]), None, image_key=KEY)
    path = write(tmp_path / "a.json", "annotations", [{"question_id": 5, "answers": ["yes"]}])
    with pytest.raises(ValueError, match="row 0 has no 'multiple_choice_answer'"):
        answer_list([path], min_count=1)


def test_odd_rows_are_dropped_with_what_is_odd(tmp_path):
    questions = [
        {"question_id": 1, "image_id": 7, "question": "Why?"},
        {"question_id": 2.0, "image_id": "7", "question": "Who?"},
        {"question_id": 3, "image_id": "seven", "question": "How?"},
        {"question_id": 4, "image_id": 7, "question": None},
        {"question_id": None, "image_id": 7, "question": "When?"},
        {"question_id": 6, "image_id": 7, "question": "\ud83d?"},
        {"question_id": "q7", "image_id": 7, "question": "Where?"},
        {"question_id": 8, "image_id": 7, "question": "Which?"},
    ]
    annotations = [{"question_id": number, "answers": [{"answer": "yes"}]} for number in (1, "2", 3, 4, 6, "q7")]
    annotations[0]["answers"].append({"answer": 2})
    annotations += [{"question_id": 8, "answers": [{"answer": "yes"}, {"answer": None}]}]
    annotations += [{"question_id": 8, "answers": ["yes"]}, {"question_id": 8, "answers": None}]
    kept, dropped = read_questions(
        write(tmp_path / "q.json", "questions", questions),
        write(tmp_path / "a.json", "annotations", annotations),
        image_key=KEY,
    )
    assert kept == [
        Question("1", "000000000007", "Why?", ("yes", "2")),
        Question("2", "000000000007", "Who?", ("yes",)),
        Question("q7", "000000000007", "Where?", ("yes",)),
    ]
    assert dropped == [
        ("8", "bad_value", "a.json: answer is None, expected a text"),
        ("8", "bad_value", "a.json: answers: row 0 has no 'answer', expected answer"),
        ("8", "bad_value", "a.json: answers are no list"),
        ("3", "bad_value", "image_id is 'seven', expected a number for '{image_id:012d}'"),
        ("4", "bad_value", "question is None, expected a text"),
        ("row 4", "bad_value", "question_id is None, expected a text"),
        ("6", "bad_value", r"question is '\ud83d?', which is no Unicode: surrogates not allowed"),
        ("8", "no_annotation", "a.json"),
    ]


@pytest.mark.parametrize(
    ("image_id", "image_key", "expected"),
    [
        ("042", "{image_id}", "042"),
        ("042", "x_{image_id:05}", "x_00042"),
        (42, "{image_id}", "42"),
        (42.0, "{image_id:5d}", "   42"),
    ],
)
def test_an_image_is_called_as_the_pattern_says_whether_its_id_is_a_number_or_a_text(image_id, image_key, expected):
    assert image_key_of({"image_id": image_id}, image_key) == expected


@pytest.mark.parametrize(
    ("question_id", "expected"), [("262148000", 262148000), ("q7", "q7"), ("007", "007"), ("-1", "-1"), ("²", "²")]
)
def test_an_id_that_is_a_number_is_written_as_one(question_id, expected):
    """The challenge's server asks for that."""
    assert numbered(question_id) == expected


def test_a_list_of_answers_is_read_in_the_words_that_answers_are_compared_in(tmp_path):
    """A list with capitals left 131 of 150 questions without a target: accuracy 0.0, and nothing said."""
    (tmp_path / "list.json").write_text('["Yes", "Two", "a Red ball.", "", 3]')
    assert read_answer_list(tmp_path / "list.json") == ["yes", "2", "red ball", "", "3"]
    (tmp_path / "list.json").write_text('["yes", "Yes"]')
    with pytest.raises(ValueError, match="holds 'yes' more than once"):
        read_answer_list(tmp_path / "list.json")
    (tmp_path / "list.json").write_text('["yes", null]')
    with pytest.raises(ValueError, match=r"list\.json holds no list of answers: answer 1 is None"):
        read_answer_list(tmp_path / "list.json")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(ValueError, match=r"list\.json holds no list of answers"):
        read_answer_list(tmp_path / "list.json")


def test_the_answer_list_has_what_is_common_the_commonest_first(tmp_path):
    given = ["Yes"] * 4 + ["no."] * 3 + ["no"] * 2 + ["rare"]
    rows = [{"multiple_choice_answer": answer} for answer in given]
    path = write(tmp_path / "a.json", "annotations", rows)
    assert answer_list([path], min_count=4) == ["no", "yes"]
    assert answer_list([path, path], min_count=2) == ["no", "yes", "rare"]
    numbers = write(
        tmp_path / "b.json", "annotations", [{"multiple_choice_answer": 2}, {"multiple_choice_answer": "two"}]
    )
    assert answer_list([numbers], min_count=2) == ["2"]
    nothing = write(tmp_path / "c.json", "annotations", [*rows, {"multiple_choice_answer": None}])
    with pytest.raises(ValueError, match=r"c\.json, annotations: row 10: multiple_choice_answer is None"):
        answer_list([nothing], min_count=2)
    with pytest.raises(ValueError, match="no answer stands 11 times"):
        answer_list([path], min_count=11)


def test_soft_scores_by_hand():
    answers = ["cat"] * 4 + ["A dog"] * 3 + ["bird"] * 2 + ["fish"]
    assert soft_scores(answers, {"cat": 0, "dog": 1, "bird": 2}) == {0: 1.0, 1: pytest.approx(0.9), 2: 0.6}


def test_minival_keeps_the_highest_ids_back():
    questions = [Question(number, "x", "?", ()) for number in ("b", "5", "30", "a", "100", "7")]
    assert [one.annotation for one in minival(questions, size=3)[1]] == ["100", "a", "b"]
    questions = [one for one in questions if one.annotation.isdecimal()]
    training, held_out = minival(questions, size=2)
    assert [one.annotation for one in held_out] == ["30", "100"]
    assert [one.annotation for one in training] == ["5", "7"]
    with pytest.raises(ValueError, match="minival_size is 4, expected less than the 4 questions"):
        minival(questions, size=4)


def test_the_answers_of_another_checkpoint_are_refused():
    demand_answers({0: "yes", 1: "no"}, ["yes", "no"])
    with pytest.raises(ValueError, match="answer 0 is 'yes' and 'no'"):
        demand_answers({0: "yes", 1: "no"}, ["no", "yes"])
    with pytest.raises(ValueError, match="knows 2 answers, the list has 3"):
        demand_answers({0: "yes", 1: "no"}, ["yes", "no", "two"])


def test_a_head_without_names_takes_the_list_that_is_given_with_it_alone():
    demand_own_list(2, ["yes", "no"], is_given=True)
    for answers, is_given in ((["yes", "no"], False), (["yes", "no", "two"], True)):
        with pytest.raises(ValueError, match=rf"knows 2 answers, but not their names, the list has {len(answers)}"):
            demand_own_list(2, answers, is_given=is_given)


def test_an_answer_that_stands_twice_is_an_error(tmp_path):
    (tmp_path / "list.json").write_text('["yes", "no", "yes"]')
    with pytest.raises(ValueError, match="holds 'yes' more than once"):
        read_answer_list(tmp_path / "list.json")


class SecondAnswer(torch.nn.Module):
    """Says the same whatever is asked."""

    def __init__(self, num_answers):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.num_answers = num_answers

    def forward(self, **inputs):
        logits = torch.zeros(len(inputs["input_ids"]), self.num_answers)
        logits[:, 1] = 1
        return VilbertTaskOutput(logits=logits)


def dataset(drawn, answers):
    questions = read_questions(*files(drawn, "val"), image_key=KEY).examples
    return VqaDataset(questions, drawn.detected, drawn.processor, answers=answers, max_tokens=29)


def test_a_batch_has_a_score_for_every_answer(drawn):
    data = dataset(drawn, ["yes", "no", "red"])
    batch = data.__getitems__([Draw(0, example) for example in range(7)])
    assert batch["labels"].shape == (7, 3)
    assert batch["input_ids"].shape[0] == len(batch["visual_features"]) == 7
    assert batch["input_ids"].shape[1] <= 29
    expected = soft_scores(data.questions[3].answers, {"yes": 0, "no": 1, "red": 2})
    np.testing.assert_allclose(batch["labels"][3], [expected.get(index, 0) for index in range(3)])


def test_a_model_without_a_whole_image_gets_none(drawn):
    data = dataset(drawn, ["yes"])
    bare = VqaDataset(data.questions, drawn.detected, drawn.processor_of_mmf, answers=["yes"], max_tokens=29)
    for name in ("visual_features", "visual_boxes", "visual_attention_mask"):
        assert torch.equal(bare.batch([0, 7])[name], data.batch([0, 7])[name][:, 1:])


def test_a_question_is_answered_by_its_id_whether_that_is_a_number_or_a_text(drawn):
    """A text ended a fine-tune after its last step."""
    first, second, *_ = dataset(drawn, ["yes", "no"]).questions
    questions = [replace(first, annotation="q7"), replace(second, annotation="11")]
    data = VqaDataset(questions, drawn.detected, drawn.processor, answers=["yes", "no"], max_tokens=29)
    predictions = data.predict(SecondAnswer(2))
    assert predictions == [{"question_id": "q7", "answer": "no"}, {"question_id": 11, "answer": "no"}]


def test_predictions_and_accuracy_by_hand(drawn):
    data = dataset(drawn, ["yes", "no", "red"])
    model = SecondAnswer(3)
    predictions = data.predict(model)
    assert [one["question_id"] for one in predictions] == [int(one.annotation) for one in data.questions]
    assert {one["answer"] for one in predictions} == {"no"}
    unanimous = [question.answers.count("no") for question in data.questions]
    at_least = 100 * np.mean([count == 10 for count in unanimous])
    at_most = 100 * np.mean([count > 0 for count in unanimous])
    assert at_least <= data.measure(predictions)["accuracy"] <= at_most


class ByLength(torch.nn.Module):
    """Its answer's number is the number of tokens."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, **inputs):
        return VilbertTaskOutput(logits=torch.eye(30)[inputs["attention_mask"].sum(-1)])


def test_each_question_gets_its_own_answer(drawn, tmp_path):
    data = dataset(drawn, [str(number) for number in range(30)])
    assert len(set(data.lengths)) > 1
    data.write(data.predict(ByLength()), tmp_path, "test")
    rows = json.loads((tmp_path / "test.json").read_text())
    assert rows == [
        {"question_id": int(question.annotation), "answer": str(length)}
        for question, length in zip(data.questions, data.lengths, strict=True)
    ]
