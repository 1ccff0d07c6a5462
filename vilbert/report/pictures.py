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
HALO = "#ffffff"  # within a frame, which may be of the colour of what it is drawn on
WIDTH = 3  # pixels, of a frame
LETTERS = 14  # pixels
ROOM = WIDTH + 1  # pixels that it takes with the halo


def small(image: Image.Image, *, side: int = SIDE) -> Image.Image:
    """A copy whose longer side is at most `side`."""
    shrunk = image.convert("RGB")
    shrunk.thumbnail((side, side))
    return shrunk


def with_boxes(image: Image.Image, *, pointed: Sequence[float], meant: Sequence[float]) -> Image.Image:
    """The picture with the box that was pointed at in red, and around it, or elsewhere, the one that is meant in blue.

    Args:
        pointed, meant: x1 y1 x2 y2, pixels of `image`.
    """
    drawn = ImageOps.contain(image.convert("RGB"), (SIDE, SIDE))  # a small one is made larger: frames hide less of it
    scale = drawn.width / image.width
    for box, colour, room in ((meant, MEANT, 2 * ROOM), (pointed, MARK, ROOM)):
        x1, y1, x2, y2 = (round(value * scale) for value in box)
        frame(drawn, (x1 - room, y1 - room, x2 + room, y2 + room), colour)
    return drawn


def with_names(image: Image.Image, named: Sequence[tuple[str, Sequence[float]]]) -> Image.Image:
    """The picture with objects in blue frames, each with its name above.

    Args:
        named: names, and x1 y1 x2 y2, pixels of `image`.
    """
    drawn = ImageOps.contain(image.convert("RGB"), (SIDE, SIDE))
    pencil, scale = ImageDraw.Draw(drawn), drawn.width / image.width
    for name, box in named:
        x1, y1, x2, y2 = (round(value * scale) for value in box)
        frame(drawn, (x1, y1, x2, y2), MEANT)
        *_, width, height = pencil.textbbox((0, 0), name, font_size=LETTERS)
        corner = max(0, min(x1, drawn.width - width)), y1 - height if y1 >= height else y1  # above it, if there is room
        pencil.rectangle(pencil.textbbox(corner, name, font_size=LETTERS), fill=HALO)
        pencil.text(corner, name, fill=MEANT, font_size=LETTERS)
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
    """Draw a frame, and a light one within it; where it would reach out of the picture, at the edge."""
    right, bottom = image.width - 1, image.height - 1
    x1, x2 = (min(max(value, 0), right) for value in (box[0], box[2]))
    y1, y2 = (min(max(value, 0), bottom) for value in (box[1], box[3]))
    pencil = ImageDraw.Draw(image)
    pencil.rectangle((x1, y1, x2, y2), outline=colour, width=WIDTH)
    if min(x2 - x1, y2 - y1) >= 2 * ROOM:
        pencil.rectangle((x1 + WIDTH, y1 + WIDTH, x2 - WIDTH, y2 - WIDTH), outline=HALO)


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
