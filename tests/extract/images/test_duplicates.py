from pathlib import Path

import numpy as np

from extract.images.duplicates import main, nearest_leader
from extract.settings import DuplicateSettings
from extract.tables import CAPTIONS, DUPLICATES, IMAGE_CHECKS, IMAGES, read_rows, write_table

SETTINGS = DuplicateSettings(max_distance=4)
A, FAR = 0x0123456789ABCDEF, 0xFEDCBA9876543210


def check(key: str, *, sha256: str, perceptual_hash: int, url: str | None = None, reason: str | None = None) -> dict:
    url = f"http://a.org/{key}" if url is None else url
    return {"key": key, "url": url, "sha256": sha256, "perceptual_hash": perceptual_hash, "reason": reason}


def duplicates(
    tmp_path: Path, *tables: list[dict], others: tuple[dict, ...] = (), dropped: tuple[str, ...] = ()
) -> list[dict]:
    """What is found in shards of these images, each of which has a row of its own key, and in the first shard more.

    Args:
        others: further rows of the first shard, with the key of their image.
        dropped: the rows that a caption rule drops.
    """
    for number, checks in enumerate(tables):
        rows = [{"key": row["key"], "image_key": row["key"]} for row in checks] + list(others if number == 0 else ())
        captions = [{"key": row["key"], "reason": "markup" if row["key"] in dropped else None} for row in rows]
        write_table(tmp_path / f"checks/{number}.parquet", checks, IMAGE_CHECKS)
        write_table(tmp_path / f"images/{number}.parquet", rows, IMAGES)
        write_table(tmp_path / f"captions/{number}.parquet", captions, CAPTIONS)
    main(tmp_path / "duplicates.parquet", tmp_path, [str(number) for number in range(len(tables))], SETTINGS)
    return read_rows(tmp_path / "duplicates.parquet", DUPLICATES)


def test_the_earlier_table_keeps_its_image(tmp_path):
    val = [check("val-00000000", sha256="a", perceptual_hash=A)]
    train = [
        check("train-00000000", sha256="a", perceptual_hash=A),
        check("train-00000001", sha256="b", perceptual_hash=A ^ 0b111),
        check("train-00000002", sha256="c", perceptual_hash=FAR),
    ]
    assert duplicates(tmp_path, val, train) == [
        {"key": "train-00000000", "duplicate_of": "val-00000000", "distance": 0, "reason": "exact_duplicate"},
        {"key": "train-00000001", "duplicate_of": "val-00000000", "distance": 3, "reason": "near_duplicate"},
    ]
    assert [row["key"] for row in duplicates(tmp_path, train, val)] == ["train-00000001", "val-00000000"]


def test_equal_hashes_of_different_bytes_are_near(tmp_path):
    rows = [check(f"train-0000000{n}", sha256=str(n), perceptual_hash=A) for n in range(2)]
    assert [(row["distance"], row["reason"]) for row in duplicates(tmp_path, rows)] == [(0, "near_duplicate")]


def test_one_url_in_two_shards_of_a_split_is_one_picture_with_two_captions(tmp_path):
    first = [check("train-00000000", sha256="a", perceptual_hash=A, url="http://a.org/x")]
    again = [check("train-00000100", sha256="a", perceptual_hash=A, url="http://a.org/x")]
    assert duplicates(tmp_path, first, again) == []


def test_one_url_in_two_splits_is_a_leak(tmp_path):
    val = [check("val-00000000", sha256="a", perceptual_hash=A, url="http://a.org/x")]
    train = [check("train-00000100", sha256="a", perceptual_hash=A, url="http://a.org/x")]
    assert [row["key"] for row in duplicates(tmp_path, val, train)] == ["train-00000100"]


def test_images_without_an_address_are_told_apart_by_their_keys(tmp_path):
    rows = [check(f"train-0000000{n}", sha256="a", perceptual_hash=A) | {"url": None} for n in range(3)]
    assert [row["key"] for row in duplicates(tmp_path, rows)] == ["train-00000001", "train-00000002"]


def test_what_an_image_rule_dropped_is_no_original(tmp_path):
    small = check("train-00000000", sha256="a", perceptual_hash=A, reason="too_small")
    broken = {"key": "train-00000001", "url": "u", "sha256": "a", "reason": "undecodable"}
    good = check("train-00000002", sha256="a", perceptual_hash=A)
    assert duplicates(tmp_path, [small, broken, good]) == []
    assert duplicates(tmp_path, [small, broken]) == []


def copies(split: str, count: int) -> list[dict]:
    """Images of the same bytes from different urls."""
    return [check(f"{split}-{n:08d}", sha256="a", perceptual_hash=A) for n in range(count)]


def test_the_copy_that_stays_is_the_earliest_whose_caption_is_good(tmp_path):
    found = duplicates(tmp_path, copies("train", 2), copies("train2", 2), dropped=("train-00000000", "train2-00000001"))
    assert [(row["key"], row["duplicate_of"]) for row in found] == [("train2-00000000", "train-00000001")]


def test_an_evaluation_split_without_a_good_caption_of_a_picture_leaves_it_to_training(tmp_path):
    assert duplicates(tmp_path, copies("val", 1), copies("train", 1), dropped=("val-00000000",)) == []


def test_one_good_caption_of_several_keeps_a_copy(tmp_path):
    others = (
        {"key": "train-00000002", "image_key": "train-00000000"},
        {"key": "train-00000003", "image_key": None},
    )
    found = duplicates(tmp_path, copies("train", 2), others=others, dropped=("train-00000000",))
    assert [row["key"] for row in found] == ["train-00000001"]
    found = duplicates(tmp_path, copies("train", 2), others=others, dropped=("train-00000000", "train-00000002"))
    assert found == []


def test_a_chain_points_at_images_that_stay():
    """Steps of 3 bits: the second is near the first, the third near the second alone, so it stays."""
    chain = np.array([A, A ^ 0b111, A ^ 0b111111, A ^ 0b1111111], dtype=np.uint64)
    assert nearest_leader(chain, max_distance=4).tolist() == [0, 0, 2, 2]
    assert nearest_leader(chain[::-1].copy(), max_distance=4).tolist() == [0, 0, 0, 3]


def test_the_nearest_of_two_originals_is_named():
    images = np.array([A, A ^ 0b11111, A ^ 0b1111], dtype=np.uint64)
    assert nearest_leader(images, max_distance=4).tolist() == [0, 1, 1]


def test_every_image_either_stays_or_is_near_one_that_does():
    rng = np.random.default_rng(5)
    hashes = rng.integers(0, 2**13, size=499, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7)
    leader = nearest_leader(hashes, max_distance=5)
    assert (leader[leader] == leader).all()
    assert (leader <= np.arange(499)).all()
    assert (np.bitwise_count(hashes ^ hashes[leader]) <= 5).all()
    kept = hashes[np.unique(leader)]
    distances = np.bitwise_count(kept[:, None] ^ kept[None])[np.triu_indices(len(kept), k=1)]
    assert distances.min() > 5
