"""Expressions of your own: a csv with the columns file, expression, x1, y1, x2 and y2, the corners of what is meant.

Corners are pixels of the picture as one sees it. What is chosen among are the detector's regions.
"""

import math
from collections.abc import Sequence
from functools import partial

from vilbert.batches.padding import ANY_WIDTH, Widths
from vilbert.model.modeling_single_stream import VilbertSingleStreamForRegionGrounding
from vilbert.model.modeling_tasks import VilbertForRegionGrounding
from vilbert.settings import OwnTaskSettings
from vilbert.tasks.own_table import named_pictures, read_own_table, splits_of
from vilbert.tasks.reading import Dropped, Reading
from vilbert.tasks.refcoco import Expression, RefCocoDataset, unknown
from vilbert.tasks.refcoco_baselines import RefCocoBaselines
from vilbert.tasks.task import TaskData, TaskKind, TaskSource, by_split, hold_out

CORNERS = ("x1", "y1", "x2", "y2")
ROUNDING = 1.0  # pixels that a box may reach beyond its picture


def read_own_expressions(source: TaskSource, settings: OwnTaskSettings) -> Reading[Expression]:
    """The rows with an expression and a box that lies in the picture."""
    reading = read_own_table(source, settings, ["expression", *CORNERS])
    kept, dropped = [], list(reading.dropped)
    for row in reading.examples:
        size = source.store[row.image_key].image_size if row.image_key in source.store else None
        box = to_box([row.values[corner] for corner in CORNERS])
        if not row.values["expression"]:
            dropped.append(Dropped(row.annotation, "empty_expression", ""))
        elif box is None or (size is not None and not is_within(box, size)):
            corners = " ".join(row.values[corner] for corner in CORNERS)
            inside = "" if size is None else " within {} x {}".format(*size)
            dropped.append(Dropped(row.annotation, "bad_box", f"{corners}, expected x1 y1 x2 y2 in pixels{inside}"))
        else:
            kept.append(Expression(row.annotation, row.image_key, row.split, row.values["expression"], box, size))
    return Reading(kept, dropped)


def to_box(cells: Sequence[str]) -> tuple[float, float, float, float] | None:
    """x1 y1 x2 y2 of at least a pixel each way; None for anything else, such as fractions, of all of it too."""
    try:
        x1, y1, x2, y2 = map(float, cells)
    except ValueError:
        return None
    is_box = all(map(math.isfinite, (x1, y1, x2, y2))) and x2 - x1 >= 1 and y2 - y1 >= 1 and max(x2, y2) > 1
    return (x1, y1, x2, y2) if is_box else None


def is_within(box: tuple[float, float, float, float], size: tuple[int, int]) -> bool:
    x1, y1, x2, y2 = box
    width, height = size
    return min(x1, y1) >= -ROUNDING and x2 <= width + ROUNDING and y2 <= height + ROUNDING


def own_grounding_data(source: TaskSource, settings: OwnTaskSettings) -> TaskData:
    """Overlap above a half, as of RefCOCO+."""
    path = source.annotations / settings.table
    reading = read_own_expressions(source, settings)
    splits = splits_of(reading.examples)
    expressions, dropped = by_split(reading, splits, source.store, path=path)

    def make(examples: Sequence[Expression], widths: Widths = ANY_WIDTH) -> RefCocoDataset:
        return RefCocoDataset(
            examples, source.store, source.processor, truth=None, max_tokens=settings.max_tokens, widths=widths
        )

    training = make(expressions["train"], source.widths(settings.max_tokens))
    return TaskData(
        training=training,
        evaluation={
            split: hold_out(expressions[split], source.store, make=make, unknown=unknown) for split in splits[1:]
        },
        count_baselines=partial(RefCocoBaselines, training),
        dropped=dropped,
        has_unused_parameters=True,
        files=[path],
    )


KIND = TaskKind(
    models=(VilbertForRegionGrounding, VilbertSingleStreamForRegionGrounding),
    pictures=named_pictures,
    data=own_grounding_data,
)
