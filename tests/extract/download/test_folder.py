import io

import pytest
from PIL import Image

from extract.download.folder import main, pack_folder
from extract.images.checks import tar_images
from extract.tables import IMAGES, read_rows


def save(path, *, size=(23, 29), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, 77).save(path)


def test_images_are_keyed_by_their_name_in_the_order_of_its_bytes(tmp_path):
    for name in ("b/b.jpg", "a/c.png", "Z.jpeg"):
        save(tmp_path / "images" / name)
    (tmp_path / "images/notes.txt").write_text("no image")
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


def test_two_images_of_one_name_are_an_error(tmp_path):
    save(tmp_path / "images/a/x.jpg")
    save(tmp_path / "images/b/x.jpg")
    with pytest.raises(ValueError, match=r"a/x.jpg and .*b/x.jpg have one name"):
        pack_folder(tmp_path / "images", tmp_path / "out.tar")


def test_a_folder_without_images_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no image in"):
        pack_folder(tmp_path, tmp_path / "out.tar")
