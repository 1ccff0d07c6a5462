"""What Lu et al. 2019 found by their tables 1 to 3, as pairs of cells of which one is better.

One measure a task: what most is said of. A finding about a depth or a share is about neighbours in the grid.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

from vilbert.comparisons.plan import Cell, Plan

MEASURES = {
    "vqa": "accuracy",
    "vcr": "both",
    "refcoco": "val/accuracy",
    "retrieval": "image_recall_at_1",
    "zero_shot_retrieval": "image_recall_at_1",
}
TASKS = {
    "vqa": "VQA",
    "vcr": "VCR",
    "refcoco": "RefCOCO+",
    "retrieval": "fine-tuned retrieval",
    "zero_shot_retrieval": "retrieval without training",
}
OF_SINGLE_STREAM = ("vqa", "vcr", "refcoco")  # that the paper has measures of


class Finding(NamedTuple):
    """That one cell is better than another."""

    sentence: str
    table: int  # of the paper
    better: Cell
    worse: Cell
    what: str


def findings(plan: Plan) -> list[Finding]:
    """Those that the cells of a plan can tell of."""
    return [*_of_pretraining(plan), *_of_streams(plan), *_of_depth(plan), *_of_data(plan)]


def _of_pretraining(plan: Plan) -> Iterator[Finding]:
    cells = _by_architecture(plan)
    for architecture, named in (("two_stream", "two streams"), ("single_stream", "a single stream")):
        whats = TASKS if architecture == "two_stream" else OF_SINGLE_STREAM
        with_, without = cells.get((architecture, True)), cells.get((architecture, False))
        if with_ and without:
            for what in _measured(with_, without, whats):
                yield Finding(f"Pretraining helps {named} in {TASKS[what]}", 1, with_, without, what)


def _of_streams(plan: Plan) -> Iterator[Finding]:
    cells = _by_architecture(plan)
    for is_pretrained, when in ((True, "after pretraining"), (False, "without pretraining")):
        two, single = cells.get(("two_stream", is_pretrained)), cells.get(("single_stream", is_pretrained))
        if two and single:
            for what in _measured(two, single, OF_SINGLE_STREAM):
                yield Finding(f"Two streams beat one in {TASKS[what]}, {when}", 1, two, single, what)


def _of_depth(plan: Plan) -> Iterator[Finding]:
    cells = sorted((cell for cell in plan.cells if cell.table == "depth"), key=lambda cell: cell.depth)
    for shallow, deep in pairwise(cells):
        whats = ["zero_shot_retrieval"]
        if deep.depth <= plan.own_depth:  # the paper's is 6, up to which these gain
            whats += ["vqa", "retrieval"]
        for what in _measured(deep, shallow, whats):
            sentence = f"{TASKS[what]} gains from depth {shallow.depth} to {deep.depth}"
            yield Finding(sentence[0].upper() + sentence[1:], 2, deep, shallow, what)


def _of_data(plan: Plan) -> Iterator[Finding]:
    cells = sorted((cell for cell in plan.cells if cell.table == "data"), key=lambda cell: cell.share)
    for less, more in pairwise(cells):
        for what in _measured(more, less, TASKS):
            sentence = f"{TASKS[what]} gains from {100 * less.share:g} to {100 * more.share:g} % of the images"
            yield Finding(sentence[0].upper() + sentence[1:], 3, more, less, what)


def _by_architecture(plan: Plan) -> dict[tuple[str, bool], Cell]:
    """Cells of table 1, by architecture and whether they are pretrained."""
    return {(cell.architecture, cell.share > 0): cell for cell in plan.cells if cell.table == "architecture"}


def _measured(one: Cell, other: Cell, whats: Iterable[str]) -> list[str]:
    """What of some tasks both cells are measured by."""
    return [what for what in whats if what in one.folders and what in other.folders]
