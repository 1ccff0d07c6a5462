import pytest
from PIL import Image

from extract.download.named_pictures import main, pack_named
from extract.images.checks import tar_images
from extract.tables import IMAGES, read_rows


def save(path, colour=77):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (23, 29), (colour, colour, colour)).save(path)


def test_two_pictures_of_one_name_are_two_and_one_by_two_names_is_one(tmp_path):
    pictures = tmp_path / "my pictures"
    for number, name in enumerate(("a/x.jpg", "b/x.jpg", "x.png", "ü ö/фото.jpeg")):
        save(pictures / name, colour=number)
    names = ["b/x.jpg", "a/x.jpg", "./a/x.jpg", str(pictures / "x.png"), "ü ö/фото.jpeg"]
    rows = pack_named(names, pictures, tmp_path / "out.tar")
    keys = ["a/x.jpg", "b/x.jpg", "x.png", "ü ö/фото.jpeg"]
    assert [key for key, _ in tar_images(tmp_path / "out.tar")] == keys
    assert {row["url"]: row["image_key"] for row in rows} == dict(
        zip(names, ["b/x.jpg", "a/x.jpg", "a/x.jpg", "x.png", "ü ö/фото.jpeg"], strict=True)
    )


def test_pictures_of_every_suffix_and_behind_links_are_found_and_those_of_one_stem_are_several(tmp_path):
    pictures, elsewhere = tmp_path / "pictures", tmp_path / "elsewhere"
    kinds = {"jfif": "JPEG", "tif": "TIFF", "avif": "AVIF", "webp": "WEBP", "bmp": "BMP", "gif": "GIF", "x": "PNG"}
    for number, (suffix, kind) in enumerate(kinds.items()):
        path = pictures / f"same stem.{suffix}"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (23, 29), (number * 30,) * 3).save(path, kind)
    save(elsewhere / "far.jpg")
    (pictures / "link.jpg").symlink_to(elsewhere / "far.jpg")
    (pictures / "folder").symlink_to(elsewhere)
    (pictures / "dangling.jpg").symlink_to("gone.jpg")
    (pictures / "round.jpg").symlink_to("round.jpg")
    good = [*(f"same stem.{suffix}" for suffix in kinds), "link.jpg", "folder/far.jpg"]
    rows = pack_named([*good, "dangling.jpg", "round.jpg"], pictures, tmp_path / "out.tar")
    assert {row["url"]: row["image_key"] for row in rows if row["status"] == "success"} == {name: name for name in good}
    assert {row["url"]: row["error_message"] for row in rows if row["status"] != "success"} == {
        "dangling.jpg": "no_file",
        "round.jpg": "no_file",
    }
    of = {row["url"]: row for row in rows}
    assert of["link.jpg"]["sha256"] == of["folder/far.jpg"]["sha256"]  # one picture by two names: held out together


def test_what_cannot_be_packed_is_a_row_with_its_reason(tmp_path):
    pictures = tmp_path / "pictures"
    save(pictures / "good.tif")
    (pictures / "bad.jpg").write_bytes(b"\xff\xd8\xff no image")
    (tmp_path / "secret.jpg").write_bytes((pictures / "good.tif").read_bytes())
    long = f"{'a/' * 200}x.jpg"
    names = ["good.tif", "bad.jpg", "gone.jpg", "../secret.jpg", str(tmp_path / "secret.jpg"), long, "a\x00.jpg", "."]
    text = "\n".join(["file", *(f'"{name}"' for name in names)])
    (tmp_path / "names.csv").write_text(text)
    main(tmp_path / "names.csv", pictures, tmp_path / "out.tar", tmp_path / "out.parquet")
    found = {row["url"]: row["error_message"] for row in read_rows(tmp_path / "out.parquet", IMAGES)}
    assert found == {
        "good.tif": None,
        "bad.jpg": "truncated_image",
        "gone.jpg": "no_file",
        "../secret.jpg": "outside_folder",
        str(tmp_path / "secret.jpg"): "outside_folder",
        long: "no_file",
        "a\x00.jpg": "no_file",
        ".": "no_file",
    }


def test_a_folder_in_which_nothing_lies_ends_the_command_with_the_first_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none of the 2 pictures that are named is in .*; 'a.jpg': no_file"):
        pack_named(["b.jpg", "a.jpg"], tmp_path, tmp_path / "out.tar")
    assert not (tmp_path / "out.tar").exists()
