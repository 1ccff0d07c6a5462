"""RefCOCO, RefCOCO+ and RefCOCOg: an expression, and which region of an image is meant.

Dimension key:
    B: batch   R: regions (the first is the whole image)   N: regions without it
"""

import csv
import io
import json
import pickle
import struct
from collections.abc import Sequence, Set
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from reprlib import repr as shown
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from extract.overlap import overlaps
from extract.regions.store import Regions, RegionStore
from vilbert.batches.padding import ANY_WIDTH, Widths, pad_images, pad_texts, together
from vilbert.batches.sampling import Draw
from vilbert.model.inputs import Batch
from vilbert.model.processing_vilbert import VilbertProcessor
from vilbert.tasks.reading import Dropped, Reading, by_id, demand_fields, encode_texts, read_json, text_in
from vilbert.training.shares import ask_in_shares

HIT = 0.5  # intersection over union from which a region is what is meant
EVALUATION_BATCH = 128
MAX_CORNER = 1_000_000  # pixels; no image is larger, and what is no number at all is not below it
# What a damaged pickle raises.
DAMAGE = (
    *(EOFError, ValueError, TypeError, LookupError, AttributeError, OverflowError, MemoryError, AssertionError),
    *(RuntimeError, BufferError, struct.error),
)
REF = ("ref_id", "ann_id", "image_id", "split", "sentences")
SENTENCE = ("sent_id", "sent")


@dataclass(frozen=True)
class Expression:
    """What somebody said of one object."""

    annotation: str  # '{ref_id}-{sent_id}'
    image_key: str  # stem of the image's file name
    split: str
    text: str
    box: tuple[float, float, float, float]  # x1 y1 x2 y2, pixels
    image_size: tuple[int, int] | None = None  # width, height of the picture that the box is of; None: not told


class _BuiltinsOnly(pickle._Unpickler):
    """Lists, dicts, texts and numbers need no class at all, so none is looked up.

    Written in Python: the other one makes room for as many values as nine bytes can claim.
    """

    def find_class(self, module: str, name: str) -> type:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def read_refs(path: Path) -> list[dict]:
    """refs(unc).p and its like, as Python 2 wrote them; no code in it is run.

    Raises: FileNotFoundError; ValueError for a pickle that is more than lists and texts, or is cut off.
    """
    try:
        refs = _BuiltinsOnly(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except (pickle.UnpicklingError, *DAMAGE) as error:
        raise ValueError(f"{path} is no pickle of lists and texts alone, refused: {error}") from error
    if not isinstance(refs, list):
        raise ValueError(f"{path} holds no list of refs")
    return refs


def read_expressions(refs: Path, instances: Path) -> Reading[Expression]:
    """All splits. Boxes and image names come from `instances`: the refs' file names carry a suffix that is none.

    Raises: FileNotFoundError; ValueError for files that are cut off or of another format.
    """
    content = read_json(instances)
    if not isinstance(content, dict) or not {"images", "annotations"} <= content.keys():
        raise ValueError(f"{instances} holds no images and annotations, expected COCO's instances.json")
    of_images = demand_fields(content["images"], ("id", "file_name"), source=f"{instances}, images")
    of_boxes = demand_fields(content["annotations"], ("id", "image_id", "bbox"), source=f"{instances}, annotations")
    images = by_id(of_images, source=f"{instances}, images")
    boxes = by_id(of_boxes, source=f"{instances}, annotations")
    kept, dropped = [], []
    for number, ref in enumerate(demand_fields(read_refs(refs), REF, source=f"{refs}, refs")):
        name = f"row {number}"
        try:
            name = text_in(ref, "ref_id")
            for field in ("ann_id", "image_id", "split"):
                text_in(ref, field)
            if ref["image_id"] in images:
                text_in(images[ref["image_id"]], "file_name")
            sentences = demand_fields(ref["sentences"], SENTENCE, source="sentences")
            said = [(f"{name}-{text_in(one, 'sent_id')}", text_in(one, "sent"), one["sent"]) for one in sentences]
        except ValueError as error:
            dropped.append(Dropped(name, "bad_value", str(error)))
            continue
        for annotation, text, sent in said:
            if ref["ann_id"] not in boxes:
                dropped.append(Dropped(annotation, "no_box", f"ann_id {ref['ann_id']}"))
            elif boxes[ref["ann_id"]]["image_id"] != ref["image_id"]:
                detail = f"ann_id {ref['ann_id']} is of image {shown(boxes[ref['ann_id']]['image_id'])}"
                dropped.append(Dropped(annotation, "other_image", f"{detail}, image_id is {ref['image_id']}"))
            elif not is_box(boxes[ref["ann_id"]]["bbox"]):
                dropped.append(Dropped(annotation, "bad_box", shown(boxes[ref["ann_id"]]["bbox"])))
            elif ref["image_id"] not in images:
                dropped.append(Dropped(annotation, "no_image", f"image_id {ref['image_id']}"))
            elif not text:
                dropped.append(Dropped(annotation, "empty_expression", repr(sent)))
            else:
                image, box = images[ref["image_id"]], corners(boxes[ref["ann_id"]]["bbox"])
                width, height = image.get("width"), image.get("height")
                size = None if width is None or height is None else (width, height)
                kept.append(Expression(annotation, Path(image["file_name"]).stem, ref["split"], text, box, size))
    return Reading(kept, dropped)


def turned_images(left_out: Path) -> frozenset[str]:
    """Images that EXIF turned, where nothing tells whether their boxes are from before that.

    Args:
        left_out: images without features of given boxes, and why (`extract.regions.given_boxes`).
    """
    with left_out.open(newline="", encoding="utf-8") as file:
        return frozenset(row["image_key"] for row in csv.DictReader(file) if row["reason"] == "turned")


def of_these_pixels(
    reading: Reading[Expression], store: RegionStore, *, turned: Set[str] = frozenset()
) -> Reading[Expression]:
    """Expressions without those whose box is of a picture of another size than the one that the features are of, or
    may be of one before EXIF turned it."""

    @cache
    def size_of(key: str) -> tuple[int, int]:
        return store[key].image_size

    kept, dropped = [], list(reading.dropped)
    for one in reading.examples:
        if one.image_key not in store:
            kept.append(one)
        elif one.image_key in turned:
            detail = "whether its box was before EXIF turned the image, nothing tells"
            dropped.append(Dropped(one.annotation, "turned", detail))
        elif one.image_size in (None, size_of(one.image_key)):
            kept.append(one)
        else:
            here = "{} x {}".format(*size_of(one.image_key))
            detail = "a box of {} x {}".format(*map(shown, one.image_size))
            dropped.append(Dropped(one.annotation, "other_size", f"{detail}, the image is {here}"))
    return Reading(kept, dropped)


def is_box(box: Any) -> bool:
    """Whether this is x, y, width, height with an area."""
    is_four = isinstance(box, list) and len(box) == 4 and all(isinstance(value, int | float) for value in box)
    return is_four and all(abs(value) < MAX_CORNER for value in box) and box[2] > 0 and box[3] > 0


def corners(box: Sequence[float]) -> tuple[float, float, float, float]:
    """x, y, width, height -> x1, y1, x2, y2."""
    x, y, width, height = box
    return x, y, x + width, y + height


def unknown(expression: Expression) -> dict:
    """A prediction that points at nothing."""
    return {"annotation": expression.annotation, "box": [0.0, 0.0, 0.0, 0.0], "overlap": 0.0}


class RefCocoDataset(Dataset):
    """Expressions as batches with `labels` [B, R]: overlap with what is meant, 0 below a half.

    Args:
        truth: features of the annotated boxes, which are candidates too; None where only the detector's are, as in
            evaluation.
    Source: vilbert_beta, whose training adds the annotated boxes of the image.
    """

    def __init__(
        self,
        expressions: Sequence[Expression],
        store: RegionStore,
        processor: VilbertProcessor,
        *,
        truth: RegionStore | None,
        max_tokens: int,
        widths: Widths = ANY_WIDTH,
    ):
        self.expressions, self.store, self.truth = expressions, store, truth
        self.processor, self.widths = processor, widths
        self.num_before = int(processor.has_whole_image)  # regions before the candidates
        self.texts = encode_texts(processor.tokenizer, [one.text for one in expressions], max_tokens=max_tokens)

    def __len__(self) -> int:
        return len(self.expressions)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each expression, [N]."""
        return np.array([len(text.ids) for text in self.texts])

    def candidates(self, example: int) -> Regions:
        """The regions that may be meant."""
        key = self.expressions[example].image_key
        if self.truth is None or key not in self.truth:
            return self.store[key]
        return together(self.store[key], self.truth[key])

    def __getitems__(self, draws: Sequence[Draw]) -> Batch:
        return self.batch([draw.example for draw in draws])

    def batch(self, examples: Sequence[int]) -> Batch:
        """What VilbertForRegionGrounding.forward takes."""
        images = [self.candidates(example) for example in examples]
        texts = [self.texts[example] for example in examples]
        batch = pad_texts(texts, pad_token_id=self.processor.tokenizer.pad_token_id, widths=self.widths)
        batch |= pad_images(images, has_whole_image=self.processor.has_whole_image, widths=self.widths)
        labels = np.zeros(tuple(batch["visual_attention_mask"].shape), np.float32)
        for row, (example, image) in enumerate(zip(examples, images, strict=True)):
            overlap = self.overlap(example, image)
            labels[row, self.num_before : self.num_before + len(image)] = np.where(overlap >= HIT, overlap, 0)
        return batch | {"labels": torch.from_numpy(labels)}

    def overlap(self, example: int, image: Regions) -> np.ndarray:
        """Intersection over union of each region with the box that is meant, [N]."""
        return overlaps(image.boxes, np.array([self.expressions[example].box]))[:, 0]

    def predict(self, model: nn.Module) -> list[dict]:
        """Of each expression the box that fits it best, and how far it overlaps with what is meant."""
        device = next(model.parameters()).device

        def pointed_at(examples: list[int]) -> list[dict]:
            batch = self.batch(examples)
            del batch["labels"]
            logits = model(**{name: value.to(device) for name, value in batch.items()}).logits
            best = logits[:, self.num_before :].argmax(-1).tolist()
            return [self.prediction(example, region) for example, region in zip(examples, best, strict=True)]

        order = np.argsort(self.lengths, kind="stable").tolist()
        found = ask_in_shares(order, pointed_at, batch_size=EVALUATION_BATCH)
        return [found[example] for example in range(len(self))]

    def prediction(self, example: int, region: int) -> dict:
        """What is written of an expression for which this region was chosen."""
        image = self.candidates(example)
        return {
            "annotation": self.expressions[example].annotation,
            "box": [round(float(value), 2) for value in image.boxes[region]],
            "overlap": float(self.overlap(example, image)[region]),
        }

    def write(self, predictions: list[dict], folder: Path, name: str) -> None:
        """{name}.json: of each expression the box, and its overlap with what is meant."""
        (folder / f"{name}.json").write_text(json.dumps(predictions))

    def measure(self, predictions: list[dict]) -> dict[str, float]:
        """`accuracy`: share with an overlap above a half; `upper_bound`: the share that has such a candidate at all."""
        hits = [prediction["overlap"] > HIT for prediction in predictions]
        reachable = [(self.overlap(example, self.candidates(example)) > HIT).any() for example in range(len(self))]
        return {"accuracy": float(np.mean(hits)), "upper_bound": float(np.mean(reachable))}
