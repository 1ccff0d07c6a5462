"""What becomes of the kinds of images that the web holds."""

import io

import numpy as np
import pytest
from PIL import Image

from extract.images.decoding import prepare_image
from extract.reasons import DownloadFailure, DownloadReason

LIMITS = {"max_pixels": 1_000_000, "max_side": None}


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(data: bytes) -> np.ndarray:
    """Of the image as it is stored."""
    with Image.open(io.BytesIO(prepare_image(data, **LIMITS).data)) as image:
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
