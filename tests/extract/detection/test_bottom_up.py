"""The network of bottom-up attention, held to the numbers of a reference implementation."""

import numpy as np
import pytest
import torch
from bottom_up_weights import tiny_weights
from fake_gpu import NothingWaits
from places import DETECTOR
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision.models.detection._utils import BoxCoder

from extract.detection.bottom_up import BottomUp, ProposalNetwork, moved

MEAN = torch.tensor([102.9801, 115.9465, 122.7717])  # blue, green, red
needs_golden = pytest.mark.skipif(not DETECTOR.is_dir(), reason=f"no numbers of the reference at {DETECTOR}")


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(DETECTOR / "golden_tiny.npz"))


@pytest.fixture(scope="module")
def weights():
    with np.load(DETECTOR / "golden_tiny_weights.npz") as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def close(actual, expected):
    torch.testing.assert_close(actual, torch.from_numpy(expected), rtol=1e-4, atol=1e-4)


@needs_golden
def test_every_tensor_is_the_reference_s(golden, weights):
    model = BottomUp.from_detectron2(weights, num_proposals=60)
    with torch.inference_mode():
        maps = model.backbone((torch.from_numpy(golden["resized"]).float() - MEAN).permute(2, 0, 1)[None])
        close(maps, golden["res4"])
        (boxes,) = model.propose(maps, [(160, 237)])
        close(boxes, golden["proposals"])
        features = model.pool(maps, [boxes])
        close(features, golden["feats"])
        logits = model.cls_score(features)
        close(logits, golden["logits"])
        close(logits.softmax(dim=1), golden["probs"])
        close(model.bbox_pred(features), golden["deltas"])
        close(model.attribute_head(features, logits), golden["attr"])
        regressed = model.regress(boxes, features).flatten(1)
        # Up to 989 pixels, not clipped: on processors that sum in another order, up to 1.5e-3 off.
        torch.testing.assert_close(regressed, torch.from_numpy(golden["boxes"]), rtol=1e-5, atol=3e-3)


@needs_golden
def test_equal_shifts_of_equal_boxes_give_equal_boxes(golden, weights):
    deltas, proposals = torch.from_numpy(golden["deltas"]).unflatten(1, (-1, 4)), torch.from_numpy(golden["proposals"])
    close(moved(proposals[:, None], deltas, of_centres=10, of_sides=5).flatten(1), golden["boxes"])


@pytest.mark.parametrize(("of_centres", "of_sides"), [(1, 1), (10, 5)])
def test_boxes_are_moved_as_torchvision_moves_them(of_centres, of_sides):
    generator = torch.Generator().manual_seed(0)
    corners, shifts = torch.rand(13, 2, 2, generator=generator), 5 * torch.randn(13, 7, 4, generator=generator)
    boxes = (400 * corners).sort(dim=1).values.flatten(1)
    expected = BoxCoder((of_centres, of_centres, of_sides, of_sides)).decode_single(shifts.flatten(1), boxes)
    assert torch.equal(moved(boxes[:, None], shifts, of_centres=of_centres, of_sides=of_sides).flatten(1), expected)


def test_a_gpu_is_not_waited_for_before_the_proposals_are_counted():
    shapes = {name: torch.Size(array.shape) for name, array in tiny_weights().items()}
    with FakeTensorMode():
        with torch.device("cuda"):
            network, maps = ProposalNetwork(shapes, 32, num_proposals=23), torch.empty(2, 32, 23, 17)
        with NothingWaits():
            _, boxes, is_candidate = network.ranked(maps, [(368, 272), (100, 272)])
    assert boxes.shape == (2, 4692, 4)
    assert is_candidate.is_cuda


def test_folding_the_norms_changes_nothing_and_leaves_none():
    tensors = {name: torch.from_numpy(array) for name, array in tiny_weights().items()}
    model, folded = (BottomUp.from_detectron2(tensors, num_proposals=60) for _ in range(2))
    folded.fold(torch.float32)
    assert not any("Norm" in type(module).__name__ for module in folded.modules())
    images = 60 * torch.randn(2, 3, 131, 97, generator=torch.Generator().manual_seed(1))
    boxes = [torch.tensor([[2.0, 3, 71, 43]]), torch.tensor([[5.0, 7, 89, 67], [0, 0, 97, 131]])]
    with torch.inference_mode():
        maps, same = model.backbone(images), folded.backbone(images)
        torch.testing.assert_close(same, maps, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(folded.pool(maps, boxes), model.pool(maps, boxes), rtol=1e-4, atol=1e-4)
    assert maps.std() > 1


def test_images_of_any_sizes_share_a_batch_and_each_has_the_map_that_it_has_alone():
    """Every remainder of a height and a width after the four halvings; what is beyond an image is 0 in its map."""
    model = BottomUp.from_detectron2(
        {name: torch.from_numpy(array) for name, array in tiny_weights().items()}, num_proposals=60
    )
    model.fold(torch.float64)  # whose rounding hides nothing, on any CPU
    sizes = [(64 + step, 97 - step) for step in range(16)] + [(16, 97), (97, 16), (0, 0)]
    generator = torch.Generator().manual_seed(1)
    images = torch.zeros(len(sizes), 3, 101, 103, dtype=torch.float64)
    for image, (height, width) in zip(images, sizes, strict=True):
        image[:, :height, :width] = 60 * torch.randn(3, height, width, generator=generator)
    with torch.inference_mode():
        together = model.backbone(images, sizes)
        for image, of_image, (height, width) in zip(images[:-1], together[:-1], sizes[:-1], strict=True):
            (alone,) = model.backbone(image[None, :, :height, :width])
            rows, columns = alone.shape[1:]
            torch.testing.assert_close(of_image[:, :rows, :columns], alone, rtol=1e-12, atol=1e-12)
            assert of_image[:, rows:].count_nonzero() == of_image[:, :, columns:].count_nonzero() == 0
    assert together[-1].count_nonzero() == 0
    assert together.std() > 1


def test_boxes_that_are_all_sure_are_ranked_too():
    """The sigmoid of these logits is 1 in float32."""
    tensors = {name: torch.from_numpy(array) for name, array in tiny_weights().items()}
    maps = torch.randn(1, 32, 23, 17, generator=torch.Generator().manual_seed(1))
    proposals = []
    for bias in (0.0, 32.0):
        tensors["proposal_generator.rpn_head.objectness_logits.bias"] = torch.full((12,), bias)
        with torch.inference_mode():
            proposals += BottomUp.from_detectron2(tensors, num_proposals=23).propose(maps, [(368, 272)])
    assert len(proposals[0]) == 23
    torch.testing.assert_close(*proposals)
