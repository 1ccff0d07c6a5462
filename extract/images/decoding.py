"""The bytes of an image: looked at before they are decoded, decoded, and made smaller or upright where they must be."""

import hashlib
import io
import json
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from extract.images.jpeg_scans import scan_objection
from extract.reasons import DownloadFailure, DownloadReason, too_costly, too_many_pixels

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "AVIF", "TIFF")
SUFFIXES = frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS)
JPEGS = {"JPEG", "MPO"}
QUALITY = 95  # of JPEGs that are written anew, as in img2dataset
MAX_EXIF_TEXT = 10_000  # characters of its tags that are kept; few pictures have more than 1,000
ORIENTATION = ExifTags.Base.Orientation
TURNS = {  # by EXIF's orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*")
DEEP_MODES = {"I", "I;16", "I;16B", "I;16L", "I;16N"}  # grey with 16 bits a pixel
BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image as it is stored: a JPEG, upright, RGB or grey. Sizes in pixels."""

    data: bytes
    width: int
    height: int
    original_width: int
    original_height: int
    exif: str | None  # JSON; null: none
    sha256: str  # of the bytes as they came


def prepare_image(data: bytes, *, max_pixels: int, max_side: int | None) -> ImageFile:
    """Decode an image and hash it; a JPEG that needs nothing keeps its bytes.

    Args:
        max_pixels: width x height that the header may claim, so that a small file cannot fill the memory.
        max_side: pixels; larger images are made smaller. Null: they stay as they are.
    Raises: DownloadFailure for what is no image, or one that is too large or broken.
    """
    try:
        with _opened(data) as image:
            original_width, original_height = image.size
            if original_width * original_height > max_pixels:
                raise too_many_pixels(original_width, original_height, limit=max_pixels)
            turned = image.getexif().get(ORIENTATION) if image.format == "TIFF" else None  # by Pillow, which forgets it
            if image.format not in JPEGS:
                image.load()  # what is behind the pixels as well: a PNG may have its EXIF there
            elif (objection := scan_objection(data)) is not None:
                raise too_costly(objection)
            exif = _exif(image)
            stored, width, height = _stored(image, data, exif=exif, max_side=max_side)
            if turned in TURNS:
                exif[ORIENTATION] = turned
    except DownloadFailure:
        raise
    except Exception as error:  # a decoder raises whatever a stranger's bytes make it trip over
        raise _decoding_failure(error) from error
    sha256 = hashlib.sha256(data).hexdigest()
    return ImageFile(stored, width, height, original_width, original_height, _exif_text(exif), sha256)


def as_seen(image: Image.Image) -> Image.Image:
    """Upright, RGB or grey, over white where one could see through; of an animation, the first picture."""
    image.load()  # what is behind the pixels as well: a PNG may have its EXIF there
    turn = TURNS.get(_exif(image).get(ORIENTATION, 1))
    return _without_transparency(image if turn is None else image.transpose(turn))


def _opened(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        cut = any(data.startswith(signature) for signature in SIGNATURES)
        reason = DownloadReason.TRUNCATED_IMAGE if cut else DownloadReason.NOT_AN_IMAGE
        raise DownloadFailure(reason, f"{len(data)} bytes, {data[:24]!r}") from error
    except BOMBS as error:
        raise DownloadFailure(DownloadReason.TOO_MANY_PIXELS, str(error)) from error


def _stored(image: Image.Image, data: bytes, *, exif: Image.Exif, max_side: int | None) -> tuple[bytes, int, int]:
    """The bytes to store, and their width and height."""
    is_small = max_side is None or max(image.size) <= max_side
    is_plain = image.format in JPEGS and image.mode in {"RGB", "L"}
    if exif.get(ORIENTATION, 1) not in TURNS and is_small and is_plain:
        image.load()
        return data, *image.size
    if not is_small and image.format in JPEGS:
        _shrink(image, max_side)  # before the pixels are there: a JPEG is decoded no larger than need be
    flat = as_seen(image)
    if not is_small:
        _shrink(flat, max_side)  # the picture as one sees it: between numbers of a palette is no colour
    buffer = io.BytesIO()
    flat.save(buffer, "JPEG", quality=QUALITY, exif=b"")
    return buffer.getvalue(), *flat.size


def _shrink(image: Image.Image, max_side: int | None) -> None:
    assert max_side is not None
    image.thumbnail((max_side, max_side), Image.Resampling.BICUBIC)


def _without_transparency(image: Image.Image) -> Image.Image:
    """RGB or grey, over white where one could see through."""
    if image.mode in DEEP_MODES:  # Pillow would cut what is above 255, which is nearly all
        return Image.fromarray((np.clip(np.asarray(image), 0, 65535) // 257).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("its values are floating-point numbers, and nothing says which of them is white")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image if image.mode == "L" else image.convert("RGB")


def _exif(image: Image.Image) -> Image.Exif:
    """What EXIF says of a picture whose pixels are loaded. XMP, which may say so too, turns none in browsers either."""
    exif = Image.Exif()
    try:
        exif.load(image.info.get("exif", b""))
    except Exception:  # a broken one is none, as in browsers
        return Image.Exif()
    return exif


def _exif_text(exif: Image.Exif) -> str | None:
    """The readable tags by name, as JSON, which way up it is among them; of a huge or broken EXIF, those that fit."""
    texts: dict[str, str] = {}
    left = MAX_EXIF_TEXT
    with suppress(Exception):  # what breaks in the middle ends there
        for tag in sorted(exif, key=lambda tag: (tag != ORIENTATION, tag)):
            if isinstance(value := exif[tag], bytes):
                continue
            text = str(value)
            if (left := left - len(text)) < 0:
                break
            texts[ExifTags.TAGS.get(tag, str(tag))] = text
    return json.dumps(texts, sort_keys=True) if texts else None


def _decoding_failure(error: Exception) -> DownloadFailure:
    is_cut = isinstance(error, OSError) and "truncated" in str(error).lower()
    reason = DownloadReason.TRUNCATED_IMAGE if is_cut else DownloadReason.UNDECODABLE_IMAGE
    return DownloadFailure(reason, f"{type(error).__name__}: {error}")
