"""Tiny random weights of bottom-up attention's family, under detectron2's names, and the settings to run them."""

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from extract.detection.detector import Detector
from extract.detection.loading import load_detector
from extract.settings import BottomUpSettings, DetectorSettings

STEM, WIDTH, HIDDEN, NUM_ANCHORS = 5, 2, 13, 12
NUM_BLOCKS = {"backbone.res2": 3, "backbone.res3": 4, "backbone.res4": 6, "roi_heads.res5": 3}  # of a ResNet-50
NUM_CLASSES, NUM_ATTRIBUTES, EMBEDDING, ATTRIBUTE_HIDDEN = 11, 7, 3, 17  # without the background and "none"
FEATURE_SIZE = 32 * WIDTH
HEADS = "roi_heads.box_predictor"
SETTINGS = DetectorSettings(
    backend="torchvision",
    weights=None,
    batch_size=3,
    dtype="float32",
    bottom_up=BottomUpSettings(
        url=None,
        sha256=None,
        class_names=None,
        attribute_names=None,
        shorter_side=160,
        longer_side=240,
        num_proposals=60,
        box_source="proposal",
    ),
)


def tiny_weights(seed: int = 1) -> dict[str, np.ndarray]:
    """Drawn so that the activations stay of the size of the pixels' spread; norms are near 1, and none is 1."""
    generator = np.random.default_rng(seed)
    weights = {}
    for name, shape in shapes():
        if name.endswith(("norm.weight", "running_var")):
            array = generator.uniform(0.5, 1.5, shape)
        elif len(shape) == 1:
            array = generator.normal(0, 0.1, shape)
        else:
            array = generator.normal(0, np.sqrt(1 / np.prod(shape[1:])), shape)
        if name.endswith(("anchor_deltas.weight", "bbox_pred.weight")):
            array /= 50  # or boxes would be moved out of the image
        weights[name] = array.astype(np.float32)
    return weights


def shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every tensor of a small ResNet-50 on C4 with attributes."""
    yield from convolution("backbone.stem.conv1", (STEM, 3, 7, 7))
    in_channels = STEM
    for number, (stage, num_blocks) in enumerate(NUM_BLOCKS.items()):
        width = WIDTH * 2**number
        for block in range(num_blocks):
            name = f"{stage}.{block}"
            if block == 0:
                yield from convolution(f"{name}.shortcut", (4 * width, in_channels, 1, 1))
            yield from convolution(f"{name}.conv1", (width, in_channels, 1, 1))
            yield from convolution(f"{name}.conv2", (width, width, 3, 3))
            yield from convolution(f"{name}.conv3", (4 * width, width, 1, 1))
            in_channels = 4 * width
    yield from layer("proposal_generator.rpn_head.conv", (HIDDEN, 16 * WIDTH, 3, 3))
    yield from layer("proposal_generator.rpn_head.objectness_logits", (NUM_ANCHORS, HIDDEN, 1, 1))
    yield from layer("proposal_generator.rpn_head.anchor_deltas", (4 * NUM_ANCHORS, HIDDEN, 1, 1))
    yield from layer(f"{HEADS}.cls_score", (NUM_CLASSES + 1, FEATURE_SIZE))
    yield from layer(f"{HEADS}.bbox_pred", (4 * NUM_CLASSES, FEATURE_SIZE))
    yield f"{HEADS}.cls_embedding.weight", (NUM_CLASSES + 1, EMBEDDING)
    yield from layer(f"{HEADS}.fc_attr", (ATTRIBUTE_HIDDEN, FEATURE_SIZE + EMBEDDING))
    yield from layer(f"{HEADS}.attr_score", (NUM_ATTRIBUTES + 1, ATTRIBUTE_HIDDEN))


def convolution(name: str, shape: tuple[int, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", shape
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.norm.{part}", shape[:1]


def layer(name: str, shape: tuple[int, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]


def save_weights(path: Path, weights: dict[str, np.ndarray]) -> Path:
    """As the published weights are saved."""
    path.write_bytes(pickle.dumps({"model": weights, "__author__": "nobody"}, protocol=2))
    return path


def load(
    path: Path, *, backend: str = "torchvision", dtype: str = "float32", device: str = "cpu", **changes
) -> Detector:
    """The detector of a file; `changes` are of its settings under `bottom_up`."""
    bottom_up = SETTINGS.bottom_up.model_copy(update=changes)
    settings = SETTINGS.model_copy(update={"backend": backend, "dtype": dtype, "bottom_up": bottom_up})
    return load_detector(path, settings=settings, device=torch.device(device))
