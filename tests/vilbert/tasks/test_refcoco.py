import os
import pickle

import numpy as np
import pytest
import torch

from vilbert.modeling_tasks import VilbertTaskOutput
from vilbert.sampling import Draw
from vilbert.tasks.refcoco import RefCocoDataset, corners, read_expressions, read_refs


def files(drawn):
    return drawn.annotations / "refcoco+/refs(unc).p", drawn.annotations / "refcoco+/instances.json"


def dataset(drawn, split, *, truth=None):
    expressions = [one for one in read_expressions(*files(drawn)).examples if one.split == split]
    return RefCocoDataset(expressions, drawn.detected, drawn.tokenizer, truth=truth, max_tokens=13)


class Runs:
    def __reduce__(self):
        return os.system, ("true",)


def test_expressions_find_their_image_and_box(drawn):
    reading = read_expressions(*files(drawn))
    assert not reading.dropped
    assert {one.split for one in reading.examples} == {"train", "val", "testA", "testB"}
    for one in reading.examples:
        assert one.image_key in drawn.given
        distances = np.abs(drawn.given[one.image_key].boxes - np.array(one.box)).max(axis=1)
        assert distances.min() < 0.02


def test_a_pickle_of_python_2_is_read_and_code_in_it_never_runs(tmp_path):
    path = tmp_path / "refs.p"
    path.write_bytes(b"(lp0\n(dp1\nS'split'\np2\nS'caf\\xe9'\np3\nsa.")
    assert read_refs(path) == [{"split": "caf\xe9"}]
    path.write_bytes(pickle.dumps([Runs()]))
    with pytest.raises(ValueError, match=r"no pickle of lists and texts alone, refused: it asks for posix.system"):
        read_refs(path)


def test_a_pickle_that_is_cut_off_or_holds_something_else_is_named(tmp_path):
    path = tmp_path / "refs.p"
    path.write_bytes(pickle.dumps([{"a": "b" * 99}])[:40])
    with pytest.raises(ValueError, match=r"refs.p is no pickle of lists"):
        read_refs(path)
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ValueError, match="holds no list of refs"):
        read_refs(path)


def test_refs_without_box_image_or_words_are_dropped(tmp_path):
    refs = [
        {"ref_id": 1, "ann_id": 5, "image_id": 7, "split": "val", "sentences": [{"sent_id": 0, "sent": "left dog"}]},
        {"ref_id": 2, "ann_id": 6, "image_id": 7, "split": "val", "sentences": [{"sent_id": 1, "sent": "dog"}]},
        {"ref_id": 3, "ann_id": 5, "image_id": 8, "split": "val", "sentences": [{"sent_id": 2, "sent": "dog"}]},
        {"ref_id": 4, "ann_id": 5, "image_id": 7, "split": "val", "sentences": [{"sent_id": 3, "sent": " "}]},
    ]
    (tmp_path / "refs.p").write_bytes(pickle.dumps(refs, protocol=2))
    (tmp_path / "instances.json").write_text(
        '{"images": [{"id": 7, "file_name": "COCO_7.jpg"}], "annotations": [{"id": 5, "bbox": [1, 2, 3, 4]}]}'
    )
    reading = read_expressions(tmp_path / "refs.p", tmp_path / "instances.json")
    assert [(one.annotation, one.image_key, one.box) for one in reading.examples] == [("1-0", "COCO_7", (1, 2, 4, 6))]
    assert [(row.annotation, row.reason) for row in reading.dropped] == [
        ("2-1", "no_box"),
        ("3-2", "no_image"),
        ("4-3", "empty_expression"),
    ]


def test_a_box_of_width_and_height_becomes_corners():
    assert corners([3, 5, 7, 11]) == (3, 5, 10, 16)


def test_labels_are_overlaps_from_a_half_on_and_region_0_is_never_meant(drawn):
    data = dataset(drawn, "train")
    batch = data.__getitems__([Draw(0, example) for example in range(7)])
    labels = batch["labels"].numpy()
    assert labels.shape == tuple(batch["visual_attention_mask"].shape)
    assert not labels[:, 0].any()
    assert ((labels == 0) | (labels >= 0.5)).all()
    for row in range(7):
        overlap = data.overlap(row, data.candidates(row))
        np.testing.assert_allclose(labels[row, 1 : 1 + len(overlap)], np.where(overlap >= 0.5, overlap, 0), rtol=1e-6)


def test_annotated_boxes_are_candidates_in_training_alone(drawn):
    with_truth, without = dataset(drawn, "train", truth=drawn.given), dataset(drawn, "train")
    assert len(with_truth.candidates(0)) == 2 * len(without.candidates(0))
    assert with_truth.overlap(0, with_truth.candidates(0)).max() == pytest.approx(1, abs=1e-3)


class Oracle(torch.nn.Module):
    """Knows the overlaps, or points at what overlaps least."""

    def __init__(self, data, sign):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.data, self.sign, self.order, self.start = data, sign, np.argsort(data.lengths, kind="stable"), 0

    def forward(self, **inputs):
        rows = self.order[self.start : self.start + len(inputs["input_ids"])]
        self.start += len(rows)
        logits = torch.full(tuple(inputs["visual_attention_mask"].shape), -10000.0)
        for row, example in enumerate(rows):
            overlap = self.data.overlap(example, self.data.candidates(example))
            logits[row, 1 : 1 + len(overlap)] = self.sign * torch.from_numpy(overlap).float()
        return VilbertTaskOutput(logits=logits)


def test_accuracy_reaches_the_upper_bound_and_falls_to_nothing(drawn):
    data = dataset(drawn, "val")
    best = data.evaluate(Oracle(data, 1))
    assert best["accuracy"] == best["upper_bound"] > 0.5
    assert data.evaluate(Oracle(data, -1))["accuracy"] == 0
