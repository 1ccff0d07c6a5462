import io
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from extract.download.folder import main, pack_folder
from extract.download.shard_files import MAX_BYTES
from extract.images.checks import tar_images
from extract.tables import IMAGES, read_rows

NAMING = st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",))


def save(path, *, size=(23, 29), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, 77).save(path)


def test_images_are_keyed_by_their_name_in_the_order_of_its_bytes(tmp_path):
    for name in ("b/b.jpg", "a/c.png", "Z.jpeg"):
        save(tmp_path / "images" / name)
    rows = pack_folder(tmp_path / "images", tmp_path / "out.tar")
    assert [row["key"] for row in rows] == ["Z", "b", "c"]
    assert [key for key, _ in tar_images(tmp_path / "out.tar")] == ["Z", "b", "c"]


def test_what_is_no_jpeg_becomes_one_of_the_same_size(tmp_path):
    save(tmp_path / "images/a.png", mode="P")
    pack_folder(tmp_path / "images", tmp_path / "out.tar")
    ((_, data),) = tar_images(tmp_path / "out.tar")
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.size, image.mode) == ("JPEG", (23, 29), "RGB")


def test_a_broken_image_is_a_row_with_its_reason(tmp_path):
    save(tmp_path / "images/good.jpg")
    (tmp_path / "images/bad.jpg").write_bytes(b"\xff\xd8\xff no image")
    main(tmp_path / "images", tmp_path / "out.tar", tmp_path / "out.parquet")
    bad, good = read_rows(tmp_path / "out.parquet", IMAGES)
    assert (bad["key"], bad["image_key"], bad["error_message"]) == ("bad", None, "truncated_image")
    assert (good["key"], good["image_key"], good["status"]) == ("good", "good", "success")


def test_every_file_is_in_the_tar_or_has_its_reason(tmp_path):
    images = tmp_path / "images"
    for name in ("a.jpg", "b.jfif", "c.tif", "d.avif", "e.PNG", "f.jpe", "g.tiff", "album.jpg/h.gif"):
        save(images / name)
    (images / "album.jpg/notes.txt").write_text("no image")
    (images / "phone.heic").write_bytes(b"of another format")
    (images / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (images / "zeros.jpg").symlink_to("/dev/zero")
    os.mkfifo(images / "queue.jpg")
    with (images / "vast.jpg").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    rows = pack_folder(images, tmp_path / "out.tar")
    assert [row["key"] for row in rows if row["status"] == "success"] == list("abcdefgh")
    assert {row["key"]: row["error_message"] for row in rows if row["status"] != "success"} == {
        "gone": "no_file",
        "queue": "no_file",
        "vast": "too_many_bytes",
        "zeros": "no_file",
        "album.jpg/notes.txt": "not_an_image",
        "phone.heic": "not_an_image",
    }
    assert next(row["detail"] for row in rows if row["key"] == "phone.heic").startswith("expected one of .apng, .avif")


def test_images_in_a_linked_folder_are_packed(tmp_path):
    save(tmp_path / "images/train/a.jpg")
    save(tmp_path / "elsewhere/b.jpg")
    (tmp_path / "images/val").symlink_to("../elsewhere")
    assert [row["key"] for row in pack_folder(tmp_path / "images", tmp_path / "out.tar")] == ["a", "b"]


def test_a_key_may_be_as_long_as_a_file_name_in_any_script(tmp_path):
    keys = ["view_of_the_harbour_" * 12, "港口的清晨有两条船" * 9]
    for key in keys:
        save(tmp_path / f"images/{key}.png")
    save(tmp_path / os.fsdecode(b"images/caf\xe9.png"))
    main(tmp_path / "images", tmp_path / "out.tar", tmp_path / "out.parquet")
    assert [row["image_key"] for row in read_rows(tmp_path / "out.parquet", IMAGES)] == ["café", *keys]
    assert [key for key, _ in tar_images(tmp_path / "out.tar")] == ["café", *keys]


@pytest.mark.slow
@settings(deadline=None, max_examples=50, derandomize=True, database=None)
@given(keys=st.lists(st.text(NAMING, min_size=1, max_size=60), min_size=1, max_size=5, unique=True))
def test_whatever_images_are_called_is_their_key(tmp_path_factory, keys):
    folder = tmp_path_factory.mktemp("folder")
    for key in keys:
        save(folder / f"images/{key}.png", size=(3, 2))
    main(folder / "images", folder / "out.tar", folder / "out.parquet")
    expected = sorted(keys, key=str.encode)
    assert [row["key"] for row in read_rows(folder / "out.parquet", IMAGES)] == expected
    assert [key for key, _ in tar_images(folder / "out.tar")] == expected


def test_two_images_of_one_name_are_an_error(tmp_path):
    save(tmp_path / "images/a/x.jpg")
    save(tmp_path / "images/b/x.jpg")
    with pytest.raises(ValueError, match=r"a/x.jpg and .*b/x.jpg have one name"):
        pack_folder(tmp_path / "images", tmp_path / "out.tar")


def test_a_folder_without_images_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no image in"):
        pack_folder(tmp_path, tmp_path / "out.tar")
