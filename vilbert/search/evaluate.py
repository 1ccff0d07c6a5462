"""What a search finds, and what it costs: python -m vilbert.search.evaluate MODEL TEACHER PAIRS EVERY_PAIR STORE...
TABLE FIGURE.

Dimension key:
    Q: captions   I: images that they search   K: best images that are put in order anew by both models
"""

import csv
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from matplotlib.figure import Figure

from extract.command import run
from extract.devices import best_device
from extract.regions.store import RegionStore
from extract.tables import whole_file
from vilbert.model.origin import demand_same_regions
from vilbert.retrieval.ranks import LIMITS, best_ranks, recalls
from vilbert.retrieval.scoring import EncodedImage, score_pairs
from vilbert.search.baselines import search_baselines
from vilbert.search.distil import load_teacher
from vilbert.search.embed import embed_images, embed_texts, load_encoder
from vilbert.search.every_pair import EveryPair, read_every_pair
from vilbert.search.searched import Searched, read_searched
from vilbert.settings import SearchSettings

NUM_TIMED = 50  # captions that re-ranking is timed with
EVERY_PAIR, BY_BOTH, FIRST_STAGE = "every pair scored", "every pair, by both models", "first stage"
RULE, CHANCE, CEILING = "a rule that learns nothing", "chance", "ceiling"
COLUMNS = (
    *("way", "k", "recall_at_1", "recall_at_5", "recall_at_10", "pairs_scored", "cpu_seconds"),
    *("queries", "images", "images_of_training"),
)


def main(
    model: Path,
    teacher: Path,
    pairs: Path,
    every_pair: Path,
    stores: list[Path],
    table_output: Path,
    figure_output: Path,
    train_split: Annotated[str, typer.Option()],
    validation_split: Annotated[str, typer.Option()],
    settings: Annotated[SearchSettings, typer.Option(parser=SearchSettings.model_validate_json)],
) -> None:
    """Write a row for each way to search: recall, pairs that the teacher scored, CPU seconds."""
    store = RegionStore(stores)
    demand_same_regions(model, store)
    encoder, processor = load_encoder(model)
    searched = read_searched(
        pairs,
        splits=(train_split, validation_split),
        settings=settings,
        tokenizer=processor.tokenizer,
        max_tokens=encoder.config.max_position_embeddings,
    )
    whole = read_every_pair(every_pair)
    demand_same_search(searched, whole)
    start = time.process_time()
    images = embed_images(encoder, (store[key] for key in searched.image_keys), processor)
    similarities = embed_texts(encoder, searched.tokens, processor) @ images.T
    of_first_stage = time.process_time() - start
    network, _ = load_teacher(teacher)
    network.to(best_device())

    def seconds_of(k: int) -> float:
        """To score the best k of every caption, from some of them."""
        some = np.linspace(0, len(searched.tokens) - 1, min(NUM_TIMED, len(searched.tokens))).astype(int)
        best = best_columns(similarities[some], k)
        start = time.process_time()
        for query, columns in zip(some.tolist(), best.tolist(), strict=True):
            ids = torch.from_numpy(searched.tokens[query].ids)
            best_images = (store[searched.image_keys[column]] for column in columns)
            has_whole_image = processor.has_whole_image
            score_pairs(network, [ids], [EncodedImage.of(one, has_whole_image=has_whole_image) for one in best_images])
        return (time.process_time() - start) / len(some) * len(searched.tokens)

    both = similarities / encoder.temperature.item() + whole.scores
    rows = [row_of(FIRST_STAGE, similarities, searched, k=0, cpu_seconds=of_first_stage)]
    for k in settings.reranked:
        if k <= len(searched.image_keys):
            scores = reranked(similarities, both, k)
            seconds = of_first_stage + seconds_of(k)
            rows.append(row_of(f"best {k} re-ranked", scores, searched, k=k, cpu_seconds=seconds))
    num_images = len(searched.image_keys)
    of_every_pair = float(whole.cpu_seconds)
    rows.append(row_of(EVERY_PAIR, whole.scores, searched, k=num_images, cpu_seconds=of_every_pair))
    rows.append(row_of(BY_BOTH, both, searched, k=num_images, cpu_seconds=of_first_stage + of_every_pair))
    counted = search_baselines(searched.texts, searched.image_keys, searched.is_right, store)
    baselines = {RULE: counted.rule, CHANCE: counted.chance, CEILING: counted.ceiling}
    rows += [{"way": name} | rounded(values) | sizes_of(searched) for name, values in baselines.items() if values]
    write_table(table_output, rows)
    draw_recalls(figure_output, rows, ks=[k for k in settings.reranked if k <= num_images])


def demand_same_search(searched: Searched, whole: EveryPair) -> None:
    """Raises: ValueError if every pair was scored of other captions or images."""
    if whole.image_keys.tolist() != searched.image_keys or whole.texts.tolist() != searched.texts:
        raise ValueError(
            "every pair was scored of other captions or images; make it anew with --forcerun score_every_pair"
        )


def best_columns(similarities: np.ndarray, k: int) -> np.ndarray:
    """Of each row of [Q, I] the k best, the best first: int64 [Q, K]."""
    return np.argsort(-similarities, axis=1, kind="stable")[:, :k]


def reranked(similarities: np.ndarray, scores: np.ndarray, k: int) -> np.ndarray:
    """What ranks [Q, I]: the k best of the first stage by other scores, then the others as they were."""
    best = best_columns(similarities, k)
    of_best = np.take_along_axis(scores, best, axis=1).astype(np.float64)
    combined = similarities.astype(np.float64)
    lowest = of_best.min(axis=1, keepdims=True)
    np.put_along_axis(combined, best, of_best - lowest + 2, axis=1)  # similarities are 1 at most
    return combined


def row_of(way: str, scores: np.ndarray, searched: Searched, *, k: int, cpu_seconds: float) -> dict[str, Any]:
    """Args:
    scores: [Q, I].
    k: pairs that the teacher scored, of a caption.
    """
    costs = {"k": k, "pairs_scored": k * len(scores), "cpu_seconds": round(cpu_seconds, 1)}
    return {"way": way} | rounded(recalls(best_ranks(scores, searched.is_right))) | costs | sizes_of(searched)


def rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}


def sizes_of(searched: Searched) -> dict[str, int]:
    """Captions, the images that they search, and how many of these both models have learnt of."""
    num_images = len(searched.image_keys)
    num_learnt_of = num_images - searched.num_held_out
    return {"queries": len(searched.texts), "images": num_images, "images_of_training": num_learnt_of}


def write_table(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with whole_file(path) as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=COLUMNS)
        writer.writeheader()
        writer.writerows({name: value for name, value in row.items() if name in COLUMNS} for row in rows)


def draw_recalls(path: Path, rows: Sequence[dict[str, Any]], *, ks: Sequence[int]) -> None:
    """Recall against the number of images that are re-ranked; level lines: every pair scored."""
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    by_way = {row["way"]: row for row in rows}
    ways = [FIRST_STAGE, *(f"best {k} re-ranked" for k in ks)]
    for limit in LIMITS:
        name = f"recall_at_{limit}"
        (line,) = axes.plot([by_way[way][name] for way in ways], marker="o", label=f"R@{limit}")
        axes.axhline(by_way[EVERY_PAIR][name], color=line.get_color(), linestyle="--", linewidth=1)
    axes.set_xticks(range(len(ways)), ["none", *map(str, ks)])
    axes.set_xlabel("images that are re-ranked; dashed: every pair scored")
    axes.set_ylabel("recall")
    axes.set_ylim(0, 1)
    axes.legend(frameon=False)
    with whole_file(path) as partial:
        figure.savefig(partial, format=path.suffix.removeprefix("."))


if __name__ == "__main__":
    run(main)
