"""The image rules, over what arrived: python -m extract.images.checks."""

import hashlib
import io
import tarfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image
from tqdm import tqdm

from extract.command import run
from extract.images.perceptual_hash import perceptual_hash
from extract.objection import Objection
from extract.settings import ImageSettings
from extract.tables import IMAGE_CHECKS, IMAGES, read_rows, write_table

MEASURED_SIDE = 128  # pixels: a JPEG is decoded no larger than contrast and hash need


def main(
    tar: Path,
    table: Path,
    output: Path,
    settings: Annotated[ImageSettings, typer.Option(parser=ImageSettings.model_validate_json)],
):
    """Measure each image of a shard's tar and give a reason for each that is dropped."""
    arrived = {row["image_key"]: row for row in reversed(read_rows(table, IMAGES)) if row["image_key"]}
    checks = []
    for key, data in tqdm(tar_images(tar), total=len(arrived), desc="checking images"):
        row = arrived.pop(key, {})
        checks.append(
            {"key": key, "url": row.get("url"), **check_image(data, sha256=row.get("sha256"), settings=settings)}
        )
    if arrived:
        raise ValueError(
            f"{tar} lacks {len(arrived)} images of {table}, such as {min(arrived)}; delete both and re-run"
        )
    write_table(output, checks, IMAGE_CHECKS)


def tar_images(tar: Path) -> Iterator[tuple[str, bytes]]:
    """Key and bytes of each {key}.jpg of a tar, in its order.

    Raises: ValueError for one that is damaged or cut.
    """
    return tar_members(tar, ".jpg")


def tar_members(tar: Path, suffix: str) -> Iterator[tuple[str, bytes]]:
    """The same of each {key}{suffix}."""
    try:
        with tarfile.open(tar) as members:
            for member in members:
                if member.name.endswith(suffix) and (file := members.extractfile(member)):
                    yield member.name.removesuffix(suffix), file.read()
            demand_end(tar, members.offset)
    except tarfile.TarError as error:
        raise ValueError(f"{tar} is no whole tar: {error}; remove it and start the same command again") from error


def demand_end(tar: Path, offset: int) -> None:
    """Raises: tarfile.ReadError unless the members end there, with a block of zeros, and nothing comes behind it.

    `tarfile` takes a header that it cannot read for the end.
    """
    with tar.open("rb") as file:
        file.seek(offset)
        block = file.read(tarfile.BLOCKSIZE)
        if len(block) < tarfile.BLOCKSIZE:
            raise tarfile.ReadError(f"it is cut off at byte {offset + len(block)}")
        if any(block):
            raise tarfile.ReadError(f"the header at byte {offset} is damaged")
        while chunk := file.read(1 << 20):
            if chunk.strip(b"\0"):
                raise tarfile.ReadError(f"more follows its end at byte {offset}")


def check_image(data: bytes, *, sha256: str | None, settings: ImageSettings) -> dict:
    """The columns of tables.IMAGE_CHECKS that the bytes of an image tell.

    Args:
        sha256: of the file as it came, where it was stored smaller; null: of `data`.
    """
    checks: dict = {"sha256": sha256 or hashlib.sha256(data).hexdigest()}
    try:
        size, grey = decode_grey(data)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        return checks | {"reason": "undecodable", "detail": decoding_detail(error)}
    contrast = float(np.asarray(grey).std())
    reason, detail = objection(size, contrast, settings) or (None, None)
    return checks | {
        "width": size[0],
        "height": size[1],
        "contrast": contrast,
        "perceptual_hash": perceptual_hash(grey),
        "reason": reason,
        "detail": detail,
    }


def decoding_detail(error: Exception) -> str:
    """What Pillow says, without the address of an object in memory, which differs from run to run."""
    return f"{type(error).__name__}: {error}".partition(" <_io")[0]


def decode_grey(data: bytes) -> tuple[tuple[int, int], Image.Image]:
    """(width, height) of an image, and its grey values, of a large JPEG at an eighth, a quarter or half the size.

    Raises: OSError, ValueError, SyntaxError (all Pillow's) if the bytes are no whole image; DecompressionBombWarning if
        it is too large to be one.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd metadata is no fault of the picture
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(io.BytesIO(data)) as image:
            size = image.size
            image.draft("L", (MEASURED_SIDE, MEASURED_SIDE))
            return size, image.convert("L")


def objection(size: tuple[int, int], contrast: float, settings: ImageSettings) -> Objection | None:
    """What the first rule says that objects to an image of this size and contrast."""
    shorter, longer = sorted(size)
    if shorter < settings.min_side:
        return Objection("too_small", f"{size[0]}x{size[1]}")
    if longer > settings.max_aspect_ratio * shorter:
        return Objection("too_elongated", f"{size[0]}x{size[1]}")
    if contrast < settings.min_contrast:
        return Objection("flat", f"contrast {contrast:.1f}")
    return None


if __name__ == "__main__":
    run(main)
