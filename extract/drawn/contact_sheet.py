"""A page of scenes, each over one of its captions."""

import textwrap
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from extract.drawn.picture import draw
from extract.drawn.scene import Scene

COLUMNS = 6
SIDE = 256  # pixels of a picture
GAP = 28
FONT_SIZE = 16
LINE_HEIGHT = 21
LINE_LENGTH = 33  # characters
NUM_LINES = 3
PAPER = (250, 249, 246)
INK = (58, 58, 64)
CORNER = 10  # radius, pixels


def make_contact_sheet(scenes: Sequence[tuple[Scene, Sequence[str]]]) -> Image.Image:
    """Scenes, each with the caption that says most in the room there is.

    RGB, COLUMNS scenes a row, drawn larger than they are served, with rounded corners on light paper."""
    rows = -(-len(scenes) // COLUMNS)
    columns = min(COLUMNS, len(scenes))
    cell_height = SIDE + NUM_LINES * LINE_HEIGHT + GAP
    sheet = Image.new("RGB", (GAP + columns * (SIDE + GAP), GAP + rows * cell_height), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT_SIZE)
    corners = Image.new("L", (SIDE * 2, SIDE * 2))
    ImageDraw.Draw(corners).rounded_rectangle([0, 0, SIDE * 2 - 1, SIDE * 2 - 1], CORNER * 2, fill=255)
    mask = corners.reduce(2)
    for number, (scene, captions) in enumerate(scenes):
        row, column = divmod(number, COLUMNS)
        x, y = GAP + column * (SIDE + GAP), GAP + row * cell_height
        caption = max(captions, key=lambda said: (len(_lines(said)) <= NUM_LINES, len(said)))
        scale = max(1, round(SIDE / scene.image_size))
        sheet.paste(draw(scene, scale=scale).resize((SIDE, SIDE), Image.Resampling.LANCZOS), (x, y), mask)
        for line, text in enumerate(_lines(caption)[:NUM_LINES]):
            pen.text((x + 2, y + SIDE + 8 + line * LINE_HEIGHT), text, INK, font)
    return sheet


def _lines(caption: str) -> list[str]:
    """A tokenised caption in lines, with its punctuation where a reader expects it."""
    return textwrap.wrap(caption.replace(" ,", ",").removesuffix(" ."), LINE_LENGTH)
