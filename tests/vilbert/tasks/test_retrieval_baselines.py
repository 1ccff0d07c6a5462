import json

import numpy as np
import pytest
import torch
from seen_classes import BOTTOM_RIGHT, TOP_LEFT, store_of
from small_configs import make_two_stream

from vilbert.model.modeling_tasks import VilbertForImageTextRetrieval
from vilbert.tasks.retrieval import Caption, RetrievalDataset
from vilbert.tasks.retrieval_baselines import RetrievalBaselines

CAPTIONS = [
    Caption("1", "b", "val", "a red circle"),
    Caption("2", "a", "val", "a blue square"),
    Caption("3", "a", "val", "a red circle"),
    Caption("4", "gone", "val", "the sky"),
]


def dataset(drawn, path, **changed):
    store = store_of(path, {"a": [(TOP_LEFT, 1), (BOTTOM_RIGHT, 2)], "b": [(TOP_LEFT, 1)]}, **changed)
    return RetrievalDataset(CAPTIONS, store, drawn.processor, max_tokens=13, seed=0, neighbours=None)


def test_values_by_hand(drawn, tmp_path):
    """Four captions of three images, one without features; two captions are alike, so both their images are right."""
    found = RetrievalBaselines().of(dataset(drawn, tmp_path / "store.lmdb"))
    assert found.chance == found.blind == found.no_text
    assert found.chance["image_recall_at_1"] == pytest.approx((1 + 1 / 2 + 1 + 0) / 4)
    assert found.chance["text_recall_at_1"] == pytest.approx((2 / 4 + 3 / 4 + 0) / 3)
    assert found.rule["image_recall_at_1"] == found.ceiling["image_recall_at_1"] == 3 / 4
    assert found.rule["text_recall_at_1"] == found.ceiling["text_recall_at_1"] == pytest.approx(2 / 3)
    assert found.ceiling["image_median_rank"] == 1
    assert (found.num_examples, found.num_dropped) == (4, 1)
    rows = {row["measure"]: row for row in found.rows("val", found.chance)}
    assert (rows["image_recall_at_1"]["num_examples"], rows["text_recall_at_1"]["num_examples"]) == (4, 3)


def test_a_store_without_classes_has_no_rule(drawn, tmp_path):
    assert RetrievalBaselines().of(dataset(drawn, tmp_path / "store.lmdb", classes=())).rule == {}


def test_an_image_without_features_stands_last_for_its_caption_and_finds_none(drawn, tmp_path):
    torch.manual_seed(0)
    data = dataset(drawn, tmp_path / "store.lmdb")
    model = VilbertForImageTextRetrieval(make_two_stream(vocab_size=199, visual_feature_size=11)).eval()
    scores = data.predict(model)
    assert np.isneginf(scores[:, 2].numpy()).all()
    assert np.isfinite(scores[:, :2].numpy()).all()
    data.write(scores, tmp_path, "val")
    rows = json.loads((tmp_path / "val.json").read_text())
    assert [row["annotation"] for row in rows] == ["1", "2", "3", "4"]
    assert rows[3]["images"][2] == "gone"
