"""The real Conceptual Captions rows, each url rewritten onto one server on 127.0.0.1: no real host is ever asked."""

from collections import Counter

import pytest
from real_web import CAPTION_LIST, coco_photos, open_images_photos, photos_in_turn, plan_answers, write_site

from extract.captions.counts import main as count_captions
from extract.captions.rows import main as cut_rows
from extract.captions.rules import main as clean_captions
from extract.download.shard import download_shard
from extract.settings import CaptionSettings, DownloadSettings
from extract.tables import IMAGES, read_rows

NUM_ROWS = 8_000


@pytest.mark.slow
@pytest.mark.skipif(not CAPTION_LIST.exists(), reason=f"the real rows are not at {CAPTION_LIST}")
def test_the_table_of_reasons_is_what_the_server_was_told(tmp_path, download_settings):
    rules = CaptionSettings(min_words=1, max_words=99, min_latin_share=0, boilerplate=(), max_repeats=NUM_ROWS)
    rows, counts, words, captions = (tmp_path / f"{name}.parquet" for name in ("rows", "counts", "words", "captions"))
    cut_rows(CAPTION_LIST, rows, split="val", first_row=0, num_rows=NUM_ROWS)
    count_captions(counts, words, [rows])
    clean_captions(rows, counts, captions, settings=rules)

    told = plan_answers(line.split("\t")[1] for line in CAPTION_LIST.read_text().splitlines())
    photo_of = photos_in_turn(told, [*coco_photos(), *open_images_photos()])
    write_site(tmp_path / "site", told, photo_of=photo_of)
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
