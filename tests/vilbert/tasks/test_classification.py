import json

import numpy as np
import pytest
import torch
from fake_gpu import NothingWaits
from small_configs import make_single_stream, make_two_stream
from task_world import KEYS
from torch._subclasses.fake_tensor import FakeTensorMode

from vilbert.batches.sampling import Draw
from vilbert.model.modeling_single_stream import VilbertSingleStreamForClassification
from vilbert.model.modeling_tasks import MULTI_LABEL, SINGLE_LABEL, VilbertForClassification
from vilbert.tasks.classification import KIND


def table(rows, header="file,text,label,split") -> str:
    return "\n".join([header, *(",".join(row) for row in rows)])


@pytest.fixture
def three_labels(own_source):
    rows = [
        (f"{KEYS[0]}.jpg", "left", "red", "train"),
        (f"{KEYS[1]}.jpg", "right", "blue", "train"),
        (f"{KEYS[2]}.jpg", "above", "green", "train"),
        (f"{KEYS[3]}.jpg", "left", "red", "train"),
        (f"{KEYS[4]}.jpg", "left", "red", "val"),
        (f"{KEYS[5]}.jpg", "right", "yellow", "val"),
        ("gone.jpg", "right", "blue", "val"),
        (f"{KEYS[6]}.jpg", "above", "green", "val"),
        (f"{KEYS[0]}.jpg", "nothing", "", "train"),
    ]
    return KIND.data(*own_source(table(rows)))


def test_labels_are_those_of_the_training_rows(three_labels):
    assert three_labels.answers == ["blue", "green", "red"]
    assert three_labels.config == {"problem_type": SINGLE_LABEL, "class_weights": None}
    assert [(row.annotation, row.reason) for row in three_labels.dropped] == [
        ("line 10", "no_label"),
        ("line 8", "no_features"),
        ("line 7", "unknown_label"),
    ]


def test_a_batch_has_a_number_for_each_label(three_labels):
    batch = three_labels.training.__getitems__([Draw(0, 0), Draw(0, 1)])
    assert batch["labels"].tolist() == [2, 0]  # red, blue
    assert batch["labels"].dtype == torch.int64


def test_rows_without_features_and_with_unknown_labels_count_as_wrong(three_labels):
    held_out = three_labels.evaluation["val"]
    right = [[0, 0, 1.0], [0, 0, 1.0], [1.0, 0, 0], [0, 1.0, 0]]
    measures = held_out.measure(right)
    assert measures["accuracy"] == 0.5  # red and green; yellow is of no training row, gone.jpg has no features
    # F1: blue 0 (missed), green 1, red 2/3 (the yellow one was taken for red), yellow 0 (cannot be given)
    assert measures["macro_f1"] == pytest.approx((0 + 1 + 2 / 3 + 0) / 4)


def test_areas_are_means_over_the_labels_that_can_be_told(three_labels):
    held_out = three_labels.evaluation["val"]  # red, yellow, blue, green
    scores = [[0.1, 0.2, 0.7], [0.3, 0.4, 0.3], [0.0, 0.0, 0.0], [0.2, 0.5, 0.3]]
    # blue: the right one has no features and is last of four, AUROC 0, AP 1/4; green and red: the right one is first of
    # those with features, and the one without stands before it, AUROC 2/3, AP 1/2
    measures = held_out.measure(scores)
    assert measures["auroc"] == pytest.approx((0 + 2 / 3 + 2 / 3) / 3)
    assert measures["average_precision"] == pytest.approx((0.25 + 0.5 + 0.5) / 3)


def test_rows_without_features_raise_no_measure(own_source):
    """A model that says the same of every picture gains nothing by those that are not there."""
    labels = ["a", "b", "c"]
    rows = [
        (f"{KEYS[i]}.jpg", label, split)
        for split, first in (("train", 0), ("val", 3))
        for i, label in enumerate(labels, first)
    ]
    rows += [(f"gone{i}.jpg", "a", "val") for i in range(7)]
    data = KIND.data(*own_source(table(rows, "file,label,split")))
    held_out = data.evaluation["val"]
    same = held_out.measure([[0.2, 0.3, 0.5]] * 3 + [[0.0, 0.0, 0.0]] * 7)
    # b and c: a half of the 2 negatives of 9 is before, the other 7 are; a: a half of the 2 seen, for 1 positive of 8
    assert same["auroc"] == pytest.approx((1 / 16 + 1 / 9 + 1 / 9) / 3)
    found = data.count_baselines().of(held_out)
    for name in ("auroc", "average_precision"):
        assert found.chance[name] == pytest.approx(found.no_text[name]) == pytest.approx(same[name])


def test_what_the_measures_are_read_against(three_labels):
    found = three_labels.count_baselines().of(three_labels.evaluation["val"])
    assert found.chance["accuracy"] == pytest.approx(1 / 3 * 0.5)
    assert found.no_text["accuracy"] == 0.25  # red is the commonest
    assert found.blind["accuracy"] == 0.5  # 'left' was red, 'above' green; 'right' has no features or no label
    assert found.ceiling["accuracy"] == 0.5
    assert (found.num_examples, found.num_dropped) == (4, 1)


def test_a_text_that_is_not_utf_8_is_a_row_with_its_reason(own_source):
    rows = [
        (f"{KEYS[i]}.jpg", text, label, split)
        for i, (text, label, split) in enumerate(
            [("left", "a", "train"), ("caf\ufffd", "b", "train"), ("right", "b", "train"), ("left", "a", "val")]
        )
    ]
    data = KIND.data(*own_source(table(rows)))
    assert [tuple(row) for row in data.dropped] == [("line 3", "undecodable_bytes", "text; save the csv as UTF-8")]


@pytest.mark.parametrize("label", ["red", "yellow"])
def test_held_out_rows_of_one_label_alone_are_measured_by_what_can_be_told_of_them(own_source, label):
    """Of the areas nothing can, and a label that no training row has is never right."""
    rows = [
        (f"{KEYS[i]}.jpg", name, split)
        for i, (name, split) in enumerate([("red", "train"), ("blue", "train"), (label, "val"), (label, "val")])
    ]
    data = KIND.data(*own_source(table(rows, "file,label,split")))
    measures = data.evaluation["val"].measure([[0.1, 0.9], [0.9, 0.1]])
    found = data.count_baselines().of(data.evaluation["val"])
    assert measures["accuracy"] == (0.5 if label == "red" else 0)
    assert "auroc" not in measures
    assert [row["measure"] for row in found.rows("val", measures)] == list(found.ceiling)
    assert found.ceiling["accuracy"] == (1 if label == "red" else 0)


def test_labels_that_name_nothing_a_detector_knows_are_no_rule(three_labels):
    """Its classes are 'thing' and 'other': to give the first label to all would be no rule."""
    assert three_labels.count_baselines().of(three_labels.evaluation["val"]).rule == {}


def test_a_label_that_names_a_class_is_given_where_that_is_seen(own_source):
    rows = [
        (f"{KEYS[number]}.jpg", label, split)
        for number, (label, split) in enumerate(
            [("a thing", "train"), ("another", "train"), ("a thing", "val"), ("another", "val")]
        )
    ]
    data = KIND.data(*own_source(table(rows, "file,label,split")))
    assert data.count_baselines().of(data.evaluation["val"]).rule["accuracy"] == 0.5  # all are seen as things


def test_several_labels_are_right_all_together_and_a_row_may_have_none(own_source, tmp_path):
    rows = [
        (f"{KEYS[0]}.jpg", "red|round", "train"),
        (f"{KEYS[1]}.jpg", "round", "train"),
        (f"{KEYS[2]}.jpg", "", "val"),
        (f"{KEYS[3]}.jpg", "round|red", "val"),
    ]
    data = KIND.data(*own_source(table(rows, "file,label,split"), separator="|", class_weights="balanced"))
    assert data.config == {"problem_type": MULTI_LABEL, "class_weights": [1.0, 0.5]}
    assert data.training.__getitems__([Draw(0, 1)])["labels"].tolist() == [[0.0, 1.0]]
    held_out = data.evaluation["val"]
    assert held_out.measure([[0.4, 0.1], [0.6, 0.5]])["accuracy"] == 1
    assert held_out.measure([[0.5, 0.1], [0.6, 0.4]])["accuracy"] == 0
    assert data.count_baselines().of(held_out).chance["accuracy"] == 0.25
    assert data.count_baselines().of(held_out).blind == {}
    held_out.write([[0.4, 0.1], [0.6, 0.5]], tmp_path, "val")
    assert json.loads((tmp_path / "val.json").read_text()) == [
        {"annotation": "line 4", "labels": [], "probabilities": {"red": 0.4, "round": 0.1}},
        {"annotation": "line 5", "labels": ["red", "round"], "probabilities": {"red": 0.6, "round": 0.5}},
    ]


def test_a_table_of_one_label_is_refused(own_source):
    rows = [(f"{KEYS[0]}.jpg", "red", "train"), (f"{KEYS[1]}.jpg", "red", "val")]
    with pytest.raises(ValueError, match="has 1 labels to learn, red, expected two"):
        KIND.data(*own_source(table(rows, "file,label,split")))


def test_a_table_without_the_column_says_which_it_has(own_source):
    with pytest.raises(ValueError, match=r"has the columns \['file', 'class'\], expected label in its first line"):
        KIND.data(*own_source("file,class\na.jpg,red\n"))


def test_test_rows_without_labels_are_predicted_and_not_measured(own_source):
    rows = [
        (f"{KEYS[i]}.jpg", label, split)
        for i, (label, split) in enumerate([("a", "train"), ("b", "train"), ("a", "val"), ("", "test")])
    ]
    data = KIND.data(*own_source(table(rows, "file,label,split")))
    assert (list(data.evaluation), list(data.unlabelled)) == (["val"], ["test"])
    rows += [(rows[3][0], "b", "test")]  # and so the other one of the test set has to have one too
    data = KIND.data(*own_source(table(rows, "file,label,split")))
    assert (len(data.evaluation["test"]), data.unlabelled) == (1, {})
    assert [(row.annotation, row.reason) for row in data.dropped] == [("line 5", "no_label")]
    rows = [*rows[:3], rows[4]]
    assert list(KIND.data(*own_source(table(rows, "file,label,split"))).evaluation) == ["val", "test"]


@pytest.mark.parametrize(
    ("make", "kind"),
    [(make_two_stream, VilbertForClassification), (make_single_stream, VilbertSingleStreamForClassification)],
)
def test_a_model_predicts_what_it_answers_alone(make, kind, three_labels):
    torch.manual_seed(0)
    config = make(vocab_size=199, visual_feature_size=11, visual_num_classes=3, max_position_embeddings=101)
    config.problem_type, config.num_labels = SINGLE_LABEL, 3
    model, held_out = kind(config).eval(), three_labels.evaluation["val"]
    with torch.inference_mode():
        found = held_out.predict(model)
        alone = [model(**held_out.inputs([row])).logits.softmax(-1)[0].tolist() for row in (0, 1, 3)]
    assert np.allclose([found[row] for row in (0, 1, 3)], alone, atol=1e-5)
    assert found[2] == [0, 0, 0]


def test_rare_labels_weigh_more_in_the_loss():
    config = make_two_stream(num_labels=2, problem_type=SINGLE_LABEL, class_weights=[2.0, 0.5])
    model = VilbertForClassification(config)
    logits = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    assert model.loss_of(logits, torch.tensor([0, 1])).item() == pytest.approx(np.log(2) * 1.25)
    model.config.class_weights = None
    assert model.loss_of(logits, torch.tensor([0, 1])).item() == pytest.approx(np.log(2))


def test_a_gpu_is_not_waited_for_to_weigh_labels():
    config = make_two_stream(num_labels=2, problem_type=SINGLE_LABEL, class_weights=[2.0, 0.5])
    with FakeTensorMode():
        with torch.device("cuda"):
            model, logits, labels = (
                VilbertForClassification(config),
                torch.zeros(3, 2),
                torch.zeros(3, dtype=torch.int64),
            )
        with NothingWaits():
            assert model.loss_of(logits, labels).is_cuda


def test_a_model_that_does_not_know_how_many_labels_are_right_is_refused():
    with pytest.raises(ValueError, match="problem_type is 'regression', expected single_label_classification or"):
        VilbertForClassification(make_two_stream(num_labels=2, problem_type="regression"))
