"""Which JPEGs go over their picture too often."""

import io

import numpy as np
import pytest
from PIL import Image
from places import REAL

from extract.images.decoding import prepare_image
from extract.images.jpeg_scans import MAX_SCANS, scan_objection, scans
from extract.reasons import DownloadFailure, DownloadReason


def jpeg(mode: str = "RGB", **options) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(1).integers(0, 256, (48, 56, 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def with_last_scan(data: bytes, *, times: int) -> bytes:
    """The last scan of a JPEG sent so many times."""
    start, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    return data[:start] + times * data[start:end] + data[end:]


@pytest.mark.parametrize(("mode", "number"), [("L", 6), ("RGB", 10), ("CMYK", 18)])
def test_what_an_encoder_writes_is_no_scan_too_many(mode, number):
    data = jpeg(mode, progressive=True)
    assert len(list(scans(data))) == number
    assert scan_objection(data) is None
    assert scan_objection(jpeg(mode)) is None


def test_real_pictures_have_no_scan_too_many():
    paths = [path for folder in ("coco/images", "open_images") for path in (REAL / folder).glob("*.jpg")]
    if not paths:
        pytest.skip(f"no real pictures at {REAL}")
    assert not [path for path in paths if scan_objection(path.read_bytes())]


def test_a_scan_that_sends_nothing_new_is_refused_before_anything_is_decoded():
    data = with_last_scan(jpeg(progressive=True), times=2)
    assert scan_objection(data) == "scan 11 sends what was sent before"
    with pytest.raises(DownloadFailure) as failure:
        prepare_image(data, max_pixels=10_000, max_side=None)
    assert failure.value.reason == DownloadReason.TOO_COSTLY_IMAGE


def test_scans_of_a_bit_of_a_coefficient_each_are_too_many_at_last():
    data = jpeg("L", progressive=True)
    start, end = data.index(b"\xff\xda"), data.rindex(b"\xff\xd9")
    many = b"".join(bytes((0xFF, 0xDA, 0, 8, 1, 1, 0, one, one, bits)) for one in range(1, 64) for bits in (0x01, 0x10))
    assert scan_objection(data[:start] + many + data[end:]) == f"more than {MAX_SCANS} scans"


def test_a_thumbnail_and_what_follows_the_picture_are_none_of_its_scans():
    exif = Image.Exif()
    exif[0x010E] = "a"
    data = jpeg(exif=exif.tobytes() + jpeg() * 3) + jpeg() * 3
    assert len(list(scans(data))) == 1
    assert scan_objection(data) is None


def test_every_cut_of_a_jpeg_has_the_scans_that_are_left():
    data = jpeg(progressive=True)
    counts = [len(list(scans(data[:length]))) for length in range(len(data))]
    assert counts == sorted(counts)
    assert counts[-1] == 10
