"""Each row's fate, kept or dropped by the first stage that objects: python -m extract.cleaning.pairs."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Annotated

import pyarrow.compute as pc
import typer
from tqdm import tqdm

from extract.captions.counts import read_word_counts
from extract.cleaning.relatedness import ClassNames, relatedness
from extract.command import run
from extract.reasons import DownloadReason
from extract.regions.store import RegionStore
from extract.settings import RelatednessSettings
from extract.tables import (
    CAPTIONS,
    DUPLICATES,
    IMAGE_CHECKS,
    IMAGES,
    PAIRS,
    REGION_COUNTS,
    ROWS,
    read_rows,
    read_table,
    write_table,
)


def main(
    rows: Path,
    captions: Path,
    table: Path,
    checks: Path,
    duplicates: Path,
    counts: Path,
    store: Path,
    words: Path,
    output: Path,
    settings: Annotated[RelatednessSettings, typer.Option(parser=RelatednessSettings.model_validate_json)],
):
    """Bring together what each stage said of the rows of one shard."""
    keys = [row["key"] for row in read_rows(rows, ROWS)]
    region_store = RegionStore([store])
    shard = Shard(
        captions=by_key(captions, CAPTIONS, keys=keys),
        images=by_key(table, IMAGES, keys=keys),
        checks=by_key(checks, IMAGE_CHECKS),
        duplicates=duplicates_among(duplicates, keys),
        counts=by_key(counts, REGION_COUNTS),
        store=region_store,
        class_names=ClassNames(region_store.classes, word_counts=read_word_counts(words)),
    )
    write_table(output, list(judge_rows(tqdm(keys, desc="judging pairs"), shard, settings=settings)), PAIRS)


@dataclass(frozen=True, kw_only=True)
class Shard:
    """What the stages said: captions and images by row, the others by image."""

    captions: Mapping[str, dict]
    images: Mapping[str, dict]
    checks: Mapping[str, dict]
    duplicates: Mapping[str, dict]
    counts: Mapping[str, dict]
    store: RegionStore
    class_names: ClassNames


def by_key(path: Path, schema, *, keys: list[str] | None = None) -> dict[str, dict]:
    """The rows of a table by their keys.

    Raises: ValueError if a key stands twice, or if the table is not one of exactly `keys`.
    """
    rows = read_rows(path, schema)
    found = {row["key"]: row for row in rows}
    if len(found) < len(rows):
        raise ValueError(
            f"{path} has {len(rows)} rows but {len(found)} keys; make it anew with `snakemake -f {quote(str(path))}`"
        )
    if keys is not None and found.keys() != set(keys):
        example = min(found.keys() ^ set(keys))
        raise ValueError(
            f"{path} has {len(found)} rows, the caption list {len(keys)}, and they differ in '{example}'; "
            f"make it anew with `snakemake -f {quote(str(path))}`"
        )
    return found


def duplicates_among(path: Path, keys: list[str]) -> dict[str, dict]:
    """The rows of the duplicates of all splits that are of this shard, by image."""
    table = read_table(path, schema=DUPLICATES)
    if keys:  # ascending
        table = table.filter((pc.field("key") >= keys[0]) & (pc.field("key") <= keys[-1]))
    return {row["key"]: row for row in table.to_pylist()}


def judge_rows(keys: Iterable[str], shard: Shard, *, settings: RelatednessSettings) -> Iterator[dict]:
    """A row of tables.PAIRS for each key."""
    for key in keys:
        caption = shard.captions[key]["caption"]
        image_key = shard.images[key]["image_key"]
        pair = {"key": key, "image_key": image_key, "caption": caption}
        if objection := first_objection(key, shard):
            yield pair | objection
            continue
        count = shard.counts[image_key]
        score = None
        if count["num_confident"] >= settings.min_regions:
            score = relatedness(shard.class_names.mentions(caption), shard.store[image_key].class_probs)
        pair |= {"num_regions": count["num_regions"], "relatedness": score}
        if score is not None and score < settings.threshold:
            pair |= {"stage": "relatedness", "reason": "unrelated", "detail": f"{score:.3f}"}
        yield pair


def first_objection(key: str, shard: Shard) -> dict | None:
    """stage, reason and detail of the first stage before relatedness that dropped a row."""
    if (caption := shard.captions[key])["reason"]:
        return {"stage": "captions", "reason": caption["reason"], "detail": caption["detail"]}
    image = shard.images[key]
    if (image_key := image["image_key"]) is None:
        if image["error_message"] == DownloadReason.CAPTION_DROPPED:
            detail = "the caption rules dropped it when the download ran; fetch it with `snakemake --forcerun=download`"
            return {"stage": "download", "reason": DownloadReason.NOT_FETCHED.value, "detail": detail}
        return {"stage": "download", "reason": image["error_message"], "detail": image["detail"]}
    if (check := found(image_key, shard.checks, "checks"))["reason"]:
        return {"stage": "images", "reason": check["reason"], "detail": check["detail"]}
    if duplicate := shard.duplicates.get(image_key):
        detail = f"{duplicate['distance']} bits from {duplicate['duplicate_of']}"
        return {"stage": "duplicates", "reason": duplicate["reason"], "detail": detail}
    if (count := found(image_key, shard.counts, "region counts"))["reason"]:
        return {"stage": "features", "reason": count["reason"], "detail": count["detail"]}
    return None


def found(image_key: str, table: Mapping[str, dict], name: str) -> dict:
    """The row of an image that arrived.

    Raises: ValueError if a stage lost it.
    """
    if image_key not in table:
        raise ValueError(f"image '{image_key}' arrived but is not in the {name} of its shard; make them anew")
    return table[image_key]


if __name__ == "__main__":
    run(main)
