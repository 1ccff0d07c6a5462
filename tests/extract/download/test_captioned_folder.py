import numpy as np
import pytest
from PIL import Image

from extract.captions.csv_lists import CsvRow, write_captions
from extract.captions.rules import caption_rules, clean_row
from extract.download.captioned_folder import import_folder, main
from extract.images.checks import tar_images
from extract.settings import CaptionSettings, DownloadSettings, SourceSettings, SplitSettings
from extract.tables import IMAGES, ROWS, read_rows

ROWS_OF_ALL_KINDS = [
    CsvRow("sub/a.png", "a red circle"),
    CsvRow("sub/a.png", "a circle that is red"),
    CsvRow("gone.jpg", "a thing"),
    CsvRow("sub/a.png", "a red circle"),  # row 0 again
    CsvRow("broken.jpg", "a broken picture"),
    CsvRow("sub/a.png", ""),
    CsvRow("b.jpg,a dog, a cat", None),
    CsvRow("b.jpg", "a blue square"),
]


def settings(num_rows: int, *, rows_per_shard: int = 5) -> SourceSettings:
    split = SplitSettings(url="train.csv", sha256=None, num_rows=num_rows)
    return SourceSettings(kind="folder", pictures="unused", rows_per_shard=rows_per_shard, splits={"train": split})


@pytest.fixture
def images(download_settings) -> DownloadSettings:
    return DownloadSettings.model_validate(download_settings)


@pytest.fixture
def folder(tmp_path):
    """A csv of rows of all kinds, and their pictures."""
    write_captions(tmp_path / "train.csv", ROWS_OF_ALL_KINDS)
    (tmp_path / "sub").mkdir()
    for name, width in (("sub/a.png", 31), ("b.jpg", 37)):
        pixels = np.random.default_rng(width).integers(0, 256, (23, width, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    return tmp_path


def imported(folder, shard: int, images: DownloadSettings, *, num_rows: int = 8, rows_per_shard: int = 5):
    source = settings(num_rows, rows_per_shard=rows_per_shard)
    tar = folder / f"{shard}.tar"
    return import_folder(folder / "train.csv", folder, tar, split="train", shard=shard, settings=source, images=images)


def test_every_bad_row_has_its_reason(folder, images):
    rows = imported(folder, 0, images, rows_per_shard=8)
    assert [row["key"] for row in rows] == [f"train-{number:08d}" for number in range(8)]
    assert [row.get("error_message") for row in rows] == [
        None, None, "no_file", "duplicate_row", "truncated_image", None, "caption_dropped", None,
    ]  # fmt: skip
    assert rows[2]["detail"] == f"{folder / 'gone.jpg'}: No such file or directory"
    assert rows[3]["detail"] == "the same file and caption as train-00000000"


def test_a_picture_of_several_captions_is_stored_once(folder, images):
    rows = imported(folder, 0, images)
    assert [row.get("image_key") for row in rows] == ["train-00000000", "train-00000000", None, None, None]
    assert [key for key, _ in tar_images(folder / "0.tar")] == ["train-00000000"]
    assert rows[1]["width"] == 31


def test_a_row_that_stood_in_an_earlier_shard_is_dropped_too(folder, images):
    row, *_ = imported(folder, 1, images, rows_per_shard=3)
    assert (row["key"], row["error_message"]) == ("train-00000003", "duplicate_row")


def test_the_caption_rules_name_the_empty_and_the_malformed(folder, images):
    rules = caption_rules(
        CaptionSettings(min_words=1, max_words=9, min_latin_share=0, boilerplate=(), max_repeats=9), repeats={}
    )
    cleaned = [clean_row(row, rules) for row in imported(folder, 1, images)]
    assert [(row["reason"], row["detail"]) for row in cleaned] == [
        ("too_few_words", "0 words"),
        ("malformed_row", "b.jpg,a dog, a cat"),
        (None, None),
    ]


def test_a_shorter_csv_is_an_error_and_of_a_longer_one_the_first_rows_count(folder, images):
    assert len(imported(folder, 1, images, num_rows=7)) == 2
    with pytest.raises(ValueError, match=r"has 8 rows, but source\.splits\.train\.num_rows is 11; make the lists anew"):
        imported(folder, 2, images, num_rows=11)


def test_the_command_leaves_the_files_of_a_shard(folder, images, capsys):
    out = [folder / f"out/{name}" for name in ("rows.parquet", "0.tar", "0.parquet", "0_stats.json")]
    main(folder / "train.csv", folder, *out, split="train", shard=0, settings=settings(8), images=images)
    assert [row["url"] for row in read_rows(out[0], ROWS)] == [row.file for row in ROWS_OF_ALL_KINDS[:5]]
    assert [row["status"] for row in read_rows(out[2], IMAGES)][:3] == ["success", "success", "failed_to_download"]
    assert out[3].is_file()
    assert capsys.readouterr().out == "2 success, 1 no_file, 1 duplicate_row, 1 truncated_image\n"
