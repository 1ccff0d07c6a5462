"""The images of which the tasks' annotations speak: split by image, with ids that run over all splits."""

import random
from dataclasses import dataclass
from typing import Literal

from extract.drawn.instances import NamedScene
from extract.drawn.scene import Scene, scene_and_twin
from extract.settings import WorldSettings

SPLITS: tuple[Literal["train", "val", "test"], ...] = ("train", "val", "test")


@dataclass(frozen=True)
class TaskImage(NamedScene):
    """A scene, its id (1 to the number of all images) and its file name, 12 digits as COCO's."""

    split: str
    twin: Scene  # the scene of the next image or the one before it

    def rng(self, task: str) -> random.Random:
        """The randomness of one task on this image."""
        return random.Random(f"{self.scene.seed}/{task}")


def make_task_images(settings: WorldSettings) -> list[TaskImage]:
    """The images of train, val and test, in this order; none of them is in the caption list's world.

    The first two of a split are twins, the next two, and so on; the last of an odd number stands without its twin.
    """
    images: list[TaskImage] = []
    for split in SPLITS:
        for number in range(settings.num_task_images.get(split, 0)):
            scene, twin = scene_and_twin(f"tasks/{split}", number, settings)
            image_id = len(images) + 1
            images.append(TaskImage(image_id, f"{image_id:012d}.jpg", scene, split, twin))
    return images
