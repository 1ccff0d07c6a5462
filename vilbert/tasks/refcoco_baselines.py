"""What the accuracy of pointing is read against.

Dimension key:
    N: candidates of an image
"""

from collections.abc import Sequence

import numpy as np

from extract.cleaning.relatedness import relatedness
from extract.regions.store import Regions
from vilbert.baselines.class_words import class_names
from vilbert.baselines.naive_bayes import NaiveBayes
from vilbert.baselines.rows import Baselines
from vilbert.tasks.held_out import HeldOut
from vilbert.tasks.refcoco import HIT, RefCocoDataset

CELLS = 3  # of the image's width and height, that a region's centre lies in
SIZES = (0.01, 0.03, 0.1, 0.3)  # shares of the image that part the small from the large


class RefCocoBaselines:
    """Counts of the training expressions: class, size and place of the detected regions that are meant, and others."""

    def __init__(self, training: RefCocoDataset):
        self.looks = NaiveBayes(2)  # another, meant
        for example, expression in enumerate(training.expressions):
            image = training.store[expression.image_key]
            for look, overlap in zip(looks_of(image), training.overlap(example, image), strict=True):
                self.looks.add(look, {int(overlap > HIT): 1})

    def of(self, held_out: HeldOut[RefCocoDataset]) -> Baselines:
        """Of a split; a text alone points at nothing, so there is no blind baseline."""
        data = held_out.data
        images = [data.candidates(example) for example in range(len(data))]
        are_hits = [data.overlap(example, image) > HIT for example, image in enumerate(images)]

        def accuracy(chosen: Sequence[int]) -> dict[str, float]:
            hits = [hit[region] for hit, region in zip(are_hits, chosen, strict=True)]
            return held_out.over_all({"accuracy": float(np.mean(hits))})

        return Baselines(
            chance=held_out.over_all({"accuracy": float(np.mean([hit.mean() for hit in are_hits]))}),
            blind={},
            no_text=accuracy([self.likeliest(image) for image in images]),
            rule=accuracy(of_named_class(data, images)) if data.store.classes else {},
            ceiling=held_out.over_all({"accuracy": float(np.mean([hit.any() for hit in are_hits]))}),
            num_examples=held_out.num_examples,
            num_dropped=len(held_out.unseen),
        )

    def likeliest(self, image: Regions) -> int:
        """The region that looks most like those that are meant."""
        scores = [self.looks.scores(look) for look in looks_of(image)]
        return int(np.argmax([meant - other for other, meant in scores]))


def of_named_class(data: RefCocoDataset, images: Sequence[Regions]) -> list[int]:
    """Of each expression the region that is likeliest of the classes it names; the first one where it names none."""
    names = class_names(data.store.classes, [expression.text for expression in data.expressions])
    chosen = []
    for expression, image in zip(data.expressions, images, strict=True):
        mentions = names.mentions(expression.text)
        fits = [relatedness(mentions, image.class_probs[[region]]) or 0 for region in range(len(image))]
        chosen.append(int(np.argmax(fits)))
    return chosen


def looks_of(image: Regions) -> list[tuple[str, str, str]]:
    """Of each region its likeliest class, its share of the image, and where its centre is, [N]."""
    width, height = image.image_size
    x1, y1, x2, y2 = image.boxes.T
    shares = (x2 - x1) * (y2 - y1) / (width * height)
    centres = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height)
    columns, rows = (np.clip(CELLS * centre, 0, CELLS - 1).astype(int) for centre in centres)
    classes = image.class_probs[:, 1:].argmax(axis=1) if image.class_probs.shape[1] > 1 else np.zeros(len(image), int)
    return [
        (f"class {kind}", f"size {size}", f"place {column} {row}")
        for kind, size, column, row in zip(classes, np.digitize(shares, SIZES), columns, rows, strict=True)
    ]
