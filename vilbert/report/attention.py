"""Where the words of captions look: python -m vilbert.report.attention MODEL PAIRS STORE... OUT_FOLDER --tar TAR...

Dimension key:
    N: regions
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import pyarrow.compute as pc
import typer

from extract.captions.text import caption_words
from extract.cleaning.relatedness import ClassNames, common_noun
from extract.command import run
from extract.finder import FoundRegions
from extract.regions.store import RegionStore
from extract.tables import read_table
from vilbert.baselines.class_words import class_names
from vilbert.looking import CoAttention
from vilbert.model.origin import demand_same_regions
from vilbert.pipelines import Pipeline, finder_of, load
from vilbert.report.pictures import read_images, save, small
from vilbert.settings import PretrainingSettings

NUM_SHOWN = 4  # pairs
NUM_WORDS = 4  # of a caption
NUM_MEASURED = 300  # pairs


class Pair(NamedTuple):
    """A caption and its image."""

    caption: str
    image_key: str


class Look(NamedTuple):
    """Whether what looks at regions most looks at one of the named class, and how many regions are."""

    is_right: bool  # the region that the name looks at most
    is_blind_right: bool  # the one that the whole caption does, whatever the name
    share: float  # of the regions that are of the class


def main(
    model: Path,
    pairs: Path,
    stores: list[Path],
    output: Path,
    tars: Annotated[list[Path], typer.Option("--tar", help="of the validation split's images; repeat it")],
    settings: Annotated[PretrainingSettings, typer.Option(parser=PretrainingSettings.model_validate_json)],
) -> None:
    """Draw what the rarest words of a few held-out captions look at, and measure it on more of them.

    Which ones, the seed decides and not their looks. OUT_FOLDER gets pictures, examples.json and measures.json.
    """
    store = RegionStore(stores)
    demand_same_regions(model, store)
    network, processor = load(model)
    pipeline = Pipeline(network, processor, lambda: finder_of(model, detector=None, device=network.device))
    held_out = read_pairs(pairs, split=settings.validation_split)
    order = np.random.default_rng(settings.seed).permutation(len(held_out))[:NUM_MEASURED].tolist()
    chosen = [held_out[place] for place in order]
    captions = [pair.caption for pair in held_out]
    output.mkdir(parents=True, exist_ok=True)
    write_examples(pipeline, chosen[:NUM_SHOWN], store, tars, captions=captions, output=output)
    names = class_names(store.classes, captions)
    looked = [look for pair in chosen for look in looks(pipeline.attention(store[pair.image_key], pair.caption), names)]
    (output / "measures.json").write_text(json.dumps([measured(looked)], indent=1))


def read_pairs(path: Path, *, split: str) -> list[Pair]:
    """Those of one split of pairs.parquet.

    Raises: ValueError if there is none.
    """
    table = read_table(path, columns=["key", "image_key", "caption"])
    table = table.filter(pc.starts_with(table["key"], f"{split}-"))
    if not len(table):
        raise ValueError(f"{path} holds no pair of the split '{split}'; see dropped.parquet of the run")
    return [Pair(*row) for row in zip(table["caption"].to_pylist(), table["image_key"].to_pylist(), strict=True)]


def write_examples(
    pipeline: Pipeline,
    pairs: Sequence[Pair],
    store: RegionStore,
    tars: Sequence[Path],
    *,
    captions: Iterable[str],
    output: Path,
) -> None:
    """Of each pair its picture, and one for each of its rarest words; examples.json."""
    counts = Counter(word for caption in captions for word in {*caption_words(caption)})
    images = read_images(tars, {pair.image_key for pair in pairs})
    rows = []
    for number, pair in enumerate(pairs):
        image = images[pair.image_key]
        maps = pipeline.attention(FoundRegions(pair.image_key, store[pair.image_key], image), pair.caption)
        save(small(image), output / f"{number:02d}.jpg")
        words = []
        for place, word in enumerate(rarest(maps.words, counts)):
            name = f"{number:02d}-{place}.jpg"
            save(small(maps.draw(word)), output / name)
            words.append({"word": word, "picture": name})
        rows.append({"kind": "attention", "picture": f"{number:02d}.jpg", "text": pair.caption, "words": words})
    (output / "examples.json").write_text(json.dumps(rows, indent=1))


def rarest(words: Sequence[str], counts: Counter[str]) -> list[str]:
    """Some words of a caption that fewest captions have, in its order; no marks."""
    known = [word for word in words if counts[word.lower()]]
    kept = sorted(known, key=lambda word: counts[word.lower()])[:NUM_WORDS]
    return [word for word in known if word in kept]


def looks(maps: CoAttention, names: ClassNames) -> Iterator[Look]:
    """Of each name of a class in a text, the first time that it stands there."""
    if not len(maps.regions):
        return
    words = [(part, places) for word, places in maps.places for part in caption_words(word)]
    detected = maps.regions.class_probs[:, 1:].argmax(axis=1) + 1  # [N]
    every_token = maps.at(range(len(maps.tokens)))
    for mention in names.mentions(" ".join(word for word, _ in words)):
        length = mention.phrase.count(" ") + 1
        windows = (words[start : start + length] for start in range(len(words)))
        named = next(one for one in windows if " ".join(common_noun(word) for word, _ in one) == mention.phrase)
        weights = maps.at([place for _, places in named for place in places])
        is_named = np.isin(detected, mention.classes)
        yield Look(bool(is_named[weights.argmax()]), bool(is_named[every_token.argmax()]), float(is_named.mean()))


def measured(looked: Sequence[Look]) -> dict[str, str | int | float | None]:
    """How often a name looks most at a region of its class; `chance`: of a region drawn evenly; `blind`: of the region
    that the whole caption looks at most. None where no caption names a class."""
    right, blind, chance = (np.mean(column).item() for column in zip(*looked, strict=True)) if looked else (None,) * 3
    return {
        "measure": "words_look_at_their_class",
        "value": right,
        "chance": chance,
        "blind": blind,
        "num_examples": len(looked),
    }


if __name__ == "__main__":
    run(main)
