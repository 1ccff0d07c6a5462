from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from extract.captions.counts import WORD_COUNTS
from extract.cleaning.pairs import main
from extract.regions.record import Regions
from extract.regions.store import RegionStoreWriter
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
    write_table,
)

CLASSES = ("background", "red circle", "blue square")
SETTINGS = RelatednessSettings(threshold=0.2, min_regions=1)
SCHEMAS = {
    "rows": ROWS,
    "captions": CAPTIONS,
    "images": IMAGES,
    "checks": IMAGE_CHECKS,
    "duplicates": DUPLICATES,
    "counts": REGION_COUNTS,
}
# Row 0 and 1 share an image that shows a red circle; the others have an image each, or none.
CAPTION_OF = [
    "a red circle",
    "a blue square",
    "a red circle",
    "no",
    "a circle",
    "a red circle",
    "a red circle",
    "a cat",
]
KEYS = [f"val-{row:08d}" for row in range(len(CAPTION_OF))]


def regions(num_confident: int) -> Regions:
    probs = np.array([[0.1, 0.9, 0], [0.95, 0.05, 0], [1, 0, 0]], dtype=np.float16)
    return Regions(
        boxes=np.tile(np.array([0, 0, 5, 7], dtype=np.float32), (3, 1)),
        scores=np.array([0.9, 0.05, 0], dtype=np.float32),
        features=np.zeros((3, 2), dtype=np.float16),
        class_probs=probs,
        image_size=(11, 13),
        num_confident=num_confident,
        is_short=False,
    )


def stage_tables() -> dict[str, list[dict]]:
    """What the stages say of the eight rows: row 3 to 6 are each dropped by another one."""
    image_keys = [KEYS[0], KEYS[0], KEYS[2], None, None, KEYS[5], KEYS[6], KEYS[7]]
    arrived = [KEYS[0], KEYS[2], KEYS[5], KEYS[6], KEYS[7]]
    tables = {
        "rows": [
            {"key": key, "url": f"http://a.org/{key}", "caption": c} for key, c in zip(KEYS, CAPTION_OF, strict=True)
        ],
        "captions": [{"key": key, "caption": c} for key, c in zip(KEYS, CAPTION_OF, strict=True)],
        "images": [{"key": key, "image_key": image_key} for key, image_key in zip(KEYS, image_keys, strict=True)],
        "checks": [{"key": key} for key in arrived],
        "duplicates": [
            {"key": KEYS[6], "duplicate_of": "val-00000000", "distance": 3, "reason": "near_duplicate"},
            {"key": "train-00000006", "duplicate_of": "val-00000000", "distance": 0, "reason": "exact_duplicate"},
        ],
        "counts": [{"key": key, "num_regions": 3, "num_confident": 1} for key in arrived],
    }
    tables["captions"][3] |= {"reason": "too_few_words", "detail": "1 words"}
    tables["images"][3] |= {"error_message": "caption_dropped"}
    tables["images"][4] |= {"error_message": "http_404", "detail": "404"}
    tables["checks"][2] |= {"reason": "too_small", "detail": "5x7"}
    return tables


def judge(folder: Path, tables: dict[str, list[dict]], *, settings: RelatednessSettings = SETTINGS) -> list[dict]:
    for name, rows in tables.items():
        write_table(folder / f"{name}.parquet", rows, SCHEMAS[name])
    write_table(folder / "words.parquet", [{"word": "", "num_captions": 8}], WORD_COUNTS)
    with RegionStoreWriter(
        folder / "shard.lmdb",
        classes=CLASSES,
        feature_size=2,
        num_classes_kept=None,
        box_source="proposal",
        detector={},
        selection={},
    ) as store:
        for count in tables["counts"]:
            if not count.get("reason"):
                store.put(count["key"], regions(count["num_confident"]))
    inputs = [folder / f"{name}.parquet" for name in SCHEMAS]
    main(*inputs, folder / "shard.lmdb", folder / "words.parquet", folder / "pairs.parquet", settings)
    return read_rows(folder / "pairs.parquet", PAIRS)


def fates(pairs: list[dict]) -> Iterator[tuple[str | None, str | None, str | None]]:
    return ((pair["stage"], pair["reason"], pair["detail"]) for pair in pairs)


def test_every_row_has_the_fate_that_the_first_objecting_stage_gave_it(tmp_path):
    pairs = judge(tmp_path, stage_tables())
    assert [pair["key"] for pair in pairs] == KEYS
    assert [pair["caption"] for pair in pairs] == CAPTION_OF
    assert list(fates(pairs)) == [
        (None, None, None),
        ("relatedness", "unrelated", "0.001"),
        (None, None, None),
        ("captions", "too_few_words", "1 words"),
        ("download", "http_404", "404"),
        ("images", "too_small", "5x7"),
        ("duplicates", "near_duplicate", "3 bits from val-00000000"),
        (None, None, None),
    ]
    assert [pair["relatedness"] for pair in pairs[:3]] == pytest.approx([0.9, 0.001, 0.9], abs=1e-3)
    assert pairs[7]["relatedness"] is None
    assert [pair["num_regions"] for pair in pairs] == [3, 3, 3, None, None, None, None, 3]


def test_a_row_whose_caption_was_dropped_when_the_download_ran_says_what_to_do(tmp_path):
    tables = stage_tables()
    tables["captions"][3] |= {"reason": None, "detail": None}
    pair = judge(tmp_path, tables)[3]
    assert (pair["stage"], pair["reason"]) == ("download", "not_fetched")
    assert "snakemake --forcerun=download" in pair["detail"]


def test_an_image_without_regions_is_dropped_with_the_reason_of_the_extractor(tmp_path):
    tables = stage_tables()
    tables["counts"][1] |= {"num_regions": 0, "num_confident": 0, "reason": "no_regions", "detail": "0 proposals"}
    assert list(fates(judge(tmp_path, tables)))[2] == ("features", "no_regions", "0 proposals")


def test_images_with_too_few_confident_regions_are_not_judged(tmp_path):
    pairs = judge(tmp_path, stage_tables(), settings=SETTINGS.model_copy(update={"min_regions": 2}))
    assert [pair["relatedness"] for pair in pairs] == [None] * 8
    assert pairs[1]["stage"] is None


def test_the_score_is_kept_where_the_threshold_drops_nothing(tmp_path):
    pairs = judge(tmp_path, stage_tables(), settings=SETTINGS.model_copy(update={"threshold": 0}))
    assert pairs[1]["stage"] is None
    assert pairs[1]["relatedness"] == pytest.approx(0.001)


@pytest.mark.parametrize("name", ["captions", "images"])
def test_a_stage_that_lost_a_row_is_an_error(tmp_path, name):
    tables = stage_tables()
    del tables[name][4]
    with pytest.raises(ValueError, match=r"has 7 rows, the caption list 8, and they differ in 'val-00000004'"):
        judge(tmp_path, tables)


@pytest.mark.parametrize("name", ["checks", "counts"])
def test_a_stage_that_lost_an_image_is_an_error(tmp_path, name):
    tables = stage_tables()
    del tables[name][0]
    with pytest.raises(ValueError, match="image 'val-00000000' arrived but is not in the"):
        judge(tmp_path, tables)
