"""Ask a trained model about one's own images: vilbert predict MODEL IMAGES TEXT --detector WEIGHTS.

What it does follows from the model: a VQA model answers a question about each image, a retrieval or pretraining model
ranks the images for a caption, a RefCOCO+ model points at what an expression means.
"""

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import torch
import typer
from PIL import Image, ImageDraw
from transformers import AutoConfig, PreTrainedModel

from extract.command import run
from extract.images.decoding import as_seen
from extract.regions.store import RegionStore
from vilbert.batches.padding import pad_images
from vilbert.conversion.convert import MODELS
from vilbert.model.configuration_vilbert import VilbertConfig
from vilbert.model.directory import demand_model, read_processor
from vilbert.model.origin import demand_same_regions, learnt_from
from vilbert.model.processing_vilbert import VilbertProcessor
from vilbert.retrieval.scoring import EncodedImage, score_pairs

NUM_ANSWERS = 3
MARK = "#e6194b"
# Section `detector` of the settings, for weights that this workflow trained.
DETECTOR = '{"backend": "torchvision", "weights": null, "batch_size": 8, "dtype": "float32", "bottom_up": null}'
# For a model that does not say which it has learnt of: Lu et al. 2019, section 3.2.
SELECTION = {"threshold": 0.2, "min_regions": 10, "max_regions": 36, "nms_iou": 0.3}


def main(
    model: Annotated[Path, typer.Argument(help="folder of a trained model, or of a converted one")],
    images: Annotated[Path, typer.Argument(help="folder of images, or a feature store (.lmdb)")],
    text: Annotated[str, typer.Argument(help="a question, a caption, or an expression")],
    detector: Annotated[Path | None, typer.Option(help="weights that find the regions; needed for a folder")] = None,
    detector_settings: Annotated[str, typer.Option(help="section `detector` of the settings, as JSON")] = DETECTOR,
    pictures: Annotated[Path | None, typer.Option(help="folder for the images with what is meant in a box")] = None,
) -> None:
    """Print what MODEL says of each image, as JSON, the best fitting image first.

    An image of which nothing can be said stands at the end with the `reason`.
    """
    if not text.strip():
        raise ValueError("the text is empty, expected a question, a caption or an expression")
    if pictures is not None and images.suffix == ".lmdb":
        raise ValueError(f"{images} holds no pixels: give the folder of the images to draw boxes into")
    trained, processor = load(model)
    with tempfile.TemporaryDirectory() as folder:
        is_store = images.suffix == ".lmdb"
        path = images
        if not is_store:
            selection = learnt_from(model).get("selection") or SELECTION
            path = extract(images, detector, detector_settings, selection, folder=Path(folder))
        store = RegionStore([path])
        demand_same_regions(model, store)
        rows = predict(trained, processor, store, text)
        rows += [] if is_store else left_out(path)
    if pictures is not None:
        draw_boxes(rows, images, pictures)
    print(json.dumps(rows, indent=1))


def load(path: Path) -> tuple[PreTrainedModel, VilbertProcessor]:
    """A model directory by the class that it was saved from.

    Raises: FileNotFoundError for what is none; ValueError for a model that answers no text about one image.
    """
    demand_model(path)
    config = AutoConfig.from_pretrained(path)
    name = (config.architectures or ["none"])[0]
    kinds = [pair[0 if isinstance(config, VilbertConfig) else 1] for task, pair in MODELS.items() if task != "vcr"]
    kind = next((one for one in kinds if one.__name__ == name), None)
    if kind is None:
        raise ValueError(f"{path} holds a {name}, expected one of {', '.join(one.__name__ for one in kinds)}")
    return kind.from_pretrained(path).eval(), read_processor(path)


def extract(images: Path, detector: Path | None, settings: str, selection: dict, *, folder: Path) -> Path:
    """The regions of a folder of images, by the commands of `extract`.

    Args:
        settings: section `detector`, as JSON.
        selection: section `selection`.
    Raises: ValueError if that does not work.
    """
    if detector is None:
        raise ValueError(f"{images} is no feature store (.lmdb): give the detector's weights with --detector")
    tar, table, store = folder / "images.tar", folder / "images.parquet", folder / "images.lmdb"
    outputs = [store, folder / "images.json", folder / "counts.parquet"]
    options = ["--detector", settings, "--selection", json.dumps(selection)]
    options += ["--store", json.dumps({"num_classes_kept": None})]
    for command in (
        ["extract.download.folder", images, tar, table],
        ["extract.regions.extract", tar, table, detector, *outputs, *options],
    ):
        done = subprocess.run([sys.executable, "-m", *map(str, command)], stderr=subprocess.PIPE, text=True)
        if done.returncode:
            last = [f"exit status {done.returncode}", *done.stderr.strip().splitlines()][-1]
            raise ValueError(f"{command[0]} failed: {last.removeprefix('error: ')}")
    return store


def left_out(store: Path) -> list[dict]:
    """The images beside whose store `extract` says why they are not in it."""
    images, counts = (pd.read_parquet(store.with_name(name)) for name in ("images.parquet", "counts.parquet"))
    reasons = [
        *images.loc[images["image_key"].isna(), ["key", "error_message"]].itertuples(index=False),
        *counts.loc[counts["reason"].notna(), ["key", "reason"]].itertuples(index=False),
    ]
    return [{"image": key, "reason": reason} for key, reason in reasons]


@torch.inference_mode()
def predict(model: PreTrainedModel, processor: VilbertProcessor, store: RegionStore, text: str) -> list[dict]:
    """A row an image, the likeliest first: its key, and answers, or a score, or a box with its score."""
    keys = list(store)
    if hasattr(model, "answer_head"):
        rows = [answer(model, processor, store, key, text) for key in keys]
        return sorted(rows, key=lambda row: falling(row["answers"][0]["probability"]))
    if hasattr(model, "grounding_head"):
        rows = [point(model, processor, store, key, text) for key in keys]
    else:
        rows = rank(model, processor, store, keys, text)
    return sorted(rows, key=lambda row: falling(row["score"]))


def falling(score: float) -> tuple[bool, float]:
    """Sorts the largest first, and what is no number last."""
    return math.isnan(score), -score


def answer(model: PreTrainedModel, processor: VilbertProcessor, store: RegionStore, key: str, text: str) -> dict:
    probabilities = model(**processor([text], [store[key]])).logits[0].sigmoid()
    best = probabilities.topk(min(NUM_ANSWERS, len(probabilities)))
    names: Any = model.config.id2label
    answers = [
        {"answer": names[int(index)], "probability": round(float(value), 4)}
        for value, index in zip(best.values, best.indices, strict=True)
    ]
    return {"image": key, "answers": answers}


def point(model: PreTrainedModel, processor: VilbertProcessor, store: RegionStore, key: str, text: str) -> dict:
    regions = store[key]
    logits = model(**processor([text], [regions])).logits[0, int(processor.has_whole_image) :]
    best = int(logits.argmax())
    box = [round(float(value), 1) for value in regions.boxes[best]]
    return {"image": key, "box": box, "score": round(float(logits[best].sigmoid()), 4)}


def rank(
    model: PreTrainedModel, processor: VilbertProcessor, store: RegionStore, keys: Sequence[str], text: str
) -> list[dict]:
    images = []
    for key in keys:
        batch = pad_images([store[key]], has_whole_image=processor.has_whole_image)
        images.append(EncodedImage(batch["visual_features"][0], batch["visual_boxes"][0]))
    scores = score_pairs(model, [processor.encode_text([text])["input_ids"][0]], images)[0]
    return [{"image": key, "score": round(float(score), 4)} for key, score in zip(keys, scores, strict=True)]


def draw_boxes(rows: Sequence[dict], images: Path, output: Path) -> None:
    """Each image with the box of its row, in a folder of its own."""
    output.mkdir(parents=True, exist_ok=True)
    suffixes = Image.registered_extensions()
    paths = {path.stem: path for path in images.rglob("*") if path.suffix.lower() in suffixes}
    for row in rows:
        if "box" in row:
            with Image.open(paths[row["image"]]) as image:
                drawn = as_seen(image).convert("RGB")  # upright, as its boxes were found
            ImageDraw.Draw(drawn).rectangle(row["box"], outline=MARK, width=max(2, min(drawn.size) // 100))
            drawn.save(output / f"{row['image']}.png")


if __name__ == "__main__":
    run(main)
