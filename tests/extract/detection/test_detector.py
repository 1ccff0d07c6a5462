"""The seam, and torchvision's detector behind it."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_detector import ARCHITECTURE

from extract.detection.detector_torchvision import build_model, save_model
from extract.detection.loading import load_detector
from extract.settings import DetectorSettings

SETTINGS = DetectorSettings(backend="torchvision", weights=None, batch_size=3, dtype="float32", bottom_up=None)


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    model = build_model(ARCHITECTURE)
    model.train()
    model.backbone(torch.rand(3, 3, 64, 64))  # so that the batch norms have something to say
    save_model(model, ARCHITECTURE, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def load(path, *, dtype="float32"):
    settings = SETTINGS.model_copy(update={"dtype": dtype})
    return load_detector(path, settings=settings, device=torch.device("cpu"))


def images(count, height, width):
    return torch.randint(0, 256, (count, 3, height, width), generator=torch.Generator().manual_seed(1)).byte()


@pytest.mark.parametrize(("height", "width"), [(64, 64), (97, 151), (31, 23), (61, 307)])
def test_boxes_are_pixels_of_the_image_that_came_in(weights, height, width):
    detector = load(weights)
    assert (detector.classes, detector.feature_size) == (ARCHITECTURE.classes, 17)
    for proposals in detector.detect(images(3, height, width)):
        count = len(proposals.boxes)
        assert 0 < count <= 19
        assert proposals.class_probs.shape == (count, 5)
        assert proposals.features.shape == (count, 17)
        torch.testing.assert_close(proposals.class_probs.sum(dim=1), torch.ones(count))
        x1, y1, x2, y2 = proposals.boxes.T
        assert ((x1 >= 0) & (x1 < x2) & (x2 <= width + 1e-3)).all()
        assert ((y1 >= 0) & (y1 < y2) & (y2 <= height + 1e-3)).all()
        assert x2.max() > width / 2


@pytest.mark.parametrize("thickness", [1, 2, 3])
def test_a_detector_sees_what_is_not_too_thin_for_it_and_says_so_of_the_rest(weights, thickness):
    """An image is resized to 64 pixels, the longer side to 128 at most, and rounded down."""
    detector = load(weights)
    for width in (1, 64, 128 * thickness - 1, 128 * thickness):
        assert detector.sees((thickness, width))
        assert detector.sees((width, thickness))
        for proposals in (*detector.detect(images(2, thickness, width)), *detector.detect(images(1, width, thickness))):
            assert proposals.features.isfinite().all()
    for width in (128 * thickness + 1, 3000):
        assert not detector.sees((thickness, width))
        assert not detector.sees((width, thickness))


def test_a_batch_gives_what_single_images_give(weights):
    detector = load(weights)
    batch = images(5, 67, 89)
    for index, together in enumerate(detector.detect(batch)):
        alone = detector.detect(batch[index : index + 1])[0]
        for name in ("boxes", "class_probs", "features"):
            torch.testing.assert_close(getattr(together, name), getattr(alone, name), rtol=1e-4, atol=1e-5)


def test_folding_the_batch_norms_changes_nothing(weights):
    detector = load(weights)
    model = build_model(ARCHITECTURE)
    model.load_state_dict(load_file(weights))
    x = images(2, 64, 64).float()
    with torch.inference_mode():
        torch.testing.assert_close(detector.model.backbone(x), model.eval().backbone(x), rtol=1e-4, atol=1e-4)


def test_the_same_weights_have_the_same_identity_and_others_another(weights, tmp_path):
    torch.manual_seed(1)
    save_model(build_model(ARCHITECTURE), ARCHITECTURE, tmp_path / "other.safetensors")
    assert load(weights).identity == load(weights).identity
    assert load(weights).identity["sha256"] != load(tmp_path / "other.safetensors").identity["sha256"]
    assert load(weights).identity != load(weights, dtype="bfloat16").identity


def test_bfloat16_finds_nearly_the_same(weights):
    exact, rounded = (load(weights, dtype=dtype).detect(images(1, 64, 64))[0] for dtype in ("float32", "bfloat16"))
    assert rounded.class_probs.dtype == rounded.boxes.dtype == torch.float32
    torch.testing.assert_close(exact.class_probs.mean(dim=0), rounded.class_probs.mean(dim=0), rtol=0.05, atol=0.02)


def test_weights_that_are_missing_or_of_something_else_are_errors(tmp_path):
    path = tmp_path / "model.safetensors"
    with pytest.raises(FileNotFoundError, match=r"no detector at .*; train one with `snakemake .*model.safetensors`"):
        load(path)
    path.write_bytes(b"no tensors")
    with pytest.raises(ValueError, match=r"model.safetensors holds no torchvision detector"):
        load(path)
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match=r"model.safetensors holds no torchvision detector"):
        load(path)


def test_given_boxes_have_the_features_and_classes_of_the_same_proposals(weights):
    detector = load(weights)
    pixels = images(3, 97, 151)
    found = detector.detect(pixels)
    orders = [torch.randperm(len(one.boxes), generator=torch.Generator().manual_seed(3)) for one in found]
    pooled = detector.pool(pixels, [one.boxes[order] for one, order in zip(found, orders, strict=True)])
    for one, other, order in zip(found, pooled, orders, strict=True):
        torch.testing.assert_close(other.boxes, one.boxes[order])
        torch.testing.assert_close(other.features, one.features[order], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(other.class_probs, one.class_probs[order], atol=1e-5, rtol=1e-4)


def test_every_image_may_bring_another_number_of_boxes_and_none_too(weights):
    detector = load(weights)
    boxes = [torch.tensor([[2.0, 3, 31, 43], [5, 7, 89, 67], [2, 3, 31, 43]]), torch.zeros(0, 4)]
    some, none = detector.pool(images(2, 67, 89), boxes)
    assert torch.equal(some.boxes, boxes[0])
    torch.testing.assert_close(some.features[0], some.features[2])
    assert not torch.allclose(some.features[0], some.features[1])
    assert (none.boxes.shape, none.class_probs.shape, none.features.shape) == ((0, 4), (0, 5), (0, 17))
    assert [len(of_image.boxes) for of_image in detector.pool(images(2, 67, 89), [boxes[1]] * 2)] == [0, 0]
    with pytest.raises(ValueError, match="1 sets of boxes for 2 images"):
        detector.pool(images(2, 67, 89), boxes[:1])
