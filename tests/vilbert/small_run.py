"""A run's folder with a detector, and small models that have learnt of its regions."""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from small_configs import make_two_stream
from small_detector import ARCHITECTURE

from extract.detection.detector_torchvision import build_model, save_model
from vilbert.batches.tokens import train_tokenizer
from vilbert.model.directory import sha256_of
from vilbert.model.processing_vilbert import VilbertProcessor

SELECTION = {"threshold": 0.2, "min_regions": 3, "max_regions": 5, "nms_iou": 0.3}


def make_run(folder: Path) -> Path:
    """The folder, with a detector."""
    (folder / "detector").mkdir()
    torch.manual_seed(0)
    save_model(build_model(ARCHITECTURE), ARCHITECTURE, folder / "detector/model.safetensors")
    return folder


def make_model(run: Path, kind, *, name: str, make_config=make_two_stream, **changed) -> Path:
    """The directory of a model that has learnt of that detector's regions."""
    tokenizer = train_tokenizer(["a red circle above the blue square , how many ?"], vocab_size=97)
    torch.manual_seed(1)
    path = run / name / "model"
    sizes = {"vocab_size": len(tokenizer), "max_position_embeddings": 23} | changed
    kind(make_config(**sizes)).save_pretrained(path)
    VilbertProcessor(tokenizer).save_pretrained(path)
    sha256 = sha256_of(run / "detector/model.safetensors")
    identity = {"backend": "torchvision", "sha256": sha256, "dtype": "float32"}
    provenance = {"detector": identity, "regions": {"detector": sha256, "selection": SELECTION}}
    (path / "provenance.json").write_text(json.dumps(provenance))
    return path


def make_picture() -> Image.Image:
    """89 pixels high, 97 wide, of noise."""
    generator = np.random.default_rng(0)
    return Image.fromarray(generator.integers(0, 255, (89, 97, 3), dtype=np.uint8))
