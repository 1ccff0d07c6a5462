"""Train the small detector from scratch on boxes in COCO's format: `python -m extract.detection.train`."""

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image
from torch import Tensor
from torchvision.models.detection import FasterRCNN
from tqdm import tqdm

from extract.command import run
from extract.detection.average_precision import Boxes, average_precision
from extract.detection.detector import multiplying, tf32_of
from extract.detection.detector_torchvision import Architecture, build_model, save_model
from extract.devices import best_device
from extract.settings import DetectorSettings, DetectorTrainingSettings
from extract.tables import read_json, whole_file


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledImages:
    """Images on disk and the boxes in them; label 0 is the background."""

    paths: list[Path]
    boxes: list[np.ndarray]  # of each image: [N, 4] float32, x1 y1 x2 y2 in pixels
    labels: list[np.ndarray]  # of each image: [N] int64
    classes: tuple[str, ...]  # background first
    shorter_side: int  # pixels, median of the images

    def __len__(self) -> int:
        return len(self.paths)


def main(
    site: Path,
    train_boxes: Path,
    val_boxes: Path,
    out_model: Path,
    out_metrics: Path,
    *,
    detector: Annotated[DetectorSettings, typer.Option(parser=DetectorSettings.model_validate_json)],
    training: Annotated[DetectorTrainingSettings, typer.Option(parser=DetectorTrainingSettings.model_validate_json)],
) -> None:
    """Learn to find the boxes of TRAIN_BOXES, whose images lie under SITE, and measure on VAL_BOXES.

    OUT_MODEL is a safetensors file, OUT_METRICS the AP50 in percent, overall and by class, and the losses. Weights
    are equal for equal settings on one machine with one number of threads.
    """
    train, val = read_boxes(train_boxes, site), read_boxes(val_boxes, site)
    if train.classes != val.classes:
        raise ValueError(f"the categories of {train_boxes} and {val_boxes} differ; draw both in one run")
    started = time.perf_counter()
    torch.manual_seed(training.seed)
    architecture = architecture_for(train)
    model = build_model(architecture).to(best_device(), memory_format=torch.channels_last)
    dtype = getattr(torch, detector.dtype)
    with multiplying(tf32=tf32_of(dtype)):
        losses = fit(model, train, settings=training, dtype=dtype)
        seconds = time.perf_counter() - started
        by_class = evaluate(model, val, batch_size=detector.batch_size)
    known = [value for value in by_class.values() if value is not None]
    metrics = {
        "ap50": float(np.mean(known)) if known else None,
        "ap50_by_class": by_class,
        "num_train_images": len(train),
        "num_val_images": len(val),
        "steps": training.steps,
        "seconds": seconds,
        "losses": losses,
    }
    save_model(model, architecture, out_model)
    with whole_file(out_metrics) as partial:
        partial.write_text(json.dumps(metrics, indent=2) + "\n")
    print(f"AP50 {metrics['ap50']:.1f} on {len(val)} images after {training.steps} steps, {seconds:.0f} s")


def read_boxes(path: Path, site: Path) -> LabelledImages:
    """The images and boxes of a file in COCO's instances format; `file_name` is relative to `site`.

    Raises: ValueError if there is nothing to learn from.
    """
    instances = read_json(path)
    categories = sorted(instances["categories"], key=lambda category: category["id"])
    labels = {category["id"]: label for label, category in enumerate(categories, start=1)}
    of_image: dict[int, list[dict]] = {image["id"]: [] for image in instances["images"]}
    for annotation in instances["annotations"]:
        if not annotation.get("iscrowd") and min(annotation["bbox"][2:]) > 0:
            of_image[annotation["image_id"]].append(annotation)
    images = [image for image in instances["images"] if of_image[image["id"]]]
    if not images:
        raise ValueError(f"{path} has no image with a box; draw the world anew with `snakemake --forcerun=draw_world`")
    corners = [np.array([a["bbox"] for a in of_image[image["id"]]], np.float32) for image in images]
    return LabelledImages(
        paths=[site / image["file_name"] for image in images],
        boxes=[np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1) for xywh in corners],
        labels=[np.array([labels[a["category_id"]] for a in of_image[image["id"]]]) for image in images],
        classes=("background", *(category["name"] for category in categories)),
        shorter_side=int(np.median([min(image["width"], image["height"]) for image in images])),
    )


def architecture_for(images: LabelledImages) -> Architecture:
    """The default architecture with the image size of `images` and anchors at the sextiles of their boxes' sizes."""
    boxes = np.concatenate(images.boxes)
    sizes = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
    return Architecture(
        classes=images.classes,
        shorter_side=images.shorter_side,
        longer_side=2 * images.shorter_side,
        anchor_sizes=tuple(max(1, round(size)) for size in np.quantile(sizes, [1 / 6, 3 / 6, 5 / 6])),
    )


def fit(
    model: FasterRCNN, images: LabelledImages, *, settings: DetectorTrainingSettings, dtype: torch.dtype
) -> list[float]:
    """Train `model` in place: AdamW, a linear warm-up, then a cosine to zero at the last step. Returns each loss.

    A detector that runs in float16 learns in bfloat16: gradients are too small for the former.
    """
    device = next(model.parameters()).device
    optimizer = torch.optim.AdamW(model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_share(step, settings=settings))
    generator = np.random.default_rng(settings.seed)
    model.train()
    losses: list[float] = []
    with tqdm(total=settings.steps, desc="train the detector", unit="step") as progress:
        for batch in _batches(len(images), settings=settings, generator=generator):
            pixels, targets = _load(images, batch, generator=generator, device=device)
            with torch.autocast(device.type, torch.bfloat16, enabled=dtype != torch.float32):
                loss = sum(model(pixels, targets).values(), torch.zeros((), device=device))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_gradient_norm)
            optimizer.step()
            schedule.step()
            losses.append(round(loss.item(), 5))
            progress.set_postfix(loss=f"{np.mean(losses[-20:]):.3f}", refresh=False)
            progress.update()
    if not math.isfinite(losses[-1]):
        raise ValueError(f"training diverged, loss {losses[-1]} at step {settings.steps}; lower learning_rate")
    return losses


def learning_rate_share(step: int, *, settings: DetectorTrainingSettings) -> float:
    """The share of the learning rate that step number `step`, from 0, takes."""
    if step < settings.warmup_steps:
        return (step + 1) / (settings.warmup_steps + 1)
    done = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    return (1 + math.cos(math.pi * min(1.0, done))) / 2


@torch.inference_mode()
def evaluate(model: FasterRCNN, images: LabelledImages, *, batch_size: int) -> dict[str, float | None]:
    """AP50 in percent of the model's own, regressed boxes, for each class."""
    device = next(model.parameters()).device
    model.eval()
    found = []
    with tqdm(total=len(images), desc="evaluate the detector", unit="image") as progress:
        for batch in _of_one_size(images, batch_size=batch_size):
            for result in model([image.to(device) / 255 for image in batch]):
                found.append(Boxes(**{name: result[name].cpu().numpy() for name in ("boxes", "labels", "scores")}))
            progress.update(len(batch))
    true = [
        Boxes(boxes=boxes, labels=labels, scores=np.ones(len(labels)))
        for boxes, labels in zip(images.boxes, images.labels, strict=True)
    ]
    by_label = average_precision(found, true, labels=list(range(1, len(images.classes))))
    return {images.classes[label]: value if value is None else 100 * value for label, value in by_label.items()}


def _of_one_size(images: LabelledImages, *, batch_size: int) -> Iterator[list[Tensor]]:
    """All images in their order; padding would change what is found, so that another size begins another batch."""
    batch: list[Tensor] = []
    for path in images.paths:
        image = _read(path)
        if batch and (len(batch) == batch_size or image.shape != batch[0].shape):
            yield batch
            batch = []
        batch.append(image)
    yield batch


def _batches(num_images: int, *, settings: DetectorTrainingSettings, generator: np.random.Generator):
    """As many batches of indices as there are steps; every image once before any comes again."""
    waiting = np.empty(0, np.int64)
    for _ in range(settings.steps):
        while len(waiting) < settings.batch_size:
            waiting = np.concatenate([waiting, generator.permutation(num_images)])
        yield waiting[: settings.batch_size]
        waiting = waiting[settings.batch_size :]


def _load(
    images: LabelledImages, batch: np.ndarray, *, generator: np.random.Generator, device: torch.device
) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """A batch as torchvision's detectors take it, each image mirrored half of the time."""
    pixels, targets = [], []
    for index, is_mirrored in zip(batch, generator.random(len(batch)) < 0.5, strict=True):
        image, boxes = _read(images.paths[index]), images.boxes[index]
        if is_mirrored:
            image, boxes = image.flip(2), boxes.copy()
            boxes[:, [0, 2]] = image.shape[2] - boxes[:, [2, 0]]
        pixels.append(image.to(device) / 255)
        labels = torch.from_numpy(images.labels[index])
        targets.append({"boxes": torch.from_numpy(boxes).to(device), "labels": labels.to(device)})
    return pixels, targets


def _read(path: Path) -> Tensor:
    """[3, H, W] float32, 0 to 255."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"), np.float32)
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


if __name__ == "__main__":
    run(main)
