"""Pictures of a page: no larger than it shows them, with what was pointed at or found marked."""

import io
import tarfile
from collections.abc import Collection, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageOps

from extract.tables import reading
from vilbert.looking import MARK

SIDE = 480  # pixels, the longer side
SIDE_OF_STRIP = 200  # pixels, of each picture in it
GAP = 4  # pixels, between the pictures of a strip
MEANT = "#0072b2"  # blue: what is right
HALO = "#ffffff"  # around a frame, which may be of the colour of what it is drawn on
WIDTH = 3  # pixels, of a frame


def small(image: Image.Image, *, side: int = SIDE) -> Image.Image:
    """A copy whose longer side is at most `side`."""
    shrunk = image.convert("RGB")
    shrunk.thumbnail((side, side))
    return shrunk


def with_boxes(image: Image.Image, *, pointed: Sequence[float], meant: Sequence[float]) -> Image.Image:
    """The picture with the box that is meant in blue, and the one that was pointed at in red.

    Args:
        pointed, meant: x1 y1 x2 y2, pixels of `image`.
    """
    drawn = small(image)
    scale = drawn.width / image.width
    for box, colour, room in ((meant, MEANT, WIDTH), (pointed, MARK, 0)):
        x1, y1, x2, y2 = (round(value * scale) for value in box)
        frame(drawn, (x1 - room, y1 - room, x2 + room, y2 + room), colour)
    return drawn


def strip(images: Sequence[Image.Image], *, marked: Collection[int]) -> Image.Image:
    """Pictures in a row, from left to right; some of them in a blue frame.

    Args:
        marked: places among them.
    """
    side = SIDE_OF_STRIP
    drawn = Image.new("RGB", (len(images) * (side + GAP) - GAP, side), "white")
    for place, image in enumerate(images):
        left = place * (side + GAP)
        drawn.paste(ImageOps.pad(image.convert("RGB"), (side, side), color="white"), (left, 0))
        if place in marked:
            frame(drawn, (left, 0, left + side - 1, side - 1), MEANT)
    return drawn


def frame(image: Image.Image, box: tuple[int, int, int, int], colour: str) -> None:
    """Draw a frame within a box, with a light one inside it; what lies outside of the picture is drawn at its edge."""
    x1, y1, x2, y2 = box
    x1, y1 = max(0, min(x1, image.width - 1)), max(0, min(y1, image.height - 1))
    x2, y2 = max(x1, min(x2, image.width - 1)), max(y1, min(y2, image.height - 1))
    pencil = ImageDraw.Draw(image)
    if min(x2 - x1, y2 - y1) > 2 * (WIDTH + 1):
        inner = WIDTH
        pencil.rectangle((x1 + inner, y1 + inner, x2 - inner, y2 - inner), outline=HALO)
    pencil.rectangle((x1, y1, x2, y2), outline=colour, width=WIDTH)


def save(image: Image.Image, path: Path) -> None:
    """As a JPEG that is small and shows no blocks."""
    image.save(path, quality=90)


def read_images(tars: Sequence[Path], keys: set[str]) -> dict[str, Image.Image]:
    """The images of these keys.

    Raises: ValueError if the tars lack one, or if one is damaged.
    """
    images = {}
    for path in tars:
        with reading(path), tarfile.open(path) as tar:
            for member in tar:
                key = member.name.removesuffix(".jpg")
                if key in keys and (file := tar.extractfile(member)):
                    images[key] = Image.open(io.BytesIO(file.read())).convert("RGB")
    if missing := sorted(keys - images.keys()):
        raise ValueError(f"image '{missing[0]}' is in none of {len(tars)} tars")
    return images
