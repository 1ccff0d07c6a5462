"""Real rows, photos and annotations through every rule, from a server that fails as the real hosts did."""

import csv
import json

import pyarrow.parquet as pq
import pytest
from real_sample import WEIGHTS, main
from real_web import CAPTION_LIST, plan_answers

from extract.regions.store import RegionStore

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CAPTION_LIST.exists(), reason=f"the real rows are not at {CAPTION_LIST}"),
    pytest.mark.skipif(not WEIGHTS.exists(), reason=f"no weights in the real format at {WEIGHTS}"),
]
NUM_ROWS = 400


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real_sample")
    main(folder, num_rows=NUM_ROWS)
    return folder


@pytest.fixture(scope="module")
def results(folder):
    return folder / "results/real_sample"


def rows_of(results, name):
    return pq.read_table(results / name).to_pylist()


def test_every_row_is_kept_or_dropped_and_what_did_not_arrive_says_what_the_server_did(folder, results):
    kept, dropped = rows_of(results, "pairs.parquet"), rows_of(results, "dropped.parquet")
    lines = [line.split("\t") for split in ("train", "val") for line in read_list(folder, split)]
    assert len(kept) + len(dropped) == len(lines) == NUM_ROWS + 170
    told = {}
    for split, number in (("val", NUM_ROWS // 8), ("train", NUM_ROWS - NUM_ROWS // 8)):
        told |= plan_answers(line.split("\t")[1] for line in read_list(folder, split)[-number:])
    failed = [row for row in dropped if row["stage"] == "download"]
    assert len(failed) > NUM_ROWS / 30
    url_of = {row["key"]: row["url"] for split in ("train", "val") for row in rows_of(results, f"rows/{split}")}
    assert {row["key"]: row["reason"] for row in failed} == {row["key"]: told[url_of[row["key"]]] for row in failed}


def read_list(folder, split):
    return (folder / f"sample/{split}.tsv").read_text(encoding="utf-8").splitlines()


def test_each_photo_is_kept_once_with_captions_of_its_own(results):
    kept = rows_of(results, "pairs.parquet")
    store = RegionStore(sorted((results / "features").glob("*/*.lmdb")))
    assert all(10 <= len(store[row["image_key"]]) <= 36 for row in kept)
    captions_of = {
        key: [row["caption"] for row in kept if row["image_key"] == key] for key in {r["image_key"] for r in kept}
    }
    assert len(captions_of) <= 34 + 18
    assert sum(len(captions) == 5 for captions in captions_of.values()) > 25  # COCO's


def test_every_task_was_trained_and_measured(results):
    with (results / "report/finetuning.csv").open() as file:
        assert {row["task"] for row in csv.DictReader(file)} == {"vqa", "vcr", "refcoco", "retrieval"}
    vqa = json.loads((results / "finetune/vqa/model/config.json").read_text())
    assert len(vqa["id2label"]) == 3129
    assert json.loads((results / "zero_shot_retrieval/metrics.json").read_text())["num_images"] == 7


def test_the_run_is_one_page(results):
    page = (results / "report/index.html").read_text()
    assert page.count("data:image/jpeg") > 20
    for part in ("RefCOCO+", "Co-attention", "Learning curves", "What it cost", "Before you believe it"):
        assert part in page


def test_snakemakes_report_has_every_part(folder):
    page = (folder / "report.html").read_text()
    for part in ("regions.png", "dropped.csv", "learning_curves.svg", "finetuning.csv"):
        assert part in page


def test_published_features_stand_beside_our_own(results):
    store = RegionStore([results / "imported/five_images.lmdb"])
    assert len(store) == 5
    assert store.feature_size == 2048
