"""Boxes of scenes in the format of COCO's instances_*.json."""

from collections.abc import Sequence
from dataclasses import dataclass

from extract.drawn.scene import CLASSES, Scene, Shape


@dataclass(frozen=True)
class NamedScene:
    """A scene with the id and the file name under which annotations speak of it."""

    image_id: int
    file_name: str
    scene: Scene


def make_instances(scenes: Sequence[NamedScene]) -> dict:
    """What COCO's file holds; annotations number the shapes in the order of the scenes, from 1.

    Categories are 1 to 24. Boxes are x, y, width, height in pixels, as COCO has them.
    """
    images = [
        {"id": named.image_id, "file_name": named.file_name, "width": size, "height": size, "license": 1}
        for named in scenes
        for size in [named.scene.image_size]
    ]
    shapes = [(named.image_id, shape) for named in scenes for shape in named.scene.shapes]
    return {
        "info": {"description": "scenes of coloured shapes, drawn from a seed", "version": "1.0"},
        "licenses": [{"id": 1, "name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"}],
        "images": images,
        "annotations": [
            _annotation(shape, image_id=image_id, annotation_id=number)
            for number, (image_id, shape) in enumerate(shapes, start=1)
        ],
        "categories": [
            {"supercategory": name.split()[1], "id": number, "name": name}
            for number, name in enumerate(CLASSES, start=1)
        ],
    }


def category_id(shape: Shape) -> int:
    """The number of a shape's class."""
    return CLASSES.index(shape.name) + 1


def _annotation(shape: Shape, *, image_id: int, annotation_id: int) -> dict:
    x1, y1, x2, y2 = shape.box
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": category_id(shape),
        "bbox": [round(value, 2) for value in (x1, y1, x2 - x1, y2 - y1)],
        "area": round(shape.area, 2),
        "segmentation": [[round(value, 2) for point in shape.outline for value in point]],
        "iscrowd": 0,
    }
