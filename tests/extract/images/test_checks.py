import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from extract.images.checks import check_image, main, tar_images
from extract.settings import ImageSettings
from extract.tables import IMAGE_CHECKS, IMAGES, read_rows, write_table

SETTINGS = ImageSettings(min_side=31, max_aspect_ratio=3, min_contrast=4)


def encoded(width: int, height: int, *, kind: str = "JPEG", mode: str = "RGB", noise: int = 60) -> bytes:
    rng = np.random.default_rng(width * height)
    pixels = (128 + rng.integers(-noise, noise + 1, size=(height, width, 3))).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, kind)
    return buffer.getvalue()


def test_a_good_image_is_measured_and_kept():
    data = encoded(67, 43)
    check = check_image(data, sha256=None, settings=SETTINGS)
    assert (check["width"], check["height"]) == (67, 43)
    assert check["sha256"] == hashlib.sha256(data).hexdigest()
    assert check["contrast"] > 4
    assert 0 <= check["perceptual_hash"] < 2**64
    assert check["reason"] is None


@pytest.mark.parametrize(
    ("data", "reason", "detail"),
    [
        (b"", "undecodable", None),
        (b"<html><body>404</body></html>", "undecodable", None),
        (encoded(67, 43)[:900], "undecodable", None),
        (encoded(67, 43, kind="PNG")[:900], "undecodable", None),
        (encoded(67, 29), "too_small", "67x29"),
        (encoded(131, 41), "too_elongated", "131x41"),
        (encoded(41, 131), "too_elongated", "41x131"),
        (encoded(67, 43, noise=1), "flat", None),
    ],
    ids=["empty", "html", "truncated jpeg", "truncated png", "small", "wide", "high", "flat"],
)
def test_each_rule_names_itself_and_the_value(data, reason, detail):
    check = check_image(data, sha256=None, settings=SETTINGS)
    assert check["reason"] == reason
    assert check["detail"] if detail is None else check["detail"] == detail


def test_a_shard_whose_tar_was_damaged_is_named_and_not_shortened(tmp_path):
    path = tmp_path / "0.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for key in ("a", "b"):
            tar.addfile(tarfile.TarInfo(f"{key}.jpg"))
    assert [key for key, _ in tar_images(path)] == ["a", "b"]
    data = path.read_bytes()
    for bad in (data[:512], data[:700], data[:512] + b"x" + data[513:], bytes(512) + data[512:]):
        path.write_bytes(bad)
        with pytest.raises(ValueError, match=r"0\.tar is no whole tar: .*; remove it and start the same command again"):
            list(tar_images(path))


@pytest.mark.parametrize(
    ("kind", "mode"), [("JPEG", "L"), ("JPEG", "CMYK"), ("PNG", "P"), ("PNG", "RGBA"), ("GIF", "P")]
)
def test_every_kind_of_picture_is_read(kind, mode):
    assert check_image(encoded(67, 43, kind=kind, mode=mode), sha256=None, settings=SETTINGS)["reason"] is None


def test_the_hash_of_the_file_as_it_came_is_kept_where_it_was_stored_smaller():
    assert check_image(encoded(67, 43), sha256="abc", settings=SETTINGS)["sha256"] == "abc"


def test_a_picture_with_too_many_pixels_is_not_decoded(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert check_image(encoded(67, 43), sha256=None, settings=SETTINGS)["reason"] == "undecodable"


def write_tar(path: Path, images: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in images.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def test_one_row_an_image_of_the_tar(tmp_path):
    write_tar(
        tmp_path / "a.tar", {"val-00000000.jpg": encoded(67, 43), "val-00000000.txt": b"x", "val-00000003.jpg": b"?"}
    )
    rows = [
        {"key": "val-00000000", "url": "http://a.org/0", "image_key": "val-00000000", "sha256": "s0"},
        {"key": "val-00000001", "url": "http://a.org/0", "image_key": "val-00000000", "sha256": "s0"},
        {"key": "val-00000002", "url": "http://a.org/2", "error_message": "http_404"},
        {"key": "val-00000003", "url": "http://a.org/3", "image_key": "val-00000003"},
    ]
    write_table(tmp_path / "a.parquet", rows, IMAGES)
    main(tmp_path / "a.tar", tmp_path / "a.parquet", tmp_path / "checks.parquet", SETTINGS)
    checks = read_rows(tmp_path / "checks.parquet", IMAGE_CHECKS)
    assert [check["key"] for check in checks] == ["val-00000000", "val-00000003"]
    assert [check["url"] for check in checks] == ["http://a.org/0", "http://a.org/3"]
    assert [check["reason"] for check in checks] == [None, "undecodable"]
    assert checks[0]["sha256"] == "s0"


def test_a_tar_that_lacks_an_image_is_an_error(tmp_path):
    write_tar(tmp_path / "a.tar", {})
    write_table(tmp_path / "a.parquet", [{"key": "val-00000005", "image_key": "val-00000005"}], IMAGES)
    with pytest.raises(ValueError, match=r"lacks 1 images of .* such as val-00000005"):
        main(tmp_path / "a.tar", tmp_path / "a.parquet", tmp_path / "checks.parquet", SETTINGS)
