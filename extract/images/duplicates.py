"""The same picture twice, across all shards and splits: python -m extract.images.duplicates OUTPUT RUN SHARDS."""

from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import typer
from numpy.typing import NDArray
from tqdm import tqdm

from extract.command import run
from extract.images.near_pairs import near_pairs
from extract.images.perceptual_hash import hash_distance
from extract.settings import DuplicateSettings
from extract.tables import DUPLICATES, read_table, whole_file


def main(
    output: Path,
    run: Path,
    shards: list[str],
    settings: Annotated[DuplicateSettings, typer.Option(parser=DuplicateSettings.model_validate_json)],
):
    """List the images of RUN (results/<run>) that repeat one of an earlier row or shard.

    Name the shards of the evaluation splits first: val/00000 train/00000 train/00001.
    """
    duplicates = find_duplicates(read_images(run, shards), max_distance=settings.max_distance)
    with whole_file(output) as partial:
        pq.write_table(duplicates, partial, compression="zstd")


def read_images(run: Path, shards: list[str]) -> pa.Table:
    """key, sha256, perceptual_hash and source of the images that may become pairs, in order of priority.

    Two images of one source (split and url) are one picture asked for twice, not duplicates. Between splits they are.
    """
    table = pa.concat_tables([read_shard(run, shard) for shard in tqdm(shards, desc="reading shards")])
    split = pc.replace_substring_regex(table["key"], r"-\d+$", "")
    source = pc.binary_join_element_wise(split, pc.coalesce(table["url"], table["key"]), " ")
    return table.select(["key", "sha256", "perceptual_hash"]).append_column("source", source)


def read_shard(run: Path, shard: str) -> pa.Table:
    """key, url, sha256 and perceptual_hash of the images that no image rule dropped and some row needs.

    An image whose rows the caption rules all dropped is no reason to drop another one.
    """
    is_kept = pc.field("reason").is_null()
    captions = read_table(run / "captions" / f"{shard}.parquet", columns=["key"], filters=is_kept)
    is_captioned = pc.field("key").isin(captions["key"].combine_chunks())
    rows = read_table(run / "images" / f"{shard}.parquet", columns=["image_key"], filters=is_captioned)
    is_needed = pc.field("key").isin(rows["image_key"].combine_chunks())
    columns = ["key", "url", "sha256", "perceptual_hash"]
    return read_table(run / "checks" / f"{shard}.parquet", columns=columns, filters=is_kept & is_needed)


def find_duplicates(images: pa.Table, *, max_distance: int) -> pa.Table:
    """tables.DUPLICATES: a row for each image that repeats an earlier one.

    `duplicate_of` is an image that stays: of a chain of ever so slightly different images, the first that is near no
    kept one stays, too.
    """
    hashes = images["perceptual_hash"].to_numpy()
    source, sha256 = codes(images["source"]), codes(images["sha256"])
    original = nearest_leader(hashes, max_distance=max_distance)
    is_duplicate = source != source[original]
    exact = sha256 != np.arange(len(sha256))  # an earlier image has the same bytes
    dropped = np.flatnonzero(is_duplicate)
    originals = original[dropped]
    return pa.table(
        {
            "key": images["key"].take(dropped),
            "duplicate_of": images["key"].take(originals),
            "distance": hash_distance(hashes[dropped], hashes[originals]).astype(np.int32),
            "reason": np.where(exact[dropped], "exact_duplicate", "near_duplicate"),
        },
        schema=DUPLICATES,
    )


def codes(values: pa.ChunkedArray) -> NDArray[np.intp]:
    """[N] the index of the first row with the same value."""
    _, first, code = np.unique(dictionary_codes(values), return_index=True, return_inverse=True)
    return first[code]


def dictionary_codes(values: pa.ChunkedArray) -> NDArray[np.int32]:
    """[N] a number for each value, equal for equal values."""
    return values.combine_chunks().dictionary_encode().indices.to_numpy()


def nearest_leader(hashes: NDArray[np.uint64], *, max_distance: int) -> NDArray[np.intp]:
    """[N] the image that each one repeats: itself, or the nearest, then earliest, of those that repeat none.

    In order of priority each image either stays, as a leader, or is within `max_distance` of one.
    """
    unique, first, code = np.unique(hashes, return_index=True, return_inverse=True)
    order = np.argsort(first)  # unique hashes by their first image
    pairs, distances = near_pairs(unique[order], max_distance=max_distance)
    leader = np.arange(len(unique))
    distance_to_leader: dict[int, int] = {}
    for place in np.lexsort((pairs[:, 0], distances, pairs[:, 1])):
        earlier, later = map(int, pairs[place])
        if leader[earlier] == earlier and later not in distance_to_leader:
            leader[later] = earlier
            distance_to_leader[later] = int(distances[place])
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order][leader[rank[code]]]


if __name__ == "__main__":
    run(main)
