"""Whether the pretrained alignment head prefers a caption to a foil, which differs in one respect and is false.

python -m vilbert.tasks.probes MODEL STORE PROBES OUT_CSV

PROBES is a csv with the columns image (file name without suffix), caption, foil and kind.
"""

import csv
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import torch
import typer
from transformers import PreTrainedModel

from extract.captions.text import caption_words
from extract.cleaning.relatedness import ClassNames, relatedness
from extract.command import run
from extract.regions.store import RegionStore
from extract.tables import read_table
from extract.terminal import bar, plain_table
from vilbert.model.directory import read_processor
from vilbert.model.origin import demand_same_regions
from vilbert.model.processing_vilbert import VilbertProcessor
from vilbert.retrieval.scoring import EncodedImage, score_pairs
from vilbert.tasks.reading import encode_texts
from vilbert.tasks.zero_shot import load

ENDS = ("[start]", "[end]")
ROUNDING = 1e-9  # sums of equal parts in another order
COLUMNS = ["kind", "accuracy", "chance", "blind", "rule", "num_examples", "num_dropped"]


class Probe(NamedTuple):
    """Of the two texts the first is true of the image."""

    image: str
    caption: str
    foil: str
    kind: str


def main(
    model: Path,
    store: Path,
    probes: Path,
    output: Path,
    captions: Annotated[
        Path | None, typer.Option(help="pairs.parquet, whose words `blind` counts; none: no blind")
    ] = None,
    split: Annotated[str, typer.Option(help="of these pairs")] = "train",
) -> None:
    """Write a row for each kind: how often the model prefers the caption, and what that is read against."""
    rows, regions = read_probes(probes), RegionStore([store])
    demand_same_regions(model, regions)
    margins = {
        "accuracy": head_margins(load(model), rows, regions, read_processor(model)),
        "blind": None if captions is None else word_margins(rows, read_captions(captions, split=split)),
        "rule": class_margins(rows, regions) if regions.classes else None,
    }
    table = measure(rows, margins, regions)
    table.to_csv(output, index=False)
    print(plain_table(table.astype(object).where(table.notna(), None).to_dict("records")))


def read_probes(path: Path) -> list[Probe]:
    """Raises: FileNotFoundError; ValueError for a file without these columns, without a row, with an empty field, or
    that is no csv."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            if missing := set(Probe._fields) - set(reader.fieldnames or ()):
                raise ValueError(f"it has no column {min(missing)}, expected {', '.join(Probe._fields)}")
            rows = [Probe(*(row[name] or "" for name in Probe._fields)) for row in reader]
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path} is no csv of probes: {error}") from error
    if not rows:
        raise ValueError(f"{path} holds no probe")
    for number, row in enumerate(rows, start=2):
        if not all(map(str.strip, row)):
            raise ValueError(f"{path}, line {number}, has an empty field, expected {', '.join(Probe._fields)}")
    return rows


def read_captions(path: Path, *, split: str) -> list[str]:
    """The captions of one split of pairs.parquet."""
    table = read_table(path, columns=["key", "caption"])
    return table.filter(pc.starts_with(table["key"], f"{split}-"))["caption"].to_pylist()


def head_margins(
    model: PreTrainedModel, probes: Sequence[Probe], store: RegionStore, processor: VilbertProcessor
) -> np.ndarray:
    """How much better the caption fits than the foil: float64 [N], NaN where the image has no features."""
    texts = [text for probe in probes for text in (probe.caption, probe.foil)]
    ids = [
        torch.from_numpy(text.ids)
        for text in encode_texts(processor.tokenizer, texts, max_tokens=model.config.max_position_embeddings)
    ]
    of_images: dict[str, list[int]] = {}
    for number, probe in enumerate(probes):
        of_images.setdefault(probe.image, []).append(number)
    margins = np.full(len(probes), np.nan)
    for key, numbers in bar(of_images.items(), desc="images", unit="image", is_passing=True):
        if key in store:
            image = EncodedImage.of(store[key], has_whole_image=processor.has_whole_image)
            scores = score_pairs(model, [ids[2 * number + foil] for number in numbers for foil in (0, 1)], [image])
            margins[numbers] = -scores.view(len(numbers), 2).diff(dim=1).squeeze(1).numpy()
    return margins


def word_margins(probes: Sequence[Probe], captions: Iterable[str]) -> np.ndarray:
    """How much likelier the caption's words are than the foil's, by counts of two successive words: [N], in nats."""
    pairs: Counter[tuple[str, str]] = Counter()
    firsts: Counter[str] = Counter()
    for caption in captions:
        successive = list(pairwise((ENDS[0], *caption_words(caption), ENDS[1])))
        pairs.update(successive)
        firsts.update(first for first, _ in successive)

    def likelihood(text: str) -> float:
        successive = pairwise((ENDS[0], *caption_words(text), ENDS[1]))
        return sum(math.log((pairs[pair] + 1) / (firsts[pair[0]] + len(firsts))) for pair in successive)

    return np.array([likelihood(probe.caption) - likelihood(probe.foil) for probe in probes])


def class_margins(probes: Sequence[Probe], store: RegionStore) -> np.ndarray:
    """How much more of what the caption names the detector saw: [N], NaN where the image has no features."""
    names = ClassNames(store.classes, word_counts={})

    def seen(text: str, image: str) -> float:
        return relatedness(names.mentions(text), store[image].class_probs) or 0

    return np.array(
        [
            seen(probe.caption, probe.image) - seen(probe.foil, probe.image) if probe.image in store else np.nan
            for probe in probes
        ]
    )


def measure(probes: Sequence[Probe], margins: Mapping[str, np.ndarray | None], store: RegionStore) -> pd.DataFrame:
    """A row for each kind. The model is right where its margin is above 0; baselines are half right where it is 0."""
    table = []
    for kind in dict.fromkeys(probe.kind for probe in probes):
        numbers = [number for number, probe in enumerate(probes) if probe.kind == kind]
        row: dict[str, str | float | None] = {"kind": kind, "chance": 0.5}
        for name, of_all in margins.items():
            worth = 0 if name == "accuracy" else 0.5
            row[name] = None if of_all is None else share_above(of_all[numbers], worth_of_equals=worth)
        row["num_examples"] = len(numbers)
        row["num_dropped"] = sum(probes[number].image not in store for number in numbers)  # wrong
        table.append(row)
    return pd.DataFrame(table, columns=COLUMNS)


def share_above(margins: np.ndarray, *, worth_of_equals: float) -> float:
    """The share above 0, and a part of what equals it but for rounding; NaN is neither."""
    is_equal = np.abs(margins) < ROUNDING
    return round(float(np.mean((margins > 0) & ~is_equal) + worth_of_equals * np.mean(is_equal)), 4)


if __name__ == "__main__":
    run(main)
