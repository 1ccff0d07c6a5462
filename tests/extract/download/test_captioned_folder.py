import os

import numpy as np
import pytest
from PIL import Image

from extract.captions.csv_lists import CsvRow, write_captions
from extract.captions.rules import caption_rules, clean_row
from extract.download.captioned_folder import import_folder, main
from extract.images.checks import tar_images
from extract.settings import CaptionSettings
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


def imported(folder, numbers: range):
    limits = {"max_pixels": 1_000_000, "max_side": None}
    return import_folder(folder / "train.csv", folder, folder / "0.tar", numbers, split="train", **limits)


def test_every_bad_row_has_its_reason(folder):
    rows = imported(folder, range(8))
    assert [row["key"] for row in rows] == [f"train-{number:08d}" for number in range(8)]
    assert [row.get("error_message") for row in rows] == [
        None, None, "no_file", "duplicate_row", "truncated_image", None, "caption_dropped", None,
    ]  # fmt: skip
    assert rows[2]["detail"] == f"{folder / 'gone.jpg'}: No such file or directory"
    assert rows[3]["detail"] == "the same file and caption as train-00000000"


def test_what_is_no_file_of_the_folder_is_a_row_with_its_reason(folder, tmp_path_factory):
    """A path that leaves the folder is not followed; a link in it is, as only who has the folder can put one there."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (folder / "sub/a.png").rename(elsewhere / "a.png")
    (folder / "linked.png").symlink_to(elsewhere / "a.png")
    (folder / "zeros.png").symlink_to("/dev/zero")
    os.mkfifo(folder / "queue.png")
    expected = {
        "linked.png": None,
        str(folder / "b.jpg"): None,
        str(elsewhere / "a.png"): "outside_folder",
        "sub/../b.jpg": "outside_folder",
        "sub": "no_file",
        "nul\0.jpg": "no_file",
        "a caption that stands in the wrong column " * 9: "no_file",
        "queue.png": "no_file",
        "zeros.png": "no_file",
        "/dev/zero": "outside_folder",
    }
    write_captions(folder / "train.csv", [CsvRow(file.strip(), "a thing") for file in expected])
    rows = imported(folder, range(len(expected)))
    assert [row.get("error_message") for row in rows] == list(expected.values())
    assert rows[4]["detail"] == f"{folder / 'sub'}: neither a file nor a link to one"


def test_a_picture_of_several_captions_is_stored_once(folder):
    rows = imported(folder, range(5))
    assert [row.get("image_key") for row in rows] == ["train-00000000", "train-00000000", None, None, None]
    assert [key for key, _ in tar_images(folder / "0.tar")] == ["train-00000000"]
    assert rows[1]["width"] == 31


def test_a_row_that_stood_in_an_earlier_shard_is_dropped_too(folder):
    row, *_ = imported(folder, range(3, 6))
    assert (row["key"], row["error_message"]) == ("train-00000003", "duplicate_row")


def test_the_caption_rules_name_the_empty_and_the_malformed(folder):
    rules = caption_rules(
        CaptionSettings(min_words=1, max_words=9, min_latin_share=0, boilerplate=(), max_repeats=9), repeats={}
    )
    cleaned = [clean_row(row, rules) for row in imported(folder, range(5, 8))]
    assert [(row["reason"], row["detail"]) for row in cleaned] == [
        ("too_few_words", "0 words"),
        ("malformed_row", "b.jpg,a dog, a cat"),
        (None, None),
    ]


def test_a_shorter_csv_is_an_error(folder):
    with pytest.raises(ValueError, match=r"has 8 rows, but source\.splits\.train\.num_rows is 11 or more; make the"):
        imported(folder, range(10, 11))


def test_the_command_leaves_the_files_of_a_shard(folder, capsys):
    out = [folder / f"out/{name}" for name in ("rows.parquet", "0.tar", "0.parquet", "0_stats.json")]
    main(folder / "train.csv", folder, *out, split="train", first_row=0, num_rows=5, max_pixels=1_000_000)
    assert [row["url"] for row in read_rows(out[0], ROWS)] == [row.file for row in ROWS_OF_ALL_KINDS[:5]]
    assert [row["status"] for row in read_rows(out[2], IMAGES)][:3] == ["success", "success", "failed_to_download"]
    assert out[3].is_file()
    assert capsys.readouterr().out == "2 success, 1 no_file, 1 duplicate_row, 1 truncated_image\n"
