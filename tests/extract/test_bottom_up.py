"""The network of bottom-up attention, held to the numbers of a reference implementation."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from extract.bottom_up import BottomUp

ROOT = Path(__file__).parents[2]
GOLDEN = Path(os.environ.get("VILBERT_SHARED_DATA", ROOT.parent / "shared" / "data")).parent / "detector"
MEAN = torch.tensor([102.9801, 115.9465, 122.7717])  # blue, green, red
pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"no numbers of the reference at {GOLDEN}")


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(GOLDEN / "golden_tiny.npz"))


@pytest.fixture(scope="module")
def weights():
    with np.load(GOLDEN / "golden_tiny_weights.npz") as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def close(actual, expected):
    torch.testing.assert_close(actual, torch.from_numpy(expected), rtol=1e-4, atol=1e-4)


def test_every_tensor_is_the_reference_s(golden, weights):
    model = BottomUp.from_detectron2(weights, num_proposals=60)
    with torch.inference_mode():
        maps = model.backbone((torch.from_numpy(golden["resized"]).float() - MEAN).permute(2, 0, 1)[None])
        close(maps, golden["res4"])
        (boxes,) = model.propose(maps, (160, 237))
        close(boxes, golden["proposals"])
        features = model.pool(maps, [boxes])
        close(features, golden["feats"])
        logits = model.cls_score(features)
        close(logits, golden["logits"])
        close(logits.softmax(dim=1), golden["probs"])
        close(model.bbox_pred(features), golden["deltas"])
        close(model.attribute_logits(features, logits), golden["attr"])
        regressed = model.regress(boxes, features).flatten(1)
        # Up to 989 pixels, not clipped: detectron2 itself is 6e-4 off where the numbers were not made.
        torch.testing.assert_close(regressed, torch.from_numpy(golden["boxes"]), rtol=1e-5, atol=1e-3)


def test_equal_shifts_of_equal_boxes_give_equal_boxes(golden, weights):
    model = BottomUp.from_detectron2(weights, num_proposals=60)
    deltas, proposals = torch.from_numpy(golden["deltas"]), torch.from_numpy(golden["proposals"])
    close(model.box_coder.decode_single(deltas, proposals), golden["boxes"])
