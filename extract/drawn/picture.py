"""The pixels of a scene: shapes with smooth edges on a background of paper, and the bytes of a JPEG."""

import io
import math
import random

import numpy as np
from PIL import Image, ImageDraw

from extract.drawn.scene import COLOURS, Scene, Shape

OVERSAMPLING = 4
GRAIN = 5.0  # standard deviation of the background's noise, grey values
STRIPES = 4.5  # stripes that cross a shape
JPEG_QUALITY = 92


def draw(scene: Scene, *, scale: int = 1) -> Image.Image:
    """The picture of a scene, RGB, `scale` times its size."""
    picture = _draw_background(scene, scale=scale)
    for shape in scene.shapes:
        x1, y1, mask, paint = _draw_shape(shape, scale=scale)
        picture.paste(paint, (x1, y1), mask)
    return picture


def jpeg_bytes(picture: Image.Image, *, quality: int = JPEG_QUALITY) -> bytes:
    """A picture as it is served."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _draw_background(scene: Scene, *, scale: int) -> Image.Image:
    """Grain and a faint texture on one muted colour, a little lighter in one corner.

    Works on one channel of brightness, [H, W], which is then added to the colour, [H, W, 3].
    """
    size = scene.image_size * scale
    rng = np.random.default_rng(list(scene.seed.encode()))
    unit = scene.image_size * scale / 128
    y, x = (axis / np.float32(unit) for axis in np.ogrid[:size, :size])
    pitch, phase, slope = rng.uniform(9, 14), rng.uniform(0, 2 * math.pi, 2), rng.uniform(-1, 1, 2)
    wave = np.float32(2 * math.pi / pitch)
    if scene.texture == "dotted":
        texture = 24 * ((np.sin(wave * x + phase[0]) + np.sin(wave * y + phase[1])) > 1.25)
    elif scene.texture == "lined":
        texture = 18 * (np.sin(wave * (x + slope[0] * y) + phase[0]) > 0.72)
    elif scene.texture == "wavy":
        texture = 9 * np.sin(wave * (y + 3 * np.sin(x * 0.16 + phase[1])) + phase[0])
    elif scene.texture == "woven":
        texture = 8 * np.sign(np.sin(wave * x + phase[0]) * np.sin(wave * y + phase[1]))
    else:
        texture = np.zeros((1, 1))
    light = (slope[0] * (x / 128 - 0.5) + slope[1] * (y / 128 - 0.5)) * 24
    grain = rng.standard_normal((size, size), dtype=np.float32) * GRAIN
    brightness = (grain + light + texture - texture.mean()).astype(np.float32)
    pixels = brightness[..., None] + np.array(scene.background, np.float32)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _draw_shape(shape: Shape, *, scale: int) -> tuple[int, int, Image.Image, Image.Image]:
    """Left, top, coverage and paint of one shape: what `Image.paste` needs."""
    x1, y1 = (math.floor(shape.box[corner] * scale) for corner in (0, 1))
    x2, y2 = (math.ceil(shape.box[corner] * scale) for corner in (2, 3))
    size = (x2 - x1, y2 - y1)
    fine = (size[0] * OVERSAMPLING, size[1] * OVERSAMPLING)
    outline = [((x * scale - x1) * OVERSAMPLING, (y * scale - y1) * OVERSAMPLING) for x, y in shape.outline]
    mask = Image.new("L", fine)
    ImageDraw.Draw(mask).polygon(outline, fill=255)
    centre = ((shape.x * scale - x1) * OVERSAMPLING, (shape.y * scale - y1) * OVERSAMPLING)
    if shape.fill == "hollow":
        ImageDraw.Draw(mask).polygon([_towards(point, centre, 0.58) for point in outline], fill=0)
    paint = Image.new("RGB", fine, COLOURS[shape.colour])
    if shape.fill in ("striped", "spotted"):
        _draw_pattern(paint, shape, side=shape.side * scale * OVERSAMPLING, centre=centre)
    return x1, y1, mask.reduce(OVERSAMPLING), paint.reduce(OVERSAMPLING)


def _draw_pattern(paint: Image.Image, shape: Shape, *, side: float, centre: tuple[float, float]) -> None:
    """Stripes or spots in a lighter tone of the shape's colour (a darker one of white and yellow)."""
    colour = COLOURS[shape.colour]
    target = 70 if sum(colour) > 480 else 255
    tone = tuple(round(value + (target - value) * 0.5) for value in colour)
    pen = ImageDraw.Draw(paint)
    rng = random.Random(f"{shape.x} {shape.y}")
    turn = rng.choice((0.25, 0.5, 0.75)) * math.pi
    along, across = (math.cos(turn), math.sin(turn)), (-math.sin(turn), math.cos(turn))
    step = side / STRIPES
    for row in range(-4, 5):
        middle = (centre[0] + across[0] * row * step, centre[1] + across[1] * row * step)
        if shape.fill == "striped":
            ends = [(middle[0] + sign * along[0] * side, middle[1] + sign * along[1] * side) for sign in (-1, 1)]
            pen.line([*ends[0], *ends[1]], fill=tone, width=max(1, round(step * 0.42)))
        else:
            radius = step * 0.29
            for column in range(-4, 5):
                offset = (column + (row % 2) / 2) * step
                x, y = middle[0] + along[0] * offset, middle[1] + along[1] * offset
                pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=tone)


def _towards(point: tuple[float, float], centre: tuple[float, float], share: float) -> tuple[float, float]:
    """A point drawn in towards the centre."""
    return centre[0] + (point[0] - centre[0]) * share, centre[1] + (point[1] - centre[1]) * share
