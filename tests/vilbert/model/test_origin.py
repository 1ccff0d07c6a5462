import json

import numpy as np
import pytest

from extract.regions.store import Regions, RegionStore, RegionStoreWriter
from vilbert.model.origin import demand_same_regions, learnt_from, origin_of

SELECTION = {"threshold": 0.2}


def store(path, *, sha256="ab", classes=("background", "dog"), width=7, box_source="proposal", selection=SELECTION):
    writer = RegionStoreWriter(
        path,
        classes=classes,
        feature_size=width,
        num_classes_kept=None,
        box_source=box_source,
        detector={"sha256": sha256},
        selection=selection,
    )
    with writer:
        writer.put(
            "a",
            Regions(
                boxes=np.ones((3, 4), np.float32),
                scores=np.ones(3, np.float32),
                features=np.ones((3, width), np.float16),
                class_probs=np.ones((3, len(classes)), np.float16),
                image_size=(11, 13),
                num_confident=3,
                is_short=False,
            ),
        )
    return RegionStore([path])


@pytest.fixture
def model(tmp_path):
    """A model directory that has learnt of the store above."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"visual_feature_size": 7}))
    regions = origin_of(store(tmp_path / "learnt.lmdb"))
    (folder / "provenance.json").write_text(json.dumps({"regions": regions}))
    return folder


def test_a_store_of_the_same_kind_is_taken(model, tmp_path):
    demand_same_regions(model, store(tmp_path / "a.lmdb"))


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"sha256": "cd"}, "detector was ab, is cd"),
        ({"classes": ("background", "cat")}, "classes was"),
        ({"width": 11}, "feature_size was 7, is 11"),
        ({"box_source": "regressed"}, "box_source was proposal, is regressed"),
        ({"selection": {"threshold": 0.3}}, r"selection was \{'threshold': 0.2\}, is \{'threshold': 0.3\}"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_differs_is_named(model, tmp_path, other, reason):
    with pytest.raises(ValueError, match=rf"model has learnt of other regions than those in .*a\.lmdb: {reason}"):
        demand_same_regions(model, store(tmp_path / "a.lmdb", **other))


def test_boxes_that_annotations_name_were_chosen_by_nobody(model, tmp_path):
    given = store(tmp_path / "a.lmdb", box_source="given", selection={})
    demand_same_regions(model, given, are_given=True)
    other = store(tmp_path / "b.lmdb", box_source="given", selection={}, sha256="cd")
    with pytest.raises(ValueError, match="detector was ab, is cd"):
        demand_same_regions(model, other, are_given=True)


def test_a_model_that_chose_among_given_boxes_may_be_asked_about_any_of_its_detector(model, tmp_path):
    """A fine-tune on the detections that RefCOCO+ comes with: `predict` finds the boxes of one's own images itself."""
    given = origin_of(store(tmp_path / "given.lmdb", box_source="given", selection={}))
    (model / "provenance.json").write_text(json.dumps({"regions": given}))
    demand_same_regions(model, store(tmp_path / "a.lmdb"))
    with pytest.raises(ValueError, match="detector was ab, is cd"):
        demand_same_regions(model, store(tmp_path / "b.lmdb", sha256="cd"))


def test_what_one_of_both_does_not_know_is_not_compared_but_the_width_is(model, tmp_path):
    """Imported features come without a detector's digest, converted models without provenance."""
    numbered = ("background", "1", "2")
    demand_same_regions(model, store(tmp_path / "a.lmdb", sha256=None, classes=numbered, selection={}))
    (model / "provenance.json").unlink()
    demand_same_regions(model, store(tmp_path / "b.lmdb", sha256="cd", box_source="regressed"))
    with pytest.raises(ValueError, match="feature_size was 7, is 11"):
        demand_same_regions(model, store(tmp_path / "c.lmdb", width=11))


def test_a_model_knows_the_selection_that_it_has_learnt_of(model):
    assert learnt_from(model)["selection"] == SELECTION


@pytest.mark.parametrize("name", ["config.json", "provenance.json"])
def test_a_file_that_was_cut_off_is_named(model, name):
    (model / name).write_text((model / name).read_text()[:9])
    with pytest.raises(ValueError, match=rf"model/{name} is damaged \(.*\); copy or make the model anew"):
        learnt_from(model)
