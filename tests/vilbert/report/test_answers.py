import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from vilbert.report.answers import answers_of, by_count, read_predictions, spoken_of
from vilbert.tasks.classification import ClassificationDataset, Labelled, Labels
from vilbert.tasks.vcr import undecided
from vilbert.tasks.vqa import numbered


def written(dataset, predictions, folder, split="validation"):
    """Predictions as a fine-tune writes them, read again."""
    dataset.write(predictions, folder, split)
    return read_predictions(folder, split)


def test_an_answer_is_right_that_two_of_ten_people_gave(held_out, tmp_path):
    split, dataset = held_out("vqa")
    dataset.questions = [
        replace(one, answers=("blue",) * 7 + ("red",) * 2 + ("pink",)) for one in dataset.questions[:3]
    ]
    given = zip(dataset.questions, ("blue", "red", "pink"), strict=True)
    predictions = [{"question_id": numbered(one.annotation), "answer": answer} for one, answer in given]
    answers = answers_of(dataset, written(dataset, predictions, tmp_path, split))
    assert [one.is_right for one in answers] == [True, True, False]
    assert [one.answer for one in answers] == ["blue", "red", "pink"]
    assert answers[0].expected == "blue (7), red (2), pink (1)"
    assert answers[0].text == dataset.questions[0].text
    assert answers[0].image_keys == (dataset.questions[0].image_key,)


def test_one_answer_of_all_people_stands_without_a_number():
    assert by_count(["no"] * 10) == "no"


def test_a_choice_has_the_probability_of_all_four(held_out, tmp_path):
    split, dataset = held_out("vcr")
    rows = [undecided(one) for one in dataset.questions]
    chosen = [(one.answer_label + number % 2) % 4 for number, one in enumerate(dataset.questions)]
    for row, choice in zip(rows, chosen, strict=True):
        row |= {f"answer_{number}": 0.7 if number == choice else 0.1 for number in range(4)}
    answers = answers_of(dataset, written(dataset, pd.DataFrame(rows), tmp_path, split))
    assert [one.is_right for one in answers] == [number % 2 == 0 for number in range(len(answers))]
    first, question = answers[0], dataset.questions[0]
    assert first.answer == first.expected == question.answers[question.answer_label]
    assert dict(first.alternatives) == {
        text: pytest.approx(0.7 if number == question.answer_label else 0.1)
        for number, text in enumerate(question.answers)
    }
    assert first.score == pytest.approx(0.7)


def test_a_box_is_right_that_overlaps_by_more_than_a_half(held_out, tmp_path):
    split, dataset = held_out("refcoco")
    predictions = [
        {"annotation": one.annotation, "box": list(one.box), "overlap": 0.5 + 0.25 * (number % 2)}
        for number, one in enumerate(dataset.expressions)
    ]
    answers = answers_of(dataset, written(dataset, predictions, tmp_path, split))
    assert [one.is_right for one in answers[:2]] == [False, True]
    assert answers[1].answer == "the red box, which overlaps with the blue one by 0.75"
    assert answers[1].boxes == (dataset.expressions[1].box,) * 2


def test_a_caption_is_right_whose_own_image_comes_first(held_out, tmp_path):
    split, dataset = held_out("retrieval")
    keys = dataset.keys
    order = [dataset.captions[0].image_key, *(key for key in keys if key != dataset.captions[0].image_key)]
    rows = [
        {"annotation": dataset.captions[0].annotation, "images": order},
        {"annotation": dataset.captions[1].annotation, "images": order[1:3] + order[:1]},
        {"annotation": dataset.captions[2].annotation, "images": order[1:3]},
    ]
    assert len({dataset.captions[place].image_key for place in range(3)}) == 1
    (tmp_path / f"{split}.json").write_text(json.dumps(rows))
    answers = answers_of(dataset, read_predictions(tmp_path, split))
    assert [one.is_right for one in answers] == [True, False, False]
    assert [one.answer for one in answers] == [
        "number 1 of what it found",
        "number 3 of what it found",
        "none of the best 2",
    ]
    assert answers[1].image_keys == (*order[1:3], order[0])
    assert answers[1].own >= {order[0]}


def test_an_image_without_features_is_neither_shown_nor_asked_about(held_out, tmp_path):
    split, dataset = held_out("retrieval")
    known = set(dataset.keys[:-1])
    dataset.store = {key: dataset.store[key] for key in known}
    rows = [{"annotation": one.annotation, "images": dataset.keys} for one in dataset.captions]
    (tmp_path / f"{split}.json").write_text(json.dumps(rows))
    answers = answers_of(dataset, read_predictions(tmp_path, split))
    assert len(answers) == sum(one.image_key in known for one in dataset.captions)
    assert {key for one in answers for key in one.image_keys} == known


def test_labels_are_right_if_they_are_all_and_no_other(drawn, tmp_path):
    from types import SimpleNamespace

    keys = sorted(drawn.detected)[:3]
    examples = [
        Labelled(f"line {number}", key, "val", "", labels)
        for number, (key, labels) in enumerate(zip(keys, [("a", "b"), ("a",), ("c",)], strict=True))
    ]
    dataset = ClassificationDataset(
        examples,
        SimpleNamespace(store=drawn.detected, processor=drawn.processor),
        labels=Labels(["a", "b", "c"], may_be_several=True),
        max_tokens=7,
    )
    predictions = np.array([[0.9, 0.7, 0.1], [0.6, 0.8, 0.2], [0.1, 0.2, 0.3]]).tolist()
    answers = answers_of(dataset, written(dataset, predictions, tmp_path))
    assert [one.is_right for one in answers] == [True, False, False]
    assert [one.answer for one in answers] == ["a, b", "a, b", ""]
    assert answers[1].alternatives == (("b", 0.8), ("a", 0.6), ("c", 0.2))


def test_a_data_set_of_another_kind_has_none():
    assert answers_of([], {"line 1": {"annotation": "line 1"}}) == []


def test_objects_that_a_question_speaks_of_are_named_at_their_boxes(held_out):
    _, dataset = held_out("vcr")
    question = dataset.questions[0]
    boxes = dataset.given[question.image_key].boxes.tolist()
    spoken = replace(
        question,
        question="What does Pat look like ?",
        answers=("red circle is large .", "Patricia is small ."),
        names=("blue square", "Pat", "red circle", "circle", "Patric"),
    )
    assert spoken_of(dataset, spoken) == (
        ("Pat", tuple(boxes[1])),
        ("red circle", tuple(boxes[2])),
        ("circle", tuple(boxes[3])),
    )
    dataset.given = None
    assert spoken_of(dataset, spoken) == ()
