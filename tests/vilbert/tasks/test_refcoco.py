import itertools
import json
import math
import os
import pickle
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from places import REAL

from extract.overlap import overlaps
from vilbert.batches.sampling import Draw
from vilbert.model.modeling_tasks import VilbertTaskOutput
from vilbert.tasks.reading import Reading
from vilbert.tasks.refcoco import (
    RefCocoDataset,
    corners,
    is_box,
    of_these_pixels,
    read_expressions,
    read_refs,
    turned_images,
)


def files(drawn):
    return drawn.annotations / "refcoco+/refs(unc).p", drawn.annotations / "refcoco+/instances.json"


def dataset(drawn, split, *, truth=None, processor=None):
    expressions = [one for one in read_expressions(*files(drawn)).examples if one.split == split]
    return RefCocoDataset(expressions, drawn.detected, processor or drawn.processor, truth=truth, max_tokens=13)


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


@pytest.mark.parametrize("protocol", [0, 2])
def test_every_cut_of_a_pickle_is_a_damaged_file(tmp_path, protocol):
    path, whole = tmp_path / "refs.p", pickle.dumps([{"sent": "caf\xe9", "id": 2**70, "box": [1.5]}], protocol=protocol)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"refs\.p is no pickle of lists"):
            read_refs(path)


@pytest.mark.parametrize("data", [b"\x80\x02}]]s.", b"\x80\x02K\x01K\x01a.", b"no pickle"])
def test_what_unpickling_trips_over_is_a_damaged_file(tmp_path, data):
    """A key that is a list; a number that something is appended to."""
    (tmp_path / "refs.p").write_bytes(data)
    with pytest.raises(ValueError, match=r"refs\.p is no pickle of lists"):
        read_refs(tmp_path / "refs.p")


def test_refs_without_box_image_or_words_are_dropped(tmp_path):
    refs = [
        {"ref_id": 1, "ann_id": 5, "image_id": 7, "split": "val", "sentences": [{"sent_id": 0, "sent": "left dog"}]},
        {"ref_id": 2, "ann_id": 6, "image_id": 7, "split": "val", "sentences": [{"sent_id": 1, "sent": "dog"}]},
        {"ref_id": 3, "ann_id": 5, "image_id": 8, "split": "val", "sentences": [{"sent_id": 2, "sent": "dog"}]},
        {"ref_id": 4, "ann_id": 5, "image_id": 7, "split": "val", "sentences": [{"sent_id": 3, "sent": " "}]},
        {"ref_id": 5, "ann_id": 8, "image_id": 7, "split": "val", "sentences": [{"sent_id": 4, "sent": "dog"}]},
        {"ref_id": 6, "ann_id": 9, "image_id": 7, "split": "val", "sentences": [{"sent_id": 5, "sent": "dog"}]},
        {"ref_id": 7, "ann_id": 4, "image_id": 7, "split": "val", "sentences": [{"sent_id": 6, "sent": "dog"}]},
        {"ref_id": 8, "ann_id": 4, "image_id": 8, "split": "val", "sentences": [{"sent_id": 7, "sent": "dog"}]},
    ]
    boxes = [{"id": 5, "bbox": [1, 2, 3, 4]}, {"id": 8, "bbox": [1, 2, 0, 4]}, {"id": 9, "bbox": [1, 2, 3]}]
    boxes = [box | {"image_id": 8 if box["id"] == 4 else 7} for box in [{"id": 4, "bbox": [1, 2, 3, 4]}, *boxes]]
    (tmp_path / "refs.p").write_bytes(pickle.dumps(refs, protocol=2))
    instances = {"images": [{"id": 7, "file_name": "COCO_7.jpg"}], "annotations": boxes}
    (tmp_path / "instances.json").write_text(json.dumps(instances))
    reading = read_expressions(tmp_path / "refs.p", tmp_path / "instances.json")
    assert [(one.annotation, one.image_key, one.box) for one in reading.examples] == [("1-0", "COCO_7", (1, 2, 4, 6))]
    assert [(row.annotation, row.reason, row.detail) for row in reading.dropped] == [
        ("2-1", "no_box", "ann_id 6"),
        ("3-2", "other_image", "ann_id 5 is of image 7, image_id is 8"),
        ("4-3", "empty_expression", "' '"),
        ("5-4", "bad_box", "[1, 2, 0, 4]"),
        ("6-5", "bad_box", "[1, 2, 3]"),
        ("7-6", "other_image", "ann_id 4 is of image 8, image_id is 7"),
        ("8-7", "no_image", "image_id 8"),
    ]


def test_expressions_about_a_picture_of_another_size_are_dropped(drawn):
    """The store's images have 64 x 64 pixels."""
    drawn_size, other, unknown_size = read_expressions(*files(drawn)).examples[:3]
    assert drawn_size.image_size == (64, 64)
    other, unknown_size = replace(other, image_size=(640, 480)), replace(unknown_size, image_size=None)
    nowhere = replace(other, image_key="no image")
    reading = of_these_pixels(Reading([drawn_size, other, unknown_size, nowhere], []), drawn.detected)
    assert reading.examples == [drawn_size, unknown_size, nowhere]
    assert reading.dropped == [
        (other.annotation, "other_size", "a box of 640 x 480, the image is 64 x 64"),
    ]


def test_expressions_about_a_picture_that_exif_turned_are_dropped_unless_the_sizes_tell(drawn, tmp_path):
    """Of a half turn or a square no size tells; `extract.regions.given_boxes` says of which nothing does."""
    turned, other_reason, not_told = read_expressions(*files(drawn)).examples[::9][:3]
    assert len({turned.image_key, other_reason.image_key, not_told.image_key}) == 3
    rows = f"{turned.image_key},turned,the image is 64 x 64\n{other_reason.image_key},bad_box,box 3\n"
    (tmp_path / "left_out.csv").write_text(f"image_key,reason,detail\n{rows}nowhere,turned,\n")
    found = turned_images(tmp_path / "left_out.csv")
    assert found == {turned.image_key, "nowhere"}
    without = replace(turned, image_key="nowhere")  # and without features, which is told elsewhere
    reading = of_these_pixels(Reading([turned, other_reason, not_told, without], []), drawn.detected, turned=found)
    assert reading.examples == [other_reason, not_told, without]
    assert [row[:2] for row in reading.dropped] == [(turned.annotation, "turned")]


def test_a_size_that_is_null_is_not_told(drawn, tmp_path):
    refs, instances = files(drawn)
    content = json.loads(instances.read_text())
    for number, image in enumerate(content["images"]):
        image |= {"width": None} if number % 2 else {"height": None}
    (tmp_path / "instances.json").write_text(json.dumps(content))
    kept = read_expressions(refs, tmp_path / "instances.json").examples
    assert {one.image_size for one in kept} == {None}
    assert of_these_pixels(Reading(kept, []), drawn.detected).dropped == []


def test_no_room_is_made_for_values_that_are_only_claimed(tmp_path):
    (tmp_path / "refs.p").write_bytes(b"\x80\x02]r\x00\x00\x00\x01.")  # no refs, put in place 2^24
    tracemalloc.start()
    assert read_refs(tmp_path / "refs.p") == []
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(
    "box", [[1, 2, 3], [1, 2, 0, 4], [math.nan, 2, 3, 4], [1, 2, math.inf, 4], ["1", 2, 3, 4], None]
)
def test_what_has_no_area_or_is_no_number_is_no_box(box):
    assert not is_box(box)
    assert is_box([1, 2.5, 3, 0.5])


@pytest.mark.parametrize(
    ("refs", "instances", "message"),
    [
        ([{"ref_id": 1}], {"images": [], "annotations": []}, r"refs\.p, refs: row 0 has no 'ann_id'"),
        ([1], {"images": [], "annotations": []}, r"refs\.p, refs: row 0 has no 'ref_id'"),
        ([], {"images": [{"id": 7}], "annotations": []}, r"images: row 0 has no 'file_name'"),
        ([], {"images": [], "annotations": [{"id": 7, "image_id": 1}]}, r"annotations: row 0 has no 'bbox'"),
        (
            [],
            {"images": [], "annotations": [{"id": 7, "image_id": 1, "bbox": []}] * 2},
            r"annotations: id 7 stands twice",
        ),
        ([], [], r"holds no images and annotations"),
    ],
)
def test_files_of_another_format_are_named(tmp_path, refs, instances, message):
    (tmp_path / "refs.p").write_bytes(pickle.dumps(refs, protocol=2))
    (tmp_path / "instances.json").write_text(json.dumps(instances))
    with pytest.raises(ValueError, match=message):
        read_expressions(tmp_path / "refs.p", tmp_path / "instances.json")


def test_real_expressions_and_boxes_are_read_whole(tmp_path):
    """What the published pickle is not there for: real words of RefCOCO of real boxes of COCO, in its layout."""
    words, instances = REAL / "refcoco/sample_expressions_testA.json", REAL / "coco/instances.json"
    if not words.is_file() or not instances.is_file():
        pytest.skip(f"no real expressions at {words}, or no boxes at {instances}")
    rows, content = json.loads(words.read_text())["predictions"], json.loads(instances.read_text())
    refs = [
        {
            "ref_id": row["ref_id"],
            "ann_id": box["id"],
            "image_id": box["image_id"],
            "split": "testA",
            "sentences": [{"sent_id": place, "sent": row["sent"]}],
        }
        for place, (row, box) in enumerate(zip(rows, itertools.cycle(content["annotations"]), strict=False))
    ]
    (tmp_path / "refs.p").write_bytes(pickle.dumps(refs, protocol=0))
    reading = read_expressions(tmp_path / "refs.p", instances)
    assert len(reading.examples) == 1984
    assert not reading.dropped
    first = reading.examples[0]
    x, y, width, height = content["annotations"][0]["bbox"]
    assert (first.annotation, first.text, first.box) == ("47-0", "man in black", (x, y, x + width, y + height))
    sizes = {Path(image["file_name"]).stem: (image["width"], image["height"]) for image in content["images"]}
    for one in reading.examples:
        width, height = sizes[one.image_key]
        assert 0 <= one.box[0] < one.box[2] <= width + 1
        assert 0 <= one.box[1] < one.box[3] <= height + 1


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


@pytest.mark.parametrize(("overlap", "label"), [(0.4, 0), (0.6, 0.6)])
def test_an_overlap_below_a_half_is_no_label_and_out_of_reach(drawn, overlap, label):
    """The box that is meant is so much larger than the best candidate."""
    whole = dataset(drawn, "val")
    x1, y1, x2, y2 = whole.candidates(0).boxes[0].tolist()
    box = (x1, y1, x1 + (x2 - x1) / overlap, y2)
    meant = [replace(whole.expressions[0], box=box)]
    data = RefCocoDataset(meant, drawn.detected, drawn.processor, truth=None, max_tokens=13)
    assert data.batch([0])["labels"].max() == pytest.approx(label, abs=1e-3)
    metrics = data.measure(data.predict(Oracle(data, 1)))
    assert metrics == {"accuracy": float(label > 0), "upper_bound": float(label > 0)}


def test_a_prediction_is_the_box_whose_overlap_it_tells(drawn):
    data = dataset(drawn, "val")
    for row, one in enumerate(data.predict(Oracle(data, 1))):
        found = overlaps(np.array([one["box"]]), np.array([data.expressions[row].box]))
        assert one["annotation"] == data.expressions[row].annotation
        assert one["overlap"] == pytest.approx(float(found[0, 0]), abs=0.01)


def test_annotated_boxes_are_candidates_in_training_alone(drawn):
    with_truth, without = dataset(drawn, "train", truth=drawn.given), dataset(drawn, "train")
    assert len(with_truth.candidates(0)) == 2 * len(without.candidates(0))
    assert with_truth.overlap(0, with_truth.candidates(0)).max() == pytest.approx(1, abs=1e-2)


def test_a_model_without_a_whole_image_gets_none(drawn):
    whole = dataset(drawn, "train").batch([0, 5])
    bare = dataset(drawn, "train", processor=drawn.processor_of_mmf).batch([0, 5])
    for name in ("visual_features", "visual_boxes", "visual_attention_mask", "labels"):
        assert torch.equal(bare[name], whole[name][:, 1:])
    assert bare["labels"].any()


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
            logits[row, self.data.num_before :][: len(overlap)] = self.sign * torch.from_numpy(overlap).float()
        return VilbertTaskOutput(logits=logits)


@pytest.mark.parametrize("has_whole_image", [True, False])
def test_accuracy_reaches_the_upper_bound_and_falls_to_nothing(drawn, has_whole_image):
    data = dataset(drawn, "val", processor=None if has_whole_image else drawn.processor_of_mmf)
    best = data.measure(data.predict(Oracle(data, 1)))
    assert best["accuracy"] == best["upper_bound"] > 0.5
    assert data.measure(data.predict(Oracle(data, -1)))["accuracy"] == 0


def test_odd_refs_are_dropped_with_what_is_odd(tmp_path):
    sentences = [{"sent_id": 0, "sent": "dog"}]
    ref = {"ann_id": 5, "image_id": 7, "split": "val", "sentences": sentences}
    odd = {
        "ann_id": [5],
        "image_id": {},
        "split": None,
        "sentences": [*sentences, {"sent_id": 1, "sent": None}],
        "ref_id": None,
    }
    refs = [{**ref, "ref_id": 1}, *({**ref, "ref_id": name, name: value} for name, value in odd.items())]
    refs += [{**ref, "ref_id": "c", "sentences": [{"sent_id": 2}]}, {**ref, "ref_id": "d", "image_id": 8}]
    (tmp_path / "refs.p").write_bytes(pickle.dumps(refs, protocol=2))
    images = [{"id": 7, "file_name": "COCO_7.jpg"}, {"id": 8, "file_name": None}]
    boxes = [{"id": 5, "image_id": 7, "bbox": [1, 2, 3, 4]}]
    (tmp_path / "instances.json").write_text(json.dumps({"images": images, "annotations": boxes}))
    kept, dropped = read_expressions(tmp_path / "refs.p", tmp_path / "instances.json")
    assert [one.annotation for one in kept] == ["1-0"]
    assert dropped == [
        ("ann_id", "bad_value", "ann_id is [5], expected a text"),
        ("image_id", "bad_value", "image_id is {}, expected a text"),
        ("split", "bad_value", "split is None, expected a text"),
        ("sentences", "bad_value", "sent is None, expected a text"),
        ("row 5", "bad_value", "ref_id is None, expected a text"),
        ("c", "bad_value", "sentences: row 0 has no 'sent', expected sent_id, sent"),
        ("d", "bad_value", "file_name is None, expected a text"),
    ]
