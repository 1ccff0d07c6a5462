"""Expressions for single objects in the format of RefCOCO+: refs(unc).p and instances.json.

Each object meant has others of its kind beside it: among the boxes that fit the colour and shape words of an
expression's noun, one in two to three is right.
"""

import pickle
from collections.abc import Sequence

from extract.drawn.expressions import make_expressions
from extract.drawn.instances import make_instances
from extract.drawn.task_images import TaskImage

EXPRESSIONS_PER_OBJECT = 3
OBJECTS_PER_IMAGE = 3
PICKLE_PROTOCOL = 2  # the highest that Python 2 wrote


def make_refcoco(images: Sequence[TaskImage]) -> tuple[list[dict], dict]:
    """The refs and the instances that they point into. Half of the test images are testA, the others testB.

    As in the real file, `file_name` carries a suffix '_<n>' that is no part of the image's name.
    """
    instances = make_instances(images)
    refs: list[dict] = []
    num_sentences, num_annotations = 0, 0
    for image in images:
        rng = image.rng("refcoco")
        first_annotation, num_annotations = num_annotations + 1, num_annotations + len(image.scene.shapes)
        for number in rng.sample(range(len(image.scene.shapes)), min(OBJECTS_PER_IMAGE, len(image.scene.shapes))):
            shape = image.scene.shapes[number]
            expressions = make_expressions(image.scene, shape, rng, count=EXPRESSIONS_PER_OBJECT)
            if not expressions:
                continue
            annotation = instances["annotations"][first_annotation + number - 1]
            sent_ids = list(range(num_sentences, num_sentences + len(expressions)))
            num_sentences += len(expressions)
            refs.append(
                {
                    "sent_ids": sent_ids,
                    "file_name": image.file_name.replace(".jpg", f"_{number}.jpg"),
                    "ann_id": annotation["id"],
                    "ref_id": len(refs),
                    "image_id": image.image_id,
                    "split": ref_split(image),
                    "sentences": [
                        {"tokens": said.split(), "raw": said, "sent_id": sent_id, "sent": said}
                        for sent_id, said in zip(sent_ids, expressions, strict=True)
                    ],
                    "category_id": annotation["category_id"],
                }
            )
    return refs, instances


def ref_split(image: TaskImage) -> str:
    """The split that RefCOCO+ has an image in."""
    if image.split != "test":
        return image.split
    return "testA" if image.image_id % 2 else "testB"


def pickled(refs: list[dict]) -> bytes:
    """The bytes of refs(unc).p: builtins only."""
    return pickle.dumps(refs, protocol=PICKLE_PROTOCOL)
