"""What was found, as pictures."""

import io
import tarfile
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

from extract.finder import read_upright
from extract.tables import reading, whole_file

COLUMNS = 5
SUFFIX = ".jpg"  # of the pictures in the tars of a run


def draw_sheet(rows: Sequence[dict[str, Any]], title: str, output: Path) -> None:
    """The pictures of the rows of a search, the best first, each with its score; where there is none, the reason.

    Raises: ValueError if matplotlib cannot write such a file.
    """
    num_lines = -(-len(rows) // COLUMNS)
    figure = Figure(figsize=(2.4 * COLUMNS, 2.7 * num_lines + 0.5), layout="constrained")
    figure.suptitle(textwrap.fill(title, 90), parse_math=False)
    for place, row in enumerate(rows, start=1):
        axes = figure.add_subplot(num_lines, COLUMNS, place)
        axes.axis("off")
        axes.set_title(told(row), fontsize=8, parse_math=False)
        try:
            axes.imshow(read_picture(row))
        except (ValueError, OSError) as error:
            axes.text(0.5, 0.5, textwrap.fill(str(error), 26), ha="center", va="center", fontsize=7, parse_math=False)
    with whole_file(output) as partial:
        figure.savefig(partial, dpi=90, format=output.suffix.removeprefix(".") or "png")


def told(row: dict[str, Any]) -> str:
    """'train-00000001, 0.71' and, where the cross-encoder was asked, its score."""
    if "similarity" not in row:
        return str(row["image"])
    score = f", {row['score']:+.2f}" if "score" in row else ""
    return f"{row['image']}, {row['similarity']:.3f}{score}"


def read_picture(row: dict[str, Any]) -> Image.Image:
    """The picture of a row of a search, RGB, as one sees it, in whose pixels the boxes of its regions are.

    Raises: ValueError, with the reason, for one that cannot be read; OSError.
    """
    if "reason" in row:
        raise ValueError(f"{row['reason']}: {row['detail']}")
    if row["path"] is None:
        raise ValueError("the index does not know where the picture lies")
    path = Path(row["path"])
    if path.suffix != ".tar":
        return read_upright(path)
    with reading(path), tarfile.open(path) as tar:
        name = row["image"] + SUFFIX
        if name not in tar.getnames() or (file := tar.extractfile(name)) is None:
            raise ValueError(f"{path} holds no {name} any more")
        return Image.open(io.BytesIO(file.read())).convert("RGB")
