"""Ask a trained model about one's own images: vilbert predict MODEL IMAGES TEXT.

What it does follows from the model: a VQA model answers a question about each image, a retrieval or pretraining model
ranks the images for a caption, a RefCOCO+ model points at what an expression means, a classification gives labels.
`--what` asks for something else of what it can: words in place of [MASK]s, embeddings, what each word looks at.
"""

import json
import math
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image
from tqdm import tqdm

from extract.command import run
from extract.devices import DeviceChoice, best_device
from extract.finder import FoundRegions, files_to_look_at
from extract.regions.store import Regions, RegionStore
from extract.settings import DetectorSettings
from vilbert.looking import mark
from vilbert.model.origin import demand_same_regions
from vilbert.pipelines import Pipeline, Row, demand_text, pipeline, row_of

IMAGES_AT_ONCE = 256  # whose regions and pixels are held


class What(StrEnum):
    """The methods of a pipeline."""

    ANSWER = "answer"
    CLASSIFY = "classify"
    POINT = "point"
    SCORE = "score"
    FILL = "fill"
    EMBED = "embed"
    ATTENTION = "attention"


def main(
    model: Annotated[Path, typer.Argument(help="folder of a trained model, or of a converted one")],
    images: Annotated[Path, typer.Argument(help="an image, a folder of images, or a feature store (.lmdb)")],
    text: Annotated[
        str | None, typer.Argument(help="a question, a caption, or an expression; a classification may do without")
    ] = None,
    detector: Annotated[
        Path | None, typer.Option(help="weights that find the regions; by default those that MODEL has learnt of")
    ] = None,
    detector_settings: Annotated[
        DetectorSettings | None,
        typer.Option(
            parser=DetectorSettings.model_validate_json,
            help="section `detector` of the settings, as JSON; by default what MODEL says",
        ),
    ] = None,
    what: Annotated[What | None, typer.Option(help="by default what MODEL was trained for")] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(help="folder for the images with what is meant in a box, or with what each word looks at"),
    ] = None,
    device: Annotated[DeviceChoice, typer.Option(help="auto: a GPU if there is one")] = DeviceChoice.AUTO,
) -> None:
    """Print what MODEL says of each image, as JSON, the best fitting image first.

    An image of which nothing can be said, and a file that is none, stand at the end with the `reason`.
    """
    if text is not None and not text.strip():
        raise ValueError("the text is empty, expected a question, a caption or an expression")
    is_store = images.suffix == ".lmdb"
    if pictures is not None and is_store:
        raise ValueError(f"{images} holds no pixels: give the folder of the images to draw boxes into")
    ask = pipeline(model, detector=detector, detector_settings=detector_settings, device=best_device(device))
    rows: list[Row] = []
    left_out: list[Row] = []
    if is_store:
        store = RegionStore([images])
        demand_same_regions(model, store)
        found_in_parts = in_store(store)
    else:
        files, others = files_to_look_at(images)
        left_out += [{"image": name} | objection._asdict() for name, objection in others]
        found_in_parts = in_folder(ask, files, images)
    for found in found_in_parts:
        if what == What.ATTENTION:
            of_part = [look(ask, one, demand_text(text), pictures=pictures) for one in found]
        else:
            of_part = say(ask, found, text, what=what)
        rows += of_part
        if pictures is not None:
            draw_boxes(of_part, found, pictures)
    left_out = [row for row in rows if "reason" in row] + left_out
    said = sorted((row for row in rows if "reason" not in row), key=lambda row: falling(best_of(row)))
    print(json.dumps(said + left_out, indent=1, default=lambda array: array.tolist()))


def say(ask: Pipeline, found: list[FoundRegions], text: str | None, *, what: What | None) -> list[Row]:
    """Rows of the images; embeddings among them are arrays."""
    if what is None:
        return ask(found, text)
    if what == What.CLASSIFY:
        return ask.classify(found, text)
    return getattr(ask, what)(found, demand_text(text))


def look(ask: Pipeline, found: FoundRegions, text: str, *, pictures: Path | None) -> Row:
    """For each word the box that it looks at most, and the share of its attention there; drawn as `<image>.<n>.png`."""

    def describe(regions: Regions) -> Row:
        seen, words = ask.attention(found, text), []
        for number, word in enumerate(seen.words, start=1):
            weights = seen.of(word)
            best = int(weights.argmax())
            box = [round(float(value), 1) for value in regions.boxes[best]]
            words.append({"word": word, "box": box, "share": round(float(weights[best]), 4)})
            if pictures is not None:
                save(seen.draw(word), pictures / f"{found.name}.{number}.png")
        return {"words": words}

    return row_of(found, describe)


def in_store(store: RegionStore) -> Iterator[list[FoundRegions]]:
    """The records of a store, in parts."""
    keys = list(store)
    for start in tqdm(range(0, len(keys), IMAGES_AT_ONCE), desc="asking", unit="part", disable=None):
        part = keys[start : start + IMAGES_AT_ONCE]
        yield [FoundRegions(key, store[key], None) for key in part]


def in_folder(ask: Pipeline, files: Sequence[Path], folder: Path) -> Iterator[list[FoundRegions]]:
    """The images of a folder, in parts, called by their paths below it."""
    with tqdm(total=len(files), desc="images", unit="image", disable=None) as bar:
        for start in range(0, len(files), IMAGES_AT_ONCE):
            found = ask.find(list(files[start : start + IMAGES_AT_ONCE]))
            yield [one._replace(name=name_below(folder, one.name)) for one in found]
            bar.update(len(found))


def name_below(folder: Path, name: str) -> str:
    return name.removeprefix(f"{folder}/") if folder.is_dir() else Path(name).name


def best_of(row: Row) -> float:
    """By what images are put in order."""
    if "answers" in row:
        return row["answers"][0]["probability"]
    return max(row["probabilities"].values()) if "probabilities" in row else row.get("score", 0.0)


def falling(score: float) -> tuple[bool, float]:
    """Sorts the largest first, and what is no number last."""
    return math.isnan(score), -score


def draw_boxes(rows: Sequence[Row], found: Sequence[FoundRegions], output: Path) -> None:
    """Each image with the box of its row, in a folder of its own, as one sees it, which is as the box was found."""
    for row, one in zip(rows, found, strict=True):
        if "box" in row and one.image is not None:
            drawn = one.image.copy()
            mark(drawn, row["box"])
            save(drawn, output / f"{one.name}.png")


def save(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


if __name__ == "__main__":
    run(main)
