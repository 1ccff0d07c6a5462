"""The real Conceptual Captions rows, each url rewritten onto one server on 127.0.0.1: no real host is ever asked."""

import os
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

from extract.caption_counts import main as count_captions
from extract.captions import main as clean_captions
from extract.download import download_shard
from extract.rows import main as cut_rows
from extract.settings import CaptionSettings, DownloadSettings, SourceSettings
from extract.site import write_behaviours
from extract.tables import IMAGES, read_rows
from extract.web_address import mirrored, parse_address

DATA = Path(os.environ.get("VILBERT_SHARED_DATA", Path(__file__).parents[2] / "../shared/data"))
CAPTION_LIST = DATA / "conceptual_captions/validation_first_8000.tsv"
NUM_ROWS = 8_000
# What 3.318 M urls answered in 2019, by the reason that we give; the rest were images.
FAILURES = {
    "http_404": 64_048,
    "timed_out": 53_168,
    "http_403": 42_082,
    "http_405": 24_939,
    "http_503": 2_807,
    "http_400": 2_519,
    "http_500": 1_644,
    "rate_limited": 399,
    "not_an_image": 126_369,
}
ANSWERS = {
    "timed_out": {"hang": 60, "body": "too late"},
    "rate_limited": {"status": 429, "headers": {"Retry-After": "3600"}},
    "not_an_image": {"body": "<!doctype html><title>for sale</title>", "content_type": "text/html"},
}


@pytest.mark.slow
@pytest.mark.skipif(not CAPTION_LIST.exists(), reason=f"the real rows are not at {CAPTION_LIST}")
def test_the_table_of_reasons_is_what_the_server_was_told(tmp_path, download_settings):
    split = {"url": None, "sha256": None, "num_rows": NUM_ROWS}
    source = SourceSettings.model_validate({"kind": "urls", "rows_per_shard": NUM_ROWS, "splits": {"val": split}})
    rules = CaptionSettings(min_words=1, max_words=99, min_latin_share=0, boilerplate=(), max_repeats=NUM_ROWS)
    rows, counts, words, captions = (tmp_path / f"{name}.parquet" for name in ("rows", "counts", "words", "captions"))
    cut_rows(CAPTION_LIST, rows, split="val", shard=0, settings=source)
    count_captions(counts, words, [rows])
    clean_captions(rows, counts, captions, settings=rules)

    told = plan_answers([line.split("\t")[1] for line in CAPTION_LIST.read_text().splitlines()])
    write_site(tmp_path / "site", told)
    changes = {"mirror": "site", "timeout": 2.0, "tries": 2, "connections": 64, "connections_per_host": 32}
    limits = {"max_bytes": 20_000_000, "max_pixels": 100_000_000}
    settings = DownloadSettings.model_validate({**download_settings, **changes, **limits})
    outputs = [tmp_path / name for name in ("0.tar", "0.parquet", "0_stats.json")]
    download_shard(rows, captions, *outputs, journal=tmp_path / "journal", settings=settings, site=tmp_path / "site")

    arrived = read_rows(outputs[1], IMAGES)
    assert len(arrived) == NUM_ROWS
    wrong = [
        (row["url"], told[row["url"]], row["error_message"], row["detail"])
        for row in arrived
        if (row["error_message"] or "success") != told[row["url"]] and row["error_message"] != "caption_dropped"
    ]
    assert wrong == []
    assert Counter(row["error_message"] for row in arrived)["caption_dropped"] < NUM_ROWS / 100


def plan_answers(urls: list[str]) -> dict[str, str]:
    """What each url will answer, in the shares of 2019."""
    generator = random.Random(0)
    names = [*FAILURES, "success"]
    weights = [*FAILURES.values(), 3_318_333 - sum(FAILURES.values())]
    return {url: generator.choices(names, weights)[0] for url in urls}


def write_site(folder: Path, told: dict[str, str]) -> None:
    photos = sorted([*(DATA / "coco/images").glob("*.jpg"), *(DATA / "open_images").glob("*.jpg")])
    folder.mkdir()
    for photo in photos:
        shutil.copy(photo, folder)
    behaviours = {}
    for index, (url, answer) in enumerate(told.items()):
        path = mirrored(parse_address(url, allow_private=False), "http://mirror").raw_path_qs
        good = {"file": photos[index % len(photos)].name}
        is_status = answer.startswith("http_")
        behaviours[path] = {"status": int(answer[5:])} if is_status else ANSWERS.get(answer, good)
    write_behaviours(folder, behaviours)
