import json

import numpy as np
import pytest
import torch
from places import REAL
from small_configs import make_two_stream

from vilbert.batches.sampling import Draw
from vilbert.model.modeling_tasks import VilbertForMultipleChoice, VilbertTaskOutput
from vilbert.tasks.vcr import FIELDS, LABELS, NAMES, VcrDataset, in_words, object_names, read_vcr

SAMPLE = REAL / "gd_vcr/first_500.jsonl"


def dataset(drawn, split="val", *, given=True):
    questions = read_vcr(drawn.annotations / f"vcr/{split}.jsonl", seed=1, has_labels=split != "test").examples
    return VcrDataset(questions, drawn.detected, drawn.processor, given=drawn.given if given else None, max_tokens=101)


def row(**changed) -> dict:
    choices = [[[0], "runs"], [[1], "runs"], [[0], "sits"], [[1], "sits"]]
    return {
        "annot_id": "val-7",
        "img_fn": "movie/x@0.jpg",
        "objects": ["person", "dog"],
        "question": ["Why", "is", [0, 1], "here", "?"],
        "answer_choices": choices,
        "rationale_choices": choices,
        "answer_label": 1,
        "rationale_label": 2,
    } | changed


def read(tmp_path, *rows):
    path = tmp_path / "val.jsonl"
    path.write_text("".join(one if isinstance(one, str) else json.dumps(one) + "\n" for one in rows))
    return read_vcr(path, seed=1)


def test_objects_are_named_and_persons_keep_their_name(tmp_path):
    ((question,), _) = read(tmp_path, row())
    name = question.answers[0].split()[0]
    assert name in NAMES
    assert question.question == f"Why is {name} and dog here ?"
    assert question.answers[1] == "dog runs"
    assert (question.image_key, question.answer_label, question.rationale_label) == ("x@0", 1, 2)


def test_names_are_fixed_by_seed_and_image():
    kinds = ["person"] * 5 + ["dog"]
    names = object_names(kinds, seed=1, image_key="a")
    assert names == object_names(kinds, seed=1, image_key="a")
    assert names != object_names(kinds, seed=2, image_key="a")
    assert names != object_names(kinds, seed=1, image_key="b")
    assert len(set(names[:5])) == 5
    assert names[5] == "dog"


def test_with_more_persons_than_names_the_others_are_persons():
    names = object_names(["person"] * 37, seed=1, image_key="a")
    assert names.count("person") == 37 - len(NAMES)


def test_an_empty_token_is_left_out():
    assert in_words(["a", "", [0]], ["dog"]) == "a dog"


def test_what_cannot_be_read_is_dropped_by_its_id(tmp_path):
    reading = read(
        tmp_path,
        row(annot_id="a", question=[[2], "runs"]),
        row(annot_id="b", question=["", " "]),
        row(annot_id="c", answer_choices=[["one"]]),
        '{"cut": \n',
        row(annot_id="e"),
        row(annot_id="f", question="Why?"),
        row(annot_id="g", question=[0, "runs"]),
        row(annot_id="h", objects=None),
    )
    assert [one.annotation for one in reading.examples] == ["e"]
    assert [(one.annotation, one.reason, one.detail) for one in reading.dropped if one.reason == "bad_text"] == [
        ("a", "bad_text", "objects [2] are named, the image has 2"),
        ("b", "bad_text", "a text has no word"),
        ("c", "bad_text", "answer_choices are 1, expected 4"),
        ("f", "bad_text", "a text is 'Why?', expected a list of words"),
        ("g", "bad_text", "objects 0 are named, the image has 2"),
        ("h", "bad_text", "objects is None, expected a list"),
    ]
    assert ("line 4", "no_json") in [(one.annotation, one.reason) for one in reading.dropped]


def test_a_label_that_is_none_of_the_choices_is_dropped(tmp_path):
    unlabelled = row(annot_id="c")
    del unlabelled["rationale_label"]
    reading = read(tmp_path, row(annot_id="a"), row(annot_id="b", answer_label=4), unlabelled)
    assert [one.annotation for one in reading.examples] == ["a"]
    assert reading.dropped == [
        ("b", "bad_label", "answer_label is 4, expected 0 to 3"),
        ("c", "bad_label", "rationale_label is None, expected 0 to 3"),
    ]


@pytest.mark.parametrize("label", [True, "1", 1.5, float("nan"), [1], None])
def test_a_label_that_is_no_number_is_dropped(tmp_path, label):
    (), ((_, reason, _),) = read(tmp_path, row(rationale_label=label))
    assert reason == "bad_label"


def test_numbers_that_a_table_has_made_fractions_of_are_numbers(tmp_path):
    """2.0 passed as a label, and ended the training as the index that it is none of."""
    ((question,), dropped) = read(tmp_path, row(answer_label=1.0, rationale_label=2.0, question=["Why", [1.0], "?"]))
    assert (question.answer_label, question.rationale_label, dropped) == (1, 2, [])
    assert [type(label) for label in (question.answer_label, question.rationale_label)] == [int, int]
    assert question.question == "Why dog ?"


def test_odd_rows_are_dropped_with_what_is_odd(tmp_path):
    odd = {"img_fn": None, "objects": ["dog", 2.5, None], "question": ["Why", "\ud83d"], "annot_id": None}
    kept, dropped = read(tmp_path, *(row(**({"annot_id": name} | {name: value})) for name, value in odd.items()))
    assert not kept
    assert dropped == [
        ("img_fn", "bad_text", "img_fn is None, expected a text"),
        ("objects", "bad_text", "an object is None, expected a text"),
        ("question", "bad_text", r"a word is '\ud83d', which is no Unicode: surrogates not allowed"),
        ("line 4", "bad_text", "annot_id is None, expected a text"),
    ]
    _, ((_, reason, _),) = read(tmp_path, "[" * 100_000)
    assert reason == "no_json"


def test_a_test_set_needs_no_labels_and_shows_none(tmp_path):
    (tmp_path / "test.jsonl").write_text(json.dumps(row(answer_label=4)))
    ((question,), dropped) = read_vcr(tmp_path / "test.jsonl", seed=1, has_labels=False)
    assert (question.answer_label, question.rationale_label, dropped) == (None, None, [])


def test_only_newlines_part_rows(tmp_path):
    """A row may hold a line separator of Unicode."""
    (tmp_path / "val.jsonl").write_text(json.dumps(row(question=["Why\u2028?"]), ensure_ascii=False) + "\n")
    reading = read_vcr(tmp_path / "val.jsonl", seed=1)
    assert (len(reading.examples), reading.dropped) == (1, [])


@pytest.mark.parametrize("field", sorted(FIELDS))
def test_another_file_is_named(tmp_path, field):
    other = row()
    del other[field]
    with pytest.raises(ValueError, match="line 1, holds no question with choices and objects"):
        read(tmp_path, other)


def test_every_real_row_is_read():
    if not SAMPLE.is_file():
        pytest.skip(f"no real questions at {SAMPLE}")
    reading = read_vcr(SAMPLE, seed=1)
    assert (len(reading.examples), reading.dropped) == (500, [])
    first = reading.examples[0]
    name = first.question.split()[2]
    assert (first.annotation, first.image_key, first.answer_label) == ("val-0", "0", 3)
    assert first.question == f"What is {name} doing ?"
    assert name in NAMES
    assert first.answers[1] == f"Talking with {name} ."


def test_answers_come_first_then_reasons_with_the_right_answer_in_the_question(drawn):
    data = dataset(drawn)
    count = len(data.questions)
    assert len(data) == 2 * count
    batch = data.__getitems__([Draw(0, 1), Draw(0, count + 1)])
    assert batch["labels"].tolist() == [data.questions[1].answer_label, data.questions[1].rationale_label]
    assert batch["input_ids"].shape[:2] == (2, 4)
    lengths = batch["token_type_ids"].eq(0).logical_and(batch["attention_mask"].bool()).sum(-1)
    assert (lengths[1] > lengths[0]).all()
    separators = batch["input_ids"].eq(drawn.processor.tokenizer.sep_token_id).sum(-1)
    assert separators.tolist() == [[2] * 4, [3] * 4]
    output = VilbertForMultipleChoice(
        make_two_stream(vocab_size=199, visual_feature_size=11, max_position_embeddings=101)
    )(**batch)
    output.loss.backward()
    assert output.logits.shape == (2, 4)


def test_labels_and_texts_are_those_of_every_example(drawn):
    data, tokenizer = dataset(drawn), drawn.processor.tokenizer
    batch = data.__getitems__([Draw(0, example) for example in range(len(data))])
    answers = [(one.question, one.answers[2], one.answer_label) for one in data.questions]
    reasons = [
        (f"{one.question} [SEP] {one.answers[one.answer_label]}", one.rationales[2], one.rationale_label)
        for one in data.questions
    ]
    assert batch["labels"].tolist() == [label for _, _, label in answers + reasons]
    for row, (question, choice, _) in enumerate(answers + reasons):
        expected = tokenizer(question, choice, truncation=True, max_length=101, return_token_type_ids=True)
        length = len(expected.input_ids)
        assert batch["input_ids"][row, 2, :length].tolist() == expected.input_ids
        assert batch["token_type_ids"][row, 2, :length].tolist() == expected.token_type_ids


def test_given_boxes_stand_behind_the_detected_ones(drawn):
    with_given, without = dataset(drawn), dataset(drawn, given=False)
    key = with_given.questions[0].image_key
    batch = with_given.__getitems__([Draw(0, 0)])
    detected = len(drawn.detected[key])
    assert batch["visual_features"].shape[1] == 1 + detected + len(drawn.given[key])
    np.testing.assert_allclose(batch["visual_boxes"][0, 1 + detected :, :4], drawn.given[key].boxes / 64, atol=1e-6)
    assert without.__getitems__([Draw(0, 0)])["visual_features"].shape[1] == 1 + detected


def test_a_model_without_a_whole_image_gets_none(drawn):
    data = dataset(drawn)
    bare = VcrDataset(data.questions, drawn.detected, drawn.processor_of_mmf, given=drawn.given, max_tokens=101)
    (batch, whole) = (one.__getitems__([Draw(0, 0), Draw(0, 1)]) for one in (bare, data))
    for name in ("visual_features", "visual_boxes", "visual_attention_mask"):
        assert torch.equal(batch[name], whole[name][:, 1:])


class AlwaysFirst(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, **inputs):
        logits = torch.tensor([5.0, 1, 2, 3]).expand(len(inputs["input_ids"]), 4)
        return VilbertTaskOutput(logits=logits)


def test_both_right_is_what_counts(drawn):
    data = dataset(drawn)
    answers = np.array([one.answer_label for one in data.questions]) == 0
    reasons = np.array([one.rationale_label for one in data.questions]) == 0
    metrics = data.measure(data.predict(AlwaysFirst()))
    assert metrics == pytest.approx(
        {"answer": answers.mean(), "rationale": reasons.mean(), "both": (answers & reasons).mean()}
    )


class ByLength(torch.nn.Module):
    """Its choice follows from the number of tokens."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, **inputs):
        return VilbertTaskOutput(logits=torch.eye(4)[inputs["attention_mask"].sum(-1).amax(-1) % 4])


def test_each_question_gets_its_own_probabilities(drawn):
    data = dataset(drawn)
    lengths = data.lengths % 4
    assert len(set(lengths)) > 1
    found = data.probabilities(ByLength(), data.answers)
    assert found.argmax(-1).tolist() == lengths[: len(found)].tolist()
    right = [lengths == [getattr(one, name) for one in data.questions] * 2 for name in LABELS]
    count = len(data.questions)
    metrics = data.measure(data.predict(ByLength()))
    assert metrics["answer"] == pytest.approx(right[0][:count].mean())
    assert metrics["rationale"] == pytest.approx(right[1][count:].mean())
    assert metrics["both"] == pytest.approx((right[0][:count] & right[1][count:]).mean())


def test_reasons_are_asked_for_with_each_answer_in_turn(drawn):
    data, tokenizer = dataset(drawn, "test"), drawn.processor.tokenizer
    table = data.predict(ByLength())
    for answer in range(4):
        columns = [f"rationale_conditioned_on_a{answer}_{choice}" for choice in range(4)]
        chosen = table[columns].to_numpy().argmax(axis=1)
        for row, one in enumerate(data.questions):
            asked = [f"{one.question} [SEP] {one.answers[answer]}"] * 4
            texts = tokenizer(asked, list(one.rationales), truncation=True, max_length=101).input_ids
            assert chosen[row] == max(map(len, texts)) % 4


def test_the_leaderboard_has_the_reasons_for_each_of_four_answers(drawn):
    table = dataset(drawn, "test").predict(AlwaysFirst())
    assert list(table.columns)[:3] == ["annot_id", "answer_0", "answer_1"]
    assert list(table.columns)[-1] == "rationale_conditioned_on_a3_3"
    assert table.shape[1] == 21
    np.testing.assert_allclose(table[[f"answer_{choice}" for choice in range(4)]].sum(axis=1), 1, atol=1e-6)
