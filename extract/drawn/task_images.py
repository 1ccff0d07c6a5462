"""The images of which the tasks' annotations speak: split by image, with ids that run over all splits."""

import random
from dataclasses import dataclass
from typing import Literal

from extract.drawn.instances import NamedScene
from extract.drawn.scene import make_scene
from extract.settings import WorldSettings

SPLITS: tuple[Literal["train", "val", "test"], ...] = ("train", "val", "test")


@dataclass(frozen=True)
class TaskImage(NamedScene):
    """A scene, its id (1 to the number of all images) and its file name, 12 digits as COCO's."""

    split: str

    def rng(self, task: str) -> random.Random:
        """The randomness of one task on this image."""
        return random.Random(f"{self.scene.seed}/{task}")


def make_task_images(settings: WorldSettings) -> list[TaskImage]:
    """The images of train, val and test, in this order; none of them is in the caption list's world."""
    splits = [split for split in SPLITS for _ in range(settings.num_task_images.get(split, 0))]
    return [
        TaskImage(
            image_id=image_id,
            file_name=f"{image_id:012d}.jpg",
            split=split,
            scene=make_scene(
                f"{settings.seed}/tasks/{image_id}",
                image_size=settings.image_size,
                min_objects=settings.min_objects,
                max_objects=settings.max_objects,
            ),
        )
        for image_id, split in enumerate(splits, start=1)
    ]
