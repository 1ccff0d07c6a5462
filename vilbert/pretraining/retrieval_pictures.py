"""What zero-shot retrieval finds, as a picture.

python -m vilbert.pretraining.retrieval_pictures MODEL TOKENS STORE... OUTPUT
"""

import io
import tarfile
import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from transformers import AutoModelForPreTraining

from extract.command import run
from extract.regions.store import RegionStore
from extract.tables import reading
from vilbert.batches.tokens import TokenTable
from vilbert.model.directory import demand_model, read_processor
from vilbert.model.origin import demand_same_regions
from vilbert.pretraining.data import PretrainingDataset
from vilbert.pretraining.evaluation import alignment_scores, one_pair_an_image
from vilbert.retrieval.ranks import best_first
from vilbert.settings import PretrainingSettings

NUM_QUERIES, NUM_SHOWN = 6, 5
MAX_LINES = 6  # of a caption
RIGHT = "#2e8b57"


def main(
    model: Path,
    tokens: Path,
    stores: list[Path],
    output: Path,
    tars: Annotated[list[Path], typer.Option("--tar", help="of the validation split's images; repeat it")],
    settings: Annotated[PretrainingSettings, typer.Option(parser=PretrainingSettings.model_validate_json)],
) -> None:
    """Draw the first captions of the validation split, each with the images that fit it best."""
    demand_model(model)
    trained = AutoModelForPreTraining.from_pretrained(model).eval()
    tokenizer, store = read_processor(model).tokenizer, RegionStore(stores)
    demand_same_regions(model, store)
    dataset = PretrainingDataset(
        TokenTable(tokens, split=settings.validation_split),
        store,
        tokenizer,
        objective=settings.objective,
        visual_target=trained.config.visual_target,
        seed=settings.seed,
    )
    indices = one_pair_an_image(dataset, settings.evaluation.num_retrieval_images)
    with torch.inference_mode():
        scores = alignment_scores(trained, dataset, [dataset.whole_pair(index) for index in indices])
    captions = [tokenizer.decode(dataset.tokens[index], skip_special_tokens=True) for index in indices[:NUM_QUERIES]]
    draw_retrieved(scores, captions, [dataset.tokens.image_keys[index].as_py() for index in indices], tars, output)


def draw_retrieved(
    scores: np.ndarray, captions: Sequence[str], image_keys: Sequence[str], tars: Sequence[Path], output: Path
) -> None:
    """A row a caption, drawn as it is: the best images from left to right, the caption's own in a frame.

    Args:
        scores: [N captions, N images], the pairs on the diagonal; the first captions are drawn.
    """
    order = best_first(scores[: len(captions)], np.eye(len(captions), len(image_keys), dtype=bool))
    shown = order[:, :NUM_SHOWN].tolist()
    num_shown = len(shown[0])
    images = read_images(tars, {image_keys[place] for row in shown for place in row})
    figure = Figure(figsize=(2.2 * (num_shown + 1), 2.2 * len(captions)), layout="constrained")
    for row, caption in enumerate(captions):
        rank = int(np.flatnonzero(order[row] == row)[0]) + 1
        text = panel(figure, (len(captions), num_shown + 1, row * (num_shown + 1) + 1))
        told = textwrap.fill(caption, 24, max_lines=MAX_LINES, placeholder=" ...")
        told += f"\n\nits own image: {rank} of {len(image_keys)}"
        text.text(0, 0.5, told, va="center", parse_math=False)
        for column, place in enumerate(shown[row]):
            axes = panel(figure, (len(captions), num_shown + 1, row * (num_shown + 1) + column + 2))
            image = images[image_keys[place]]
            axes.imshow(image)
            if place == row:
                frame = Rectangle((-0.5, -0.5), image.width, image.height, fill=False, color=RIGHT, linewidth=5)
                frame.set_clip_on(False)
                axes.add_patch(frame)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing from font", UserWarning)
        figure.savefig(output, dpi=90)


def read_images(tars: Sequence[Path], keys: set[str]) -> dict[str, Image.Image]:
    """The images of these keys.

    Raises: ValueError if the tars lack one, or if one is damaged.
    """
    images = {}
    for path in tars:
        with reading(path), tarfile.open(path) as tar:
            for member in tar:
                key = member.name.removesuffix(".jpg")
                if key in keys and (file := tar.extractfile(member)):
                    images[key] = Image.open(io.BytesIO(file.read())).convert("RGB")
    if missing := sorted(keys - images.keys()):
        raise ValueError(f"image '{missing[0]}' is in none of {len(tars)} tars of the validation split")
    return images


def panel(figure: Figure, place: tuple[int, int, int]) -> Axes:
    axes = figure.add_subplot(*place)
    axes.axis("off")
    return axes


if __name__ == "__main__":
    run(main)
