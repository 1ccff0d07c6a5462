"""Bottom-up attention behind the seam, on both backends, by the numbers of a reference."""

import hashlib
import importlib.util
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from bottom_up_weights import save_weights, tiny_weights

from extract.detector import load_detector
from extract.detector_bottom_up import resized_size
from extract.settings import BottomUpSettings, DetectorSettings

ROOT = Path(__file__).parents[2]
GOLDEN = Path(os.environ.get("VILBERT_SHARED_DATA", ROOT.parent / "shared" / "data")).parent / "detector"
needs_golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"no numbers of the reference at {GOLDEN}")
HAS_DETECTRON2 = importlib.util.find_spec("detectron2") is not None
needs_detectron2 = pytest.mark.skipif(not HAS_DETECTRON2, reason="detectron2 cannot be imported")
DETECTRON2 = pytest.param(
    "detectron2",
    marks=[
        needs_detectron2,
        pytest.mark.detectron2,
        pytest.mark.filterwarnings("ignore:.*(torch.jit.script|torch.meshgrid)"),
    ],
)
BACKENDS = ["torchvision", DETECTRON2]
BOTTOM_UP = BottomUpSettings(
    url=None, sha256=None, shorter_side=160, longer_side=240, num_proposals=60, box_source="proposal"
)
SETTINGS = DetectorSettings(backend="torchvision", weights=None, batch_size=3, dtype="float32", bottom_up=BOTTOM_UP)


@pytest.fixture
def weights(tmp_path):
    with np.load(GOLDEN / "golden_tiny_weights.npz") as arrays:
        content = {"model": dict(arrays), "__author__": "nobody"}
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(content, protocol=2))
    return tmp_path / "model.pkl"


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(GOLDEN / "golden_tiny.npz"))


def load(path, *, backend="torchvision", **changes):
    bottom_up = BOTTOM_UP.model_copy(update=changes)
    settings = SETTINGS.model_copy(update={"backend": backend, "bottom_up": bottom_up})
    return load_detector(path, settings=settings, device=torch.device("cpu"))


def as_batch(image):
    return torch.from_numpy(image).permute(2, 0, 1)[None]


def close(actual, expected, *, atol=1e-4):
    torch.testing.assert_close(actual, torch.as_tensor(expected), rtol=1e-4, atol=atol)


@needs_golden
@pytest.mark.parametrize("backend", BACKENDS)
def test_an_image_gives_the_reference_s_numbers_background_first(weights, golden, backend):
    (found,) = load(weights, backend=backend).detect(as_batch(golden["image"][:, :, ::-1].copy()))
    close(found.boxes, golden["proposals"] * np.float32([301 / 237, 203 / 160] * 2))
    close(found.features, golden["feats"])
    close(found.class_probs, np.roll(golden["probs"], 1, axis=1))


@needs_golden
def test_regressed_boxes_keep_the_features_and_repooled_ones_do_not(weights, golden):
    image = as_batch(golden["image"][:, :, ::-1].copy())
    (proposal,), (regressed,), (repooled,) = (
        load(weights, box_source=source).detect(image) for source in ("proposal", "regressed", "repooled")
    )
    likeliest = golden["logits"][:, :-1].argmax(axis=1)
    expected = golden["boxes"].reshape(60, 20, 4)[np.arange(60), likeliest].clip(0, np.float32([237, 160] * 2))
    close(regressed.boxes, expected * np.float32([301 / 237, 203 / 160] * 2), atol=1e-3)
    close(regressed.features, proposal.features)
    close(repooled.boxes, regressed.boxes)
    (pooled,) = load(weights).pool(image, [regressed.boxes])
    close(repooled.features, pooled.features)
    assert not torch.allclose(repooled.features, proposal.features, atol=1e-2)


@needs_golden
@pytest.mark.parametrize(("height", "width"), [(1, 1), (10, 2000), (997, 3), (67, 89)])
def test_a_batch_of_any_size_gives_what_single_images_give(weights, height, width):
    detector = load(weights)
    batch = torch.randint(0, 256, (3, 3, height, width), generator=torch.Generator().manual_seed(1)).byte()
    for index, together in enumerate(detector.detect(batch)):
        (alone,) = detector.detect(batch[index : index + 1])
        for name in ("boxes", "class_probs", "features"):
            close(getattr(together, name), getattr(alone, name), atol=1e-3)


@needs_golden
def test_no_boxes_have_no_features(weights):
    (found,) = load(weights).pool(torch.zeros(1, 3, 67, 89, dtype=torch.uint8), [torch.zeros(0, 4)])
    assert (found.features.shape, found.class_probs.shape) == ((0, 128), (0, 21))


@needs_golden
def test_weights_with_another_digest_or_architecture_are_refused(weights, tmp_path):
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert load(weights, sha256=digest).identity["sha256"] == digest
    with pytest.raises(ValueError, match=rf"model\.pkl has the sha256 {digest}, expected 00; delete it"):
        load(weights, sha256="00")
    (tmp_path / "other.pkl").write_bytes(pickle.dumps({"fc.weight": np.zeros(3, np.float32)}))
    with pytest.raises(ValueError, match=r"other\.pkl holds no Faster R-CNN on ResNet-C4"):
        load(tmp_path / "other.pkl")


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("backbone.stem.conv1.weight", (), r"backbone\.stem\.conv1\.weight is of shape \(\), expected 4 sizes"),
        ("backbone.res4.0.conv1.weight", (7,), r"backbone\.res4\.0\.conv1\.weight is of shape \(7,\)"),
        ("backbone.res3.1.conv2.weight", (), r"size mismatch for backbone\.res3\.1\.conv2\.weight"),
        ("backbone.res3.0.conv1.weight", (4, 11, 1, 1), r"size mismatch for backbone\.res3\.0\.conv1\.weight"),
        ("roi_heads.res5.0.conv1.weight", (0, 32, 1, 1), r"res5\.0\.conv1\.weight is of shape \(0, 32, 1, 1\)"),
        (
            "proposal_generator.rpn_head.objectness_logits.weight",
            (15, 13, 1, 1),
            r"rpn\.head\.objectness_logits\.weight",
        ),
        ("roi_heads.box_predictor.cls_score.weight", (12,), r"cls_score\.weight is of shape \(12,\), expected 2 sizes"),
        ("roi_heads.box_predictor.cls_score.weight", (12, 67), "size mismatch for cls_score\\.weight"),
        ("roi_heads.box_predictor.cls_embedding.weight", (11, 3), "size mismatch for cls_embedding\\.weight"),
    ],
)
def test_a_weight_of_another_shape_is_named(tmp_path, name, shape, message):
    path = save_weights(tmp_path / "model.pkl", tiny_weights() | {name: np.zeros(shape, np.float32)})
    with pytest.raises(ValueError, match=rf"model\.pkl holds no Faster R-CNN on ResNet-C4 .*(?s:.*){message}"):
        load(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("backbone.stem.conv1.weight", r"backbone\.stem\.conv1\.weight is missing, expected 4 sizes"),
        ("roi_heads.box_predictor.cls_score.bias", r'Missing key\(s\) in state_dict: "cls_score\.bias"'),
    ],
)
def test_a_missing_weight_is_named(tmp_path, name, message):
    weights = tiny_weights()
    del weights[name]
    with pytest.raises(ValueError, match=message):
        load(save_weights(tmp_path / "model.pkl", weights))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([1, None], object), "is an array of object, expected numbers"),
        (np.array(["a"]), "is an array of <U1, expected numbers"),
        ([1.0, 2.0], "is a list, expected an array of numbers"),
    ],
)
def test_what_is_no_array_of_numbers_is_named(tmp_path, array, message):
    name = "backbone.stem.conv1.weight"
    with pytest.raises(ValueError, match=rf"model\.pkl: {name} {message}"):
        load(save_weights(tmp_path / "model.pkl", tiny_weights() | {name: array}))


def test_a_checkpoint_is_read_and_a_damaged_one_is_named(tmp_path):
    path = tmp_path / "model.pth"
    torch.save({"model": {name: torch.from_numpy(array) for name, array in tiny_weights().items()}}, path)
    assert load(path).classes[-1] == "11"
    pickled = path.read_bytes()
    for damaged in (pickled[:-1000], pickled.replace(b"_rebuild_tensor_v2", b"_rebuild_tensor_vX")):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"model\.pth is damaged or holds more than tensors"):
            load(path)


@needs_golden
@pytest.mark.skipif(HAS_DETECTRON2, reason="detectron2 is there")
def test_a_missing_detectron2_is_named_with_its_remedy(weights):
    with pytest.raises(ImportError, match=r"envs/detectron2\.yaml, or set detector\.backend to 'torchvision'"):
        load(weights, backend="detectron2")


@pytest.mark.parametrize(
    ("size", "expected"), [((203, 301), (160, 237)), ((480, 640), (160, 213)), ((10, 20000), (16, 240))]
)
def test_the_shorter_side_is_as_asked_for_unless_the_longer_would_be_too_long(size, expected):
    assert resized_size(*size, settings=BOTTOM_UP) == expected
