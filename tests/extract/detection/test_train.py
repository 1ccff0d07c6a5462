"""Training of the detector: what it reads, how the rate goes, that it learns, and that it does so twice alike."""

import json

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file

from extract.detection.detector_torchvision import build_model
from extract.detection.loading import load_detector
from extract.detection.train import architecture_for, evaluate, learning_rate_share, main, read_boxes
from extract.settings import DetectorSettings, DetectorTrainingSettings

DETECTOR = DetectorSettings(backend="torchvision", weights=None, batch_size=3, dtype="float32", bottom_up=None)
SIDE = 64


def training(**changes):
    defaults = {"seed": 3, "steps": 5, "batch_size": 2, "learning_rate": 3e-3, "weight_decay": 1e-4}
    return DetectorTrainingSettings(**(defaults | {"warmup_steps": 2, "max_gradient_norm": 5} | changes))


def draw(folder, name, count):
    """Scenes of one red or blue square; every image is 64 x 64."""
    generator = np.random.default_rng(len(name))
    site = folder / "site"
    site.mkdir(exist_ok=True)
    instances: dict = {"images": [], "annotations": []}
    instances["categories"] = [{"id": 7, "name": "blue"}, {"id": 3, "name": "red"}]
    for index in range(count):
        label, side = int(generator.integers(2)), int(generator.integers(17, 31))
        x, y = (int(value) for value in generator.integers(0, SIDE - side, 2))
        image = Image.new("RGB", (SIDE, SIDE), "white")
        ImageDraw.Draw(image).rectangle((x, y, x + side, y + side), fill=("red", "blue")[label])
        image.save(site / f"{name}{index}.jpg")
        instances["images"].append({"id": index, "file_name": f"{name}{index}.jpg", "width": SIDE, "height": SIDE})
        box = {"id": index, "image_id": index, "bbox": [x, y, side, side], "category_id": (3, 7)[label]}
        instances["annotations"].append(box)
    (folder / f"{name}.json").write_text(json.dumps(instances))
    return folder / f"{name}.json"


def train(folder, out, **changes):
    train_boxes, val_boxes = draw(folder, "train", 53), draw(folder, "val", 11)
    main(
        folder / "site",
        train_boxes,
        val_boxes,
        out / "model.safetensors",
        out / "metrics.json",
        detector=DETECTOR,
        training=training(**changes),
    )
    return load_file(out / "model.safetensors"), json.loads((out / "metrics.json").read_text())


def test_boxes_become_corners_and_categories_labels_from_one(tmp_path):
    path = draw(tmp_path, "val", 11)
    images = read_boxes(path, tmp_path / "site")
    instances = json.loads(path.read_text())
    x, y, width, height = instances["annotations"][4]["bbox"]
    np.testing.assert_array_equal(images.boxes[4], [[x, y, x + width, y + height]])
    assert images.labels[4] == {3: 1, 7: 2}[instances["annotations"][4]["category_id"]]
    assert images.classes == ("background", "red", "blue")
    assert architecture_for(images).shorter_side == SIDE


def test_images_without_a_box_are_left_out_and_a_file_without_any_is_an_error(tmp_path):
    path = draw(tmp_path, "val", 3)
    instances = json.loads(path.read_text())
    path.write_text(json.dumps(instances | {"annotations": instances["annotations"][:1]}))
    assert len(read_boxes(path, tmp_path / "site")) == 1
    path.write_text(json.dumps(instances | {"annotations": []}))
    with pytest.raises(ValueError, match=r"val.json has no image with a box"):
        read_boxes(path, tmp_path / "site")


@pytest.mark.parametrize("batch_size", [2, 13])
def test_images_that_are_evaluated_together_are_of_one_size(tmp_path, batch_size):
    """And in their order: a picture's boxes are compared with its own."""
    path = draw(tmp_path, "val", 7)
    for name, size in (("val2", (47, 64)), ("val3", (47, 64)), ("val6", (64, 41))):
        with Image.open(tmp_path / "site" / f"{name}.jpg") as image:
            image.resize(size).save(tmp_path / "site" / f"{name}.jpg")
    images = read_boxes(path, tmp_path / "site")
    torch.manual_seed(0)
    model, seen = build_model(architecture_for(images)), []

    def see(_, given):
        seen.append([tuple(image.shape[1:]) for image in given[0]])

    model.register_forward_pre_hook(see)
    evaluate(model, images, batch_size=batch_size)
    square, tall, wide = (64, 64), (64, 47), (41, 64)
    last = [[square, square], [wide]]
    assert seen == [[square, square], [tall, tall], *last]


def test_the_rate_climbs_then_falls_to_zero_at_the_last_step():
    settings = training(steps=12, warmup_steps=3)
    shares = [learning_rate_share(step, settings=settings) for step in range(13)]
    np.testing.assert_allclose(shares[:4], [0.25, 0.5, 0.75, 1])
    assert shares[3:] == sorted(shares[3:], reverse=True)
    assert shares[12] == 0


def test_equal_settings_give_equal_weights_and_another_seed_others(tmp_path):
    one, metrics = train(tmp_path, tmp_path / "one")
    other, _ = train(tmp_path, tmp_path / "other")
    third, _ = train(tmp_path, tmp_path / "third", seed=5)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not all(torch.equal(one[name], third[name]) for name in one)
    assert len(metrics["losses"]) == metrics["steps"] == 5
    assert set(metrics["ap50_by_class"]) == {"red", "blue"}


@pytest.mark.slow
def test_it_learns_to_find_squares_and_tell_their_colours(tmp_path):
    _, metrics = train(tmp_path, tmp_path / "out", steps=90, batch_size=5, warmup_steps=11)
    assert metrics["ap50"] > 60
    detector = load_detector(tmp_path / "out" / "model.safetensors", settings=DETECTOR, device=torch.device("cpu"))
    with Image.open(tmp_path / "site" / "val0.jpg") as image:
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
    assert detector.detect(pixels)[0].class_probs[:, 1:].max() > 0.5
