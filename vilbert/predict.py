"""Ask a trained model about one's own images: vilbert predict MODEL IMAGES TEXT --detector WEIGHTS.

What it does follows from the model: a VQA model answers a question about each image, a retrieval or pretraining model
ranks the images for a caption, a RefCOCO+ model points at what an expression means.
"""

import json
import math
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import torch
import typer
from PIL import Image, ImageDraw
from torch import Tensor
from tqdm import tqdm
from transformers import AutoConfig, PreTrainedModel

from extract.command import run
from extract.devices import DeviceChoice, best_device
from extract.regions.store import Regions, RegionStore
from vilbert.batches.padding import pad_images
from vilbert.conversion.convert import MODELS
from vilbert.model.configuration_vilbert import VilbertConfig
from vilbert.model.directory import demand_model, read_processor
from vilbert.model.origin import demand_same_regions, learnt_from
from vilbert.model.processing_vilbert import VilbertProcessor
from vilbert.retrieval.scoring import EncodedImage, score_pairs

NUM_ANSWERS = 3
IMAGES_AT_ONCE = 64  # that a GPU is asked about; a CPU gains nothing by more than one
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
    device: Annotated[DeviceChoice, typer.Option(help="auto: a GPU if there is one")] = DeviceChoice.AUTO,
) -> None:
    """Print what MODEL says of each image, as JSON, the best fitting image first.

    A file of the folder of which nothing can be said stands at the end with the `reason`.
    """
    if not text.strip():
        raise ValueError("the text is empty, expected a question, a caption or an expression")
    if pictures is not None and images.suffix == ".lmdb":
        raise ValueError(f"{images} holds no pixels: give the folder of the images to draw boxes into")
    trained, processor = load(model)
    trained.to(best_device(device))  # type: ignore[arg-type]  # transformers' stubs
    with tempfile.TemporaryDirectory() as folder:
        is_store = images.suffix == ".lmdb"
        path = images
        if not is_store:
            selection = learnt_from(model).get("selection") or SELECTION
            path = extract(images, detector, detector_settings, selection, folder=Path(folder), device=device)
        store = RegionStore([path])
        demand_same_regions(model, store)
        rows = predict(trained, processor, store, text)
        if not is_store:
            rows += left_out(path)
        if pictures is not None:
            draw_boxes(rows, path.with_suffix(".tar"), pictures)
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


def extract(
    images: Path,
    detector: Path | None,
    settings: str,
    selection: dict,
    *,
    folder: Path,
    device: DeviceChoice = DeviceChoice.AUTO,
) -> Path:
    """The regions of a folder of images, by the commands of `extract`.

    Args:
        settings: section `detector`, as JSON.
        selection: section `selection`.
    Raises: ValueError if that does not work; SystemExit on a terminal, where the command has said why.
    """
    if detector is None:
        raise ValueError(f"{images} is no feature store (.lmdb): give the detector's weights with --detector")
    tar, table, store = folder / "images.tar", folder / "images.parquet", folder / "images.lmdb"
    outputs = [store, folder / "images.json", folder / "counts.parquet"]
    options = ["--detector", settings, "--selection", json.dumps(selection)]
    options += ["--store", json.dumps({"num_classes_kept": None}), "--device", device]
    if best_device(device).type == "cuda":
        options += ["--threads", str(os.cpu_count() or 1)]
    is_watched = sys.stderr.isatty()  # and sees the commands' progress
    for command in (
        ["extract.download.folder", images, tar, table],
        ["extract.regions.extract", tar, table, detector, *outputs, *options],
    ):
        stderr = None if is_watched else subprocess.PIPE
        done = subprocess.run([sys.executable, "-m", *map(str, command)], stderr=stderr, text=True)
        if done.returncode and is_watched:
            raise SystemExit(done.returncode)
        if done.returncode:
            last = [f"exit status {done.returncode}", *done.stderr.strip().splitlines()][-1]
            raise ValueError(f"{command[0]} failed: {last.removeprefix('error: ')}")
    return store


def left_out(store: Path) -> list[dict]:
    """The files beside whose store `extract` says why they are not in it."""
    images, counts = (pd.read_parquet(store.with_name(name)) for name in ("images.parquet", "counts.parquet"))
    reasons = [
        *images.loc[images["image_key"].isna(), ["key", "error_message", "detail"]].itertuples(index=False),
        *counts.loc[counts["reason"].notna(), ["key", "reason", "detail"]].itertuples(index=False),
    ]
    return [{"image": key, "reason": reason, "detail": detail} for key, reason, detail in reasons]


@torch.inference_mode()
def predict(model: PreTrainedModel, processor: VilbertProcessor, store: RegionStore, text: str) -> list[dict]:
    """A row an image, the likeliest first: its key, and answers, or a score, or a box with its score.

    Raises: ValueError if the memory of the model's GPU is too small.
    """
    keys = list(store)
    has_answers, is_grounding = hasattr(model, "answer_head"), hasattr(model, "grounding_head")
    try:
        if has_answers or is_grounding:
            at_once = 1 if model.device.type == "cpu" else IMAGES_AT_ONCE
            rows = ask(model, processor, store, text, describe=answer if has_answers else point, at_once=at_once)
        else:
            rows = rank(model, processor, store, keys, text)
    except torch.OutOfMemoryError as error:
        raise ValueError("the GPU's memory is too small for the model; ask it with --device cpu") from error
    return sorted(rows, key=lambda row: falling(row["answers"][0]["probability"] if has_answers else row["score"]))


def falling(score: float) -> tuple[bool, float]:
    """Sorts the largest first, and what is no number last."""
    return math.isnan(score), -score


def ask(
    model: PreTrainedModel,
    processor: VilbertProcessor,
    store: Mapping[str, Regions],
    text: str,
    *,
    describe: Callable[[PreTrainedModel, VilbertProcessor, Regions, Tensor], dict],
    at_once: int,
) -> list[dict]:
    """What `describe` says of each image, from its row of logits."""
    keys, rows = list(store), []
    with tqdm(total=len(keys), desc="asking", unit="image", disable=None) as bar:
        for start in range(0, len(keys), at_once):
            part = keys[start : start + at_once]
            images = [store[key] for key in part]
            logits = model(**processor([text] * len(part), images).to(model.device)).logits.cpu()
            for key, regions, of_image in zip(part, images, logits, strict=True):
                rows.append({"image": key} | describe(model, processor, regions, of_image))
            bar.update(len(part))
    return rows


def answer(model: PreTrainedModel, processor: VilbertProcessor, regions: Regions, logits: Tensor) -> dict:
    """The likeliest answers, of logits [A]."""
    probabilities = logits.sigmoid()
    best = probabilities.topk(min(NUM_ANSWERS, len(probabilities)))
    names: Any = model.config.id2label
    answers = [
        {"answer": names[int(index)], "probability": round(float(value), 4)}
        for value, index in zip(best.values, best.indices, strict=True)
    ]
    return {"answers": answers}


def point(model: PreTrainedModel, processor: VilbertProcessor, regions: Regions, logits: Tensor) -> dict:
    """The likeliest region, of logits [R] and more where another image has more regions."""
    first = int(processor.has_whole_image)
    of_regions = logits[first : first + len(regions)]
    best = int(of_regions.argmax())
    box = [round(float(value), 1) for value in regions.boxes[best]]
    return {"box": box, "score": round(float(of_regions[best].sigmoid()), 4)}


def rank(
    model: PreTrainedModel, processor: VilbertProcessor, store: RegionStore, keys: Sequence[str], text: str
) -> list[dict]:
    images = []
    for key in tqdm(keys, desc="reading", unit="image", disable=None):
        batch = pad_images([store[key]], has_whole_image=processor.has_whole_image)
        images.append(EncodedImage(batch["visual_features"][0], batch["visual_boxes"][0]))
    scores = score_pairs(model, [processor.encode_text([text])["input_ids"][0]], images)[0]
    return [{"image": key, "score": round(float(score), 4)} for key, score in zip(keys, scores, strict=True)]


def draw_boxes(rows: Sequence[dict], tar: Path, output: Path) -> None:
    """Each image with the box of its row, in a folder of its own: as the tar has it, in which the box was found."""
    output.mkdir(parents=True, exist_ok=True)
    with tarfile.open(tar) as images:
        for row in rows:
            if "box" in row and (file := images.extractfile(f"{row['image']}.jpg")):
                drawn = Image.open(file).convert("RGB")
                ImageDraw.Draw(drawn).rectangle(row["box"], outline=MARK, width=max(2, min(drawn.size) // 100))
                drawn.save(output / f"{row['image']}.png")


if __name__ == "__main__":
    run(main)
