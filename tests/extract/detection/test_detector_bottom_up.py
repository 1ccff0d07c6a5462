"""Bottom-up attention behind the seam, on both backends, by the numbers of a reference."""

import importlib.util
import pickle
import sys

import bottom_up_weights
import numpy as np
import pytest
import torch
from bottom_up_weights import SETTINGS, load, save_weights, tiny_weights
from places import DETECTOR

from benchmarks import gpu_regions
from extract.detection.bottom_up import BOXES_AT_ONCE
from extract.detection.detector_bottom_up import resized_size
from extract.detection.folded import FoldedBlock
from extract.regions.batches import placed

needs_golden = pytest.mark.skipif(not DETECTOR.is_dir(), reason=f"no numbers of the reference at {DETECTOR}")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
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


@pytest.fixture
def weights(tmp_path):
    with np.load(DETECTOR / "golden_tiny_weights.npz") as arrays:
        content = {"model": dict(arrays), "__author__": "nobody"}
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(content, protocol=2))
    return tmp_path / "model.pkl"


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(DETECTOR / "golden_tiny.npz"))


def images(count, height, width):
    return torch.randint(0, 256, (count, 3, height, width), generator=torch.Generator().manual_seed(1)).byte()


def as_array(height, width, *, seed):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


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
    attributes = torch.from_numpy(golden["attr"]).softmax(dim=1)
    close(found.attribute_probs, attributes[:, :-1])  # the last one is none of them


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
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 300), (600, 1), (10, 2000), (997, 3), (67, 89)])
def test_a_batch_of_any_size_gives_what_single_images_give(weights, height, width):
    detector = load(weights)
    assert detector.sees((height, width))
    batch = torch.randint(0, 256, (3, 3, height, width), generator=torch.Generator().manual_seed(1)).byte()
    for index, together in enumerate(detector.detect(batch)):
        (alone,) = detector.detect(batch[index : index + 1])
        for name in ("boxes", "class_probs", "features"):
            close(getattr(together, name), getattr(alone, name), atol=1e-3)


def test_weights_without_attributes_tell_none(tmp_path, random_weights):
    assert load(random_weights).attributes == tuple(f"unnamed {number}" for number in range(1, 8))
    parts = ("cls_embedding", "fc_attr", "attr_score")
    kept = {name: array for name, array in tiny_weights().items() if not any(part in name for part in parts)}
    detector = load(save_weights(tmp_path / "bare.pkl", kept))
    assert detector.attributes == ()
    (found,) = detector.detect(images(1, 67, 89))
    assert found.attribute_probs is None


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_image_may_bring_another_number_of_boxes_and_none_too(random_weights, backend):
    detector = load(random_weights, backend=backend)
    boxes = [torch.tensor([[2.0, 3, 31, 43], [5, 7, 89, 67], [2, 3, 31, 43]]), torch.zeros(0, 4)]
    some, none = detector.pool(images(2, 67, 89), boxes)
    assert torch.equal(some.boxes, boxes[0])
    close(some.features[0], some.features[2], atol=1e-6)
    assert not torch.allclose(some.features[0], some.features[1], atol=1e-2)
    assert (none.boxes.shape, none.class_probs.shape, none.features.shape) == ((0, 4), (0, 12), (0, 64))
    assert [len(of_image.boxes) for of_image in detector.pool(images(2, 67, 89), [boxes[1]] * 2)] == [0, 0]
    with pytest.raises(ValueError, match="1 sets of boxes for 2 images"):
        detector.pool(images(2, 67, 89), boxes[:1])


@pytest.mark.parametrize("backend", BACKENDS)
def test_more_boxes_than_are_pooled_at_once_give_what_single_images_give(random_weights, backend):
    detector = load(random_weights, backend=backend)
    corners = torch.rand(2 * BOXES_AT_ONCE + 3, 2, 2, generator=torch.Generator().manual_seed(2)).sort(dim=1).values
    boxes = (corners * torch.tensor([89, 67])).flatten(1)
    given = [boxes[: BOXES_AT_ONCE - 5], boxes[:0], boxes[BOXES_AT_ONCE - 5 :]]
    batch = images(3, 67, 89)
    for index, together in enumerate(detector.pool(batch, given)):
        (alone,) = detector.pool(batch[index : index + 1], given[index : index + 1])
        close(together.features, alone.features)
        close(together.class_probs, alone.class_probs)


@needs_detectron2
@pytest.mark.detectron2
@pytest.mark.filterwarnings("ignore:.*(torch.jit.script|torch.meshgrid)")
@pytest.mark.parametrize("box_source", ["proposal", "regressed", "repooled"])
def test_both_backends_find_the_same(random_weights, box_source):
    batch = images(2, 203, 151)
    ours, theirs = (
        load(random_weights, backend=backend, box_source=box_source).detect(batch)
        for backend in ("torchvision", "detectron2")
    )
    for one, other in zip(ours, theirs, strict=True):
        assert len(one.boxes) > 7
        close(one.boxes, other.boxes, atol=1e-3)
        close(one.features, other.features)
        close(one.class_probs, other.class_probs)
        close(one.attribute_probs, other.attribute_probs)


@pytest.mark.parametrize(("dtype", "similarity"), [("bfloat16", 0.9999), ("float16", 0.999999)])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_half_stays_a_half_between_the_convolutions_and_finds_nearly_the_same(
    random_weights, backend, dtype, similarity
):
    boxes = [torch.tensor([[2.0, 3, 31, 43], [5, 7, 89, 67], [40, 3, 71, 43]])]
    detectors = {dtype: load(random_weights, backend=backend, dtype=dtype) for dtype in ("float32", dtype)}
    exact, rounded = (detector.pool(images(1, 67, 89), boxes)[0] for detector in detectors.values())
    assert rounded.features.dtype == rounded.class_probs.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(exact.features, rounded.features).min() > similarity
    assert not torch.equal(exact.features, rounded.features)
    seen = set()
    network = detectors[dtype].network
    blocks = network.res5 if backend == "torchvision" else network.model.roi_heads.res5
    for layer in (*network.backbone.modules(), *blocks.modules()):
        if isinstance(layer, torch.nn.Conv2d | torch.nn.MaxPool2d | FoldedBlock):
            layer.register_forward_hook(lambda layer, inputs, output: seen.add((type(layer).__name__, output.dtype)))
    detectors[dtype].pool(images(1, 67, 89), boxes)
    assert {of_layer for _, of_layer in seen} == {getattr(torch, dtype)}


def test_the_manifest_says_what_is_multiplied_as_tf32_and_pytorch_s_default_is_left_as_it_was(random_weights):
    before = (torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision)
    seen = []
    for dtype in ("float32", "bfloat16", "float16"):
        detector = load(random_weights, dtype=dtype)
        detector.network.cls_score.register_forward_hook(
            lambda *_: seen.append(
                (torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision)
            )
        )
        detector.detect(images(1, 67, 89))
        assert (detector.identity["dtype"], detector.identity["tf32"]) == (dtype, dtype != "float32")
    assert seen == [("ieee", "ieee"), ("tf32", "tf32"), ("tf32", "tf32")]
    assert before == (torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision)


@pytest.mark.parametrize("box_source", ["proposal", "regressed", "repooled"])
def test_images_that_were_resized_before_give_what_they_give_as_they_come(random_weights, box_source):
    detector = load(random_weights, box_source=box_source)
    small, large = images(1, 67, 89), images(1, 134, 178)
    resized = [detector.resize(image[0].permute(1, 2, 0).numpy()) for image in (small, large)]
    assert resized[0].shape[:2] == resized[1].shape[:2] == detector.canvas_size((67, 89))
    together = detector.detect(torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2), [(67, 89), (134, 178)])
    for found, image in zip(together, (small, large), strict=True):
        (alone,) = detector.detect(image)
        for name in ("boxes", "class_probs", "features"):
            close(getattr(found, name), getattr(alone, name), atol=1e-3)
        (given,) = detector.pool(image, [alone.boxes])
        if box_source != "regressed":
            close(given.features, alone.features, atol=1e-3)


def on_one_canvas(detector, arrays, *, num_places):
    """Images [h, w, 3] of any sizes, resized, as a batch of the detector's."""
    resized = [detector.resize(array) for array in arrays]
    canvas = max(detector.canvas_size(array.shape[:2]) for array in arrays)
    return torch.from_numpy(placed(resized, canvas, num_places=num_places)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("box_source", ["proposal", "regressed", "repooled"])
def test_images_of_any_sizes_share_a_batch_where_the_detector_pads(random_weights, box_source):
    """As on a GPU; what is where no image is, is not looked at."""
    detector = load(random_weights, box_source=box_source)
    sizes = [(67, 89), (67, 103), (71, 97)]
    arrays = [as_array(*size, seed=seed) for seed, size in enumerate(sizes)]
    alone = [detector.detect(as_batch(array))[0] for array in arrays]
    given = [detector.pool(as_batch(array), [one.boxes])[0] for array, one in zip(arrays, alone, strict=True)]
    detector.pads = True
    assert {detector.canvas_size(size) for size in sizes} == {(160, 256)}
    batch = on_one_canvas(detector, arrays, num_places=5)
    batch[0, :, :, 250:] = 77
    batch[3:] = 99
    together = detector.detect(batch, sizes)
    pooled = detector.pool(batch, [one.boxes for one in alone], sizes)
    assert len(together) == len(pooled) == 3
    for found, expected in ((together, alone), (pooled, given)):
        for one, other in zip(found, expected, strict=True):
            assert len(one.boxes) > 7
            close(one.boxes, other.boxes, atol=1e-3)
            close(one.features, other.features)
            close(one.class_probs, other.class_probs)
            close(one.attribute_probs, other.attribute_probs)


@pytest.mark.slow
def test_the_published_network_too_finds_on_a_canvas_what_it_finds_alone(tmp_path, monkeypatch):
    """ResNet-101 with 1600 classes, random weights that propose as many boxes as trained ones."""
    for name, value in vars(bottom_up_weights).items():
        if name.isupper():
            monkeypatch.setattr(bottom_up_weights, name, value)  # the benchmark writes over it
    weights = gpu_regions.save_weights(tmp_path / "weights.pkl", gpu_regions.WHOLE)
    detector = load(weights, num_proposals=23)
    sizes = [(61, 89), (67, 71)]
    arrays = [as_array(*size, seed=seed) for seed, size in enumerate(sizes)]
    alone = [detector.detect(as_batch(array))[0] for array in arrays]
    detector.pads = True
    together = detector.detect(on_one_canvas(detector, arrays, num_places=2), sizes)
    for one, other in zip(together, alone, strict=True):
        close(one.boxes, other.boxes, atol=1e-2)
        assert torch.nn.functional.cosine_similarity(one.features, other.features).min() > 0.999999
        close(one.class_probs, other.class_probs)


def test_a_gpu_without_bfloat16_is_named_with_the_type_to_set(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    with pytest.raises(ValueError, match=r"^Tesla T4 has no bfloat16; set detector\.dtype to 'float16'$"):
        load(tmp_path / "model.pkl", dtype="bfloat16", device="cuda")


@needs_cuda
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_gpu_finds_on_a_canvas_what_it_finds_alone(random_weights, dtype):
    detector = load(random_weights, dtype=dtype, device="cuda")
    sizes = [(67, 89), (67, 103), (71, 97)]
    arrays = [as_array(*size, seed=seed) for seed, size in enumerate(sizes)]
    boxes = [torch.tensor([[2.0, 3, 31, 43], [5, 7, 89, 67], [40, 3, 71, 43]])] * 3
    together = detector.pool(on_one_canvas(detector, arrays, num_places=5), boxes, sizes)
    for one, array in zip(together, arrays, strict=True):
        (alone,) = detector.pool(as_batch(array), boxes[:1])
        assert torch.nn.functional.cosine_similarity(one.features, alone.features).min() > 0.9999


@needs_cuda
def test_a_gpu_proposes_what_the_cpu_proposes(random_weights):
    for one, other in zip(
        load(random_weights).detect(images(3, 67, 89)),
        load(random_weights, device="cuda").detect(images(3, 67, 89)),
        strict=True,
    ):
        close(other.boxes.cpu(), one.boxes, atol=1e-2)


@needs_cuda
@pytest.mark.parametrize(("dtype", "similarity"), [("float32", 0.999999), ("bfloat16", 0.999), ("float16", 0.99999)])
def test_a_gpu_gives_what_the_cpu_gives(random_weights, dtype, similarity):
    boxes = [torch.tensor([[2.0, 3, 31, 43], [5, 7, 89, 67], [40, 3, 71, 43]])] * 2
    exact = load(random_weights).pool(images(2, 67, 89), boxes)
    ours = load(random_weights, dtype=dtype, device="cuda").pool(images(2, 67, 89), boxes)
    for one, other in zip(exact, ours, strict=True):
        assert torch.nn.functional.cosine_similarity(one.features, other.features.cpu()).min() > similarity


@needs_golden
@pytest.mark.skipif(HAS_DETECTRON2, reason="detectron2 is there")
def test_a_missing_detectron2_is_named_with_its_remedy(weights):
    with pytest.raises(ImportError, match=r"envs/detectron2\.yaml, or set detector\.backend to 'torchvision'"):
        load(weights, backend="detectron2")


@pytest.mark.parametrize(
    ("size", "expected"), [((203, 301), (160, 237)), ((480, 640), (160, 213)), ((10, 20000), (16, 240))]
)
def test_the_shorter_side_is_as_asked_for_unless_the_longer_would_be_too_long(size, expected):
    assert resized_size(*size, settings=SETTINGS.bottom_up) == expected


@pytest.mark.skipif(HAS_DETECTRON2, reason="detectron2 is there")
def test_what_detectron2_misses_is_named(random_weights, tmp_path, monkeypatch):
    (tmp_path / "detectron2").mkdir()
    (tmp_path / "detectron2/__init__.py").touch()
    (tmp_path / "detectron2/config.py").write_text("import no_such_dependency")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match=r"cannot be imported \(No module named 'no_such_dependency'\)"):
        load(random_weights, backend="detectron2")
    del sys.modules["detectron2"]
