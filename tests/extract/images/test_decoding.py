"""What becomes of the kinds of images that the web holds."""

import io
import json
import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from extract.images.decoding import MAX_EXIF_TEXT, prepare_image
from extract.reasons import DownloadFailure, DownloadReason

LIMITS = {"max_pixels": 1_000_000, "max_side": None}


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(data: bytes, **limits) -> np.ndarray:
    """Of the image as it is stored."""
    with Image.open(io.BytesIO(prepare_image(data, **(LIMITS | limits)).data)) as image:
        assert image.format == "JPEG"
        return np.asarray(image.convert("RGB")).astype(int)


def test_16_bits_a_pixel_become_8_and_not_white():
    ramp = np.linspace(0, 65535, 97 * 61).reshape(61, 97).astype(np.uint16)
    stored = pixels(encoded(Image.fromarray(ramp), "PNG"))
    np.testing.assert_allclose(stored[..., 0], ramp / 257, atol=6)


def test_cmyk_and_palettes_keep_their_colours():
    colour = Image.new("RGB", (31, 17), (200, 40, 90))
    for data in (encoded(colour.convert("CMYK"), "JPEG", quality=95), encoded(colour.quantize(7), "PNG")):
        np.testing.assert_allclose(pixels(data).mean(axis=(0, 1)), [200, 40, 90], atol=6)


def test_what_one_can_see_through_stands_on_white():
    image = Image.new("RGBA", (31, 17), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (0, 0, 15, 17))
    stored = pixels(encoded(image, "PNG"))
    np.testing.assert_allclose(stored[:, :12].mean(axis=(0, 1)), [0, 0, 255], atol=8)
    np.testing.assert_allclose(stored[:, 19:].mean(axis=(0, 1)), [255, 255, 255], atol=8)


def test_a_turned_image_is_stored_upright():
    image = Image.new("RGB", (31, 17), "white")
    image.paste("black", (0, 0, 31, 5))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it a quarter to the right to see it
    stored = prepare_image(encoded(image, "JPEG", exif=exif, quality=95), **LIMITS)
    assert (stored.width, stored.height) == (17, 31)
    upright = pixels(encoded(image, "JPEG", exif=exif, quality=95))
    assert upright[:, -3:].mean() < 30
    assert upright[:, :8].mean() > 225


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "jpeg"])
def test_a_turned_tiff_is_stored_upright_and_turned_once(compression):
    image = Image.new("RGB", (31, 17), "white")
    image.paste("black", (0, 0, 31, 5))
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = pixels(encoded(image, "TIFF", exif=exif, compression=compression))
    assert upright.shape[:2] == (31, 17)
    assert upright[:, -3:].mean() < 30
    assert upright[:, :8].mean() > 225


def test_numbers_of_which_none_is_white_are_no_picture():
    with pytest.raises(DownloadFailure, match=r"undecodable_image.*floating-point"):
        prepare_image(encoded(Image.fromarray(np.ones((17, 31), np.float32)), "TIFF"), **LIMITS)


def turned_by(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def with_late_exif(png: bytes, exif: Image.Exif) -> bytes:
    """EXIF behind the pixels, where PNG allows it."""
    chunk = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    end = png.rindex(b"IEND") - 4
    return b"".join(
        [png[:end], struct.pack(">I", len(chunk) - 4), chunk, struct.pack(">I", zlib.crc32(chunk)), png[end:]]
    )


def striped(width: int, height: int) -> Image.Image:
    """Stripes of one pixel, black and white, dark to the left: shrunk, they are grey and not what one stripe is."""
    values = np.zeros((height, width), np.uint8)
    values[::2] = 255
    values[:, : width // 4] = 20
    return Image.fromarray(values)


KINDS = {
    "palette": (striped(200, 96).quantize(4), "PNG", {}),
    "palette, one colour seen through": (striped(200, 96).quantize(4), "PNG", {"transparency": 0}),
    "1 bit": (striped(200, 96).convert("1", dither=Image.Dither.NONE), "PNG", {}),
    "16 bits": (Image.fromarray(np.asarray(striped(200, 96)).astype(np.uint16) * 257), "PNG", {}),
    "grey": (striped(200, 96), "PNG", {}),
    "gif": (striped(200, 96), "GIF", {}),
    "see-through": (striped(200, 96).convert("LA"), "PNG", {}),
    "exif": (striped(200, 96), "PNG", {"exif": turned_by(6)}),
    "webp": (striped(200, 96).convert("RGB"), "WEBP", {"lossless": True, "exif": turned_by(6)}),
    "jpeg": (striped(200, 96), "JPEG", {"quality": 95, "exif": turned_by(6)}),
    "cmyk": (striped(200, 96).convert("CMYK"), "JPEG", {"quality": 95}),
}


@pytest.mark.parametrize("kind", [*KINDS, "late exif"])
def test_a_picture_is_the_same_whether_it_is_stored_smaller_or_not(kind):
    image, file_format, options = KINDS.get(kind, KINDS["grey"])
    data = encoded(image, file_format, **options)
    if kind == "late exif":
        data = with_late_exif(data, turned_by(6))
    whole, small = pixels(data), pixels(data, max_side=50)
    height, width = whole.shape[0] // 4, whole.shape[1] // 4
    assert small.shape == (height, width, 3)
    assert max(small.shape) == 50
    shrunk = Image.fromarray(whole.astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    np.testing.assert_allclose(small, np.asarray(shrunk).astype(int), atol=24)  # a JPEG is shrunk while it is decoded
    assert abs(small.mean() - whole.mean()) < 4


def test_a_png_is_turned_by_exif_behind_its_pixels():
    data = with_late_exif(encoded(striped(200, 96), "PNG"), turned_by(6))
    stored = prepare_image(data, **LIMITS)
    assert (stored.width, stored.height) == (96, 200)
    assert pixels(data)[:50].mean() < 40  # what was to the left is above
    assert stored.exif == '{"Orientation": "6"}'


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_turns_as_exif_says(orientation):
    """The tags' values name the corner in which the stored first pixel belongs."""
    image = Image.new("L", (64, 48))
    image.paste(255, (0, 0, 16, 16))
    corner = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0)}
    seen = pixels(encoded(image, "PNG", exif=turned_by(orientation)))
    assert seen.shape[:2] == ((48, 64) if orientation < 5 else (64, 48))
    assert seen[corner[orientation]][0] > 250
    assert (seen[..., 0] > 250).sum() == pytest.approx(256, abs=40)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_is_none_turns_nothing(orientation):
    data = encoded(striped(200, 96), "JPEG", exif=turned_by(orientation))
    assert prepare_image(data, **LIMITS).data == data


def test_xmp_turns_no_picture_as_in_browsers():
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>')
    stored = prepare_image(encoded(striped(200, 96), "PNG", pnginfo=info), **LIMITS)
    assert (stored.width, stored.height) == (200, 96)


def test_of_a_huge_exif_little_is_kept_and_the_picture_stands_upright():
    """A WebP may have 4 MB of EXIF, and 120 of these filled 3.2 GB once they were text."""
    exif = turned_by(6)
    exif[0x010E] = "a harbour"
    exif[0x9999] = tuple(range(30_000))
    stored = prepare_image(encoded(striped(200, 96).convert("RGB"), "WEBP", exif=exif), **LIMITS)
    assert (stored.width, stored.height) == (96, 200)
    assert json.loads(stored.exif) == {"ImageDescription": "a harbour", "Orientation": "6"}
    assert len(stored.exif) < MAX_EXIF_TEXT


@pytest.mark.filterwarnings("ignore:Tag data larger than file", "ignore:Corrupt EXIF", "ignore:Truncated File Read")
def test_a_broken_exif_costs_no_picture():
    data = encoded(striped(200, 96), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01\x0e\0\x02" * 9)
    stored = prepare_image(data, **LIMITS)
    assert stored.data == data


def test_an_animation_is_its_first_picture():
    frames = [Image.new("RGB", (31, 17), colour) for colour in ("red", "blue", "green")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(pixels(data).mean(axis=(0, 1)), [255, 0, 0], atol=8)


@pytest.mark.parametrize("size", [(1, 1), (20_000, 10), (10, 20_000)])
def test_the_smallest_and_the_thinnest_are_images_too(size):
    stored = prepare_image(encoded(Image.new("RGB", size), "PNG"), **LIMITS)
    assert (stored.width, stored.height) == size


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (encoded(Image.effect_noise((97, 61), 50), "JPEG")[:700], DownloadReason.TRUNCATED_IMAGE),
        (b"<html>no picture</html>", DownloadReason.NOT_AN_IMAGE),
        (encoded(Image.new("L", (1001, 1000)), "PNG"), DownloadReason.TOO_MANY_PIXELS),
    ],
)
def test_what_is_none_has_a_reason(data, reason):
    with pytest.raises(DownloadFailure) as failure:
        prepare_image(data, **LIMITS)
    assert failure.value.reason == reason


SMALL = {
    name: encoded(striped(23, 17).convert("RGB"), kind, **options)
    for name, kind, options in [
        ("jpeg", "JPEG", {"exif": turned_by(6)}),
        ("progressive", "JPEG", {"progressive": True}),
        ("png", "PNG", {"exif": turned_by(3)}),
        ("gif", "GIF", {"comment": b"a harbour"}),
        ("webp", "WEBP", {"exif": turned_by(8)}),
        ("lossless", "WEBP", {"lossless": True}),
        ("bmp", "BMP", {}),
    ]
}


@pytest.mark.filterwarnings("ignore")  # Pillow's, of odd metadata
@settings(deadline=None, max_examples=150, derandomize=True, database=None)
@given(data=st.data(), kind=st.sampled_from(sorted(SMALL)), max_side=st.sampled_from([None, 11]))
def test_damaged_bytes_are_a_picture_or_have_a_reason(data, kind, max_side):
    damaged = bytearray(SMALL[kind])
    for _ in range(data.draw(st.integers(0, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    whole_or_cut = bytes(damaged[: data.draw(st.integers(0, len(damaged)) | st.just(len(damaged)))])
    with suppress(DownloadFailure):
        stored = prepare_image(whole_or_cut, max_pixels=10_000, max_side=max_side)
        assert stored.width * stored.height <= 10_000
        with Image.open(io.BytesIO(stored.data)) as image:
            assert image.size == (stored.width, stored.height)
