"""Regions drawn on their image."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from extract.regions.store import Regions

MIN_SIDE = 640  # pixels of the drawing: small images are drawn larger, so that names can be read
COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000")


def draw_regions(
    image: Image.Image, regions: Regions, *, classes: Sequence[str], only_confident: bool = True
) -> Image.Image:
    """A copy of `image` with the boxes, their likeliest class and its probability.

    Args:
        classes: names, background first; none: the regions are numbered.
        only_confident: leave out the regions that are below the selection's threshold.
    """
    scale = max(1, round(MIN_SIDE / max(image.size)))
    drawn = image.convert("RGB").resize((image.width * scale, image.height * scale), Image.Resampling.LANCZOS)
    canvas = ImageDraw.Draw(drawn)
    font = ImageFont.load_default(size=max(11, drawn.height // 34))
    count = regions.num_confident if only_confident else len(regions)
    for index in reversed(range(count)):  # the most confident on top
        best = int(np.argmax(regions.class_probs[index][1:])) + 1 if classes else index
        colour = COLOURS[best % len(COLOURS)]
        x1, y1, x2, y2 = (float(corner) * scale for corner in regions.boxes[index])
        canvas.rectangle((x1, y1, x2, y2), outline=colour, width=max(2, drawn.height // 220))
        label = f"{classes[best]} {regions.scores[index]:.2f}" if classes else str(index)
        left, top, right, bottom = canvas.textbbox((0, 0), label, font=font)
        y = max(0.0, y1 - (bottom - top) - 5)
        x = min(x1, max(0.0, drawn.width - (right - left) - 6))
        canvas.rectangle((x, y, x + right - left + 6, y + bottom - top + 5), fill=colour)
        canvas.text((x + 3 - left, y + 2 - top), label, fill="white", font=font)
    return drawn
