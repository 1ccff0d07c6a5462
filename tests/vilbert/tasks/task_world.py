"""A drawn set of task images with annotations, and features made of what stands where, for the tests of the tasks."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from extract.drawn.tasks import draw_tasks
from extract.regions.store import Regions, RegionStore, RegionStoreWriter
from extract.settings import WorldSettings
from vilbert.batches.tokens import train_tokenizer
from vilbert.model.processing_vilbert import VilbertProcessor
from vilbert.tasks.reading import Reading
from vilbert.tasks.task import TaskData

CLASSES = ("background", "thing", "other")
FEATURE_SIZE = 11
NUM_IMAGES = {"train": 7, "val": 5, "test": 3}
NOISE = (
    "dead_url html_as_image truncated_image tiny_image wide_image flat_placeholder exact_duplicate near_duplicate "
    "boilerplate_caption markup_caption wrong_caption"
)
WORDS = "a is the there what where which how many on of in left right above below no yes and , . ?"


KEYS = [f"{number:012d}" for number in range(1, 1 + NUM_IMAGES["train"])]  # of the images to learn from


class TaskWorld(NamedTuple):
    """Where the annotations lie, and the features of their images."""

    annotations: Path
    detected: RegionStore
    given: RegionStore  # of the objects of VCR
    processor: VilbertProcessor

    @property
    def processor_of_mmf(self) -> VilbertProcessor:
        """That of models without a whole-image region."""
        return VilbertProcessor(self.processor.tokenizer, has_whole_image=False)


def make_task_world(folder: Path) -> TaskWorld:
    settings = WorldSettings.model_validate(
        {
            "seed": 3,
            "image_size": 64,
            "min_objects": 5,
            "max_objects": 7,
            "captions_per_image": 5,
            "noise": dict.fromkeys(NOISE.split(), 0),
            "num_task_images": NUM_IMAGES,
        }
    )
    draw_tasks(folder / "tasks", settings)
    boxes = {
        path.stem: np.array([box[:4] for box in json.loads(path.read_text())["boxes"]], np.float32)
        for path in sorted((folder / "tasks/images").rglob("*.json"))
    }
    jittered = {key: np.clip(of_image + np.array([1, 1, -1, -1]), 0, 64) for key, of_image in boxes.items()}
    tokenizer = train_tokenizer([WORDS], vocab_size=199)
    return TaskWorld(
        annotations=folder / "tasks",
        detected=write_store(folder / "detected.lmdb", jittered),
        given=write_store(folder / "given.lmdb", boxes),
        processor=VilbertProcessor(tokenizer),
    )


def write_store(path: Path, boxes: dict[str, np.ndarray]) -> RegionStore:
    """Features that tell the number of a box and where it is."""
    writer = RegionStoreWriter(
        path,
        classes=CLASSES,
        feature_size=FEATURE_SIZE,
        num_classes_kept=None,
        box_source="given",
        detector={"sha256": "0"},
        selection={},
    )
    with writer:
        for key in sorted(boxes):
            count = len(boxes[key])
            features = np.zeros((count, FEATURE_SIZE), np.float16)
            features[:, :4] = boxes[key] / 64
            features[np.arange(count), 4 + np.arange(count)] = 1
            regions = Regions(
                boxes=boxes[key].astype(np.float32),
                scores=np.full(count, 0.9, np.float32),
                features=features,
                class_probs=np.tile(np.array([0.1, 0.9, 0], np.float16), (count, 1)),
                image_size=(64, 64),
                num_confident=count,
                is_short=False,
            )
            writer.put(key, regions)
    return RegionStore([path])


def reasons(reading: Reading | TaskData) -> dict[str, str]:
    """Why an annotation is not used, by its name."""
    return {row.annotation: row.reason for row in reading.dropped}
