"""The report's pictures. Each function draws one and writes it whole."""

import io
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from extract.images.checks import tar_images
from extract.regions.drawing import draw_regions
from extract.regions.store import RegionStore
from extract.tables import whole_file

INK, KEPT, DROPPED, GRID = "#222222", "#2a6f97", "#c1440e", "#dddddd"
MAX_LINES = 4  # of a caption
STAGES = ("captions", "download", "images", "duplicates", "features", "relatedness")


def dropped(path: Path, summary: dict) -> None:
    """Rows that each rule dropped, bars in the order of the stages."""
    counts: dict[tuple[int, str, str], int] = {}
    for split in summary["splits"].values():
        for entry in split["dropped"]:
            key = (STAGES.index(entry["stage"]), entry["stage"], entry["reason"])
            counts[key] = counts.get(key, 0) + entry["rows"]
    labels = [f"{stage}: {reason}" for _, stage, reason in sorted(counts)]
    values = [counts[key] for key in sorted(counts)]
    total = sum(split["rows"] for split in summary["splits"].values())
    kept = sum(split["kept"] for split in summary["splits"].values())
    title = f"{kept:,} of {total:,} rows are kept; the others by reason"
    with _axes(path, title=title, size=(8, 1.2 + 0.28 * len(labels))) as axes:
        bars = axes.barh(labels[::-1], values[::-1], color=DROPPED)
        axes.bar_label(bars, fmt="{:,.0f}", padding=3, color=INK, fontsize=8)
        axes.set_xlabel("rows")
        axes.margins(x=0.12)


def caption_lengths(path: Path, captions: Sequence[str]) -> None:
    """Histogram of the kept captions' words."""
    lengths = [len(caption.split()) for caption in captions]
    _histogram(path, lengths, title=f"Words a caption, {len(lengths):,} kept pairs", label="words")


def region_counts(path: Path, counts: Sequence[int]) -> None:
    """Histogram of the regions an image of the kept pairs."""
    _histogram(path, list(counts), title="Regions an image, kept pairs", label="regions")


def relatedness(path: Path, *, kept: Sequence[float | None], dropped: Sequence[float | None]) -> None:
    """Histogram of the relatedness scores of kept and dropped pairs; those without a score are counted in the title."""
    scores = [[score for score in part if score is not None] for part in (kept, dropped)]
    without = len(kept) - len(scores[0])
    title = f"Relatedness of caption and image ({without:,} kept pairs name nothing that can be judged)"
    with _axes(path, title=title) as axes:
        bins = [edge / 25 for edge in range(26)]
        axes.hist(scores, bins=bins, stacked=True, color=[KEPT, DROPPED], label=["kept", "dropped"])
        axes.set_xlabel("score")
        axes.set_ylabel("pairs")
        axes.legend(frameon=False)


def sample_regions(
    path: Path, store: RegionStore, pairs: pa.Table, tars: Sequence[Path], *, num_images: int = 12
) -> None:
    """Images of kept pairs with their confident regions, spread over the shards, each below its caption.

    A caption is drawn as it is, a dollar sign too; what the font lacks, as a box.
    """
    samples = list(_samples(store, pairs, tars, num_images=num_images))[:num_images]
    columns = 4
    rows = max(1, -(-len(samples) // columns))
    figure = Figure(figsize=(3.3 * columns, 3.7 * rows), layout="constrained")
    for position, (image, caption) in enumerate(samples):
        axes = figure.add_subplot(rows, columns, position + 1)
        axes.imshow(image)
        title = textwrap.fill(caption, 44, max_lines=MAX_LINES, placeholder=" ...")
        axes.set_title(title, fontsize=8, color=INK, parse_math=False)
        axes.axis("off")
    with whole_file(path) as partial, warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing from font", UserWarning)
        figure.savefig(partial, format="png", dpi=110)


def _samples(
    store: RegionStore, pairs: pa.Table, tars: Sequence[Path], *, num_images: int
) -> Iterator[tuple[Image.Image, str]]:
    captions = dict(zip(pairs["image_key"].to_pylist()[::-1], pairs["caption"].to_pylist()[::-1], strict=True))
    share = -(-num_images // max(1, len(tars)))
    for path in tars:
        taken = 0
        for key, data in tar_images(path):
            if taken == share:
                break
            if key in captions and key in store:
                image = Image.open(io.BytesIO(data)).convert("RGB")
                yield draw_regions(image, store[key], classes=store.classes), captions[key]
                taken += 1


def _histogram(path: Path, values: Sequence[int], *, title: str, label: str) -> None:
    with _axes(path, title=title) as axes:
        low, high = (min(values), max(values)) if values else (0, 1)
        axes.hist(values, bins=[edge - 0.5 for edge in range(low, high + 2)], color=KEPT, rwidth=0.9)
        axes.set_xlabel(label)
        axes.set_ylabel("pairs")


@contextmanager
def _axes(path: Path, *, title: str, size: tuple[float, float] = (8, 3.6)) -> Iterator[Axes]:
    """Axes to draw on, in the report's style; the picture is written when the block ends."""
    with matplotlib.rc_context({"svg.hashsalt": "report", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(title, loc="left", color=INK)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", color=GRID)
        axes.set_axisbelow(True)
        yield axes
        with whole_file(path) as partial:
            figure.savefig(partial, format=path.suffix[1:], metadata={"Date": None} if path.suffix == ".svg" else None)
