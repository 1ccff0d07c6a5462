"""What is bad on purpose: captions that say nothing of their image, files that are no picture, copies."""

import io
import random

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance

from extract.drawn.phrases import named_classes
from extract.drawn.picture import draw, jpeg_bytes
from extract.drawn.scene import BACKGROUNDS, COLOURS, Scene, make_scene
from extract.drawn.sentences import make_caption
from extract.settings import WorldSettings

BOILERPLATE = (
    "image not available",
    "image no longer available",
    "image not found on this server",
    "click here to enlarge",
    "click to view the full size image",
    "{caption} - click here for more",
    "stock photo : {caption}",
    "royalty free stock image of shapes",
    "stock illustration - {caption}",
    "stock vectors for your next project",
    "{caption} getty images",
    "photo by a staff photographer",
    "{caption} photo by the author",
    "download now in high resolution",
    "free download : {caption}",
    "buy this print today",
    "{caption} , all rights reserved",
)
MARKUP = (
    "<b>{caption}</b>",
    "<p>{caption}</p>",
    "{caption} <br /> read more",
    '<a href="http://pictures-1.example/next">{caption}</a>',
    '<img src="shapes.jpg" alt="{caption}">',
    "&lt;p&gt;{caption}&lt;/p&gt;",
    "[img]{caption}[/img]",
    "http://pictures-2.example/images/{number}.jpg",
    "https://www.colour-archive.example/?p={number}",
    "{caption} www.square-news.example",
    "img_{number}.jpg shapes and colours",
)
NO_PAGE = (
    "<!doctype html>\n<html><head><title>{title}</title></head>\n"
    "<body><h1>{title}</h1><p>The picture that you look for has moved.</p></body></html>\n"
)
DEAD_STATUS = {404: 12, 410: 3, 403: 5, 405: 2, 400: 1}
OTHER_SCENE_TRIES = 1000


def spoil_caption(kind: str, caption: str, *, scene: Scene, seed: str, settings: WorldSettings) -> tuple[str, str]:
    """A bad caption of one kind in place of `caption`, and what is bad about it.

    Raises: ValueError if every caption of another scene names something of this one, too.
    """
    rng = random.Random(f"{seed}/{kind}")
    if kind == "wrong_caption":
        return _caption_of_another_scene(rng, scene=scene, seed=seed, settings=settings)
    template = rng.choice({"boilerplate_caption": BOILERPLATE, "markup_caption": MARKUP}[kind])
    return template.format(caption=caption, number=rng.randint(1000, 99999)), template


def bad_response(kind: str, rng: random.Random) -> tuple[dict, str]:
    """How the site answers for an image that it does not have, and that in words; kinds dead_url and html_as_image."""
    if kind == "dead_url":
        status = rng.choices(list(DEAD_STATUS), list(DEAD_STATUS.values()))[0]
        return {"status": status}, f"status {status}"
    title = rng.choice(("Page moved", "Log in to see this picture", "Gallery"))
    return {"body": NO_PAGE.format(title=title), "content_type": "image/jpeg"}, f"page '{title}'"


def bad_file(kind: str, scene: Scene, rng: random.Random) -> tuple[bytes, str]:
    """The bytes of a bad file, and what is bad about them; kinds truncated, tiny, wide and flat."""
    if kind == "truncated_image":
        whole = jpeg_bytes(draw(scene))
        kept = int(len(whole) * rng.uniform(0.25, 0.75))
        return whole[:kept], f"{kept} of {len(whole)} bytes"
    if kind == "tiny_image":
        side = rng.choice((1, 8, 16, 24, 32, 48))
        return jpeg_bytes(draw(scene).resize((side, side))), f"{side} x {side} pixels"
    if kind == "wide_image":
        banner = _draw_banner(scene.image_size, rng)
        return jpeg_bytes(banner), f"{banner.width} x {banner.height} pixels"
    flat = _draw_flat(scene.image_size, rng)
    return jpeg_bytes(flat), "one colour"


def near_copy(picture: bytes, rng: random.Random) -> tuple[bytes, str]:
    """A picture as another site shows it: re-encoded, a little larger, lighter or darker."""
    image = Image.open(io.BytesIO(picture))
    change = rng.choice(("encoding", "size", "brightness"))
    if change == "encoding":
        quality = rng.randint(45, 70)
        return jpeg_bytes(image, quality=quality), f"quality {quality}"
    if change == "size":
        side = round(image.width * rng.uniform(1.05, 1.15))
        return jpeg_bytes(image.resize((side, side), Image.Resampling.BICUBIC)), f"{side} x {side} pixels"
    factor = rng.choice((0.9, 0.94, 1.05, 1.08))
    return jpeg_bytes(ImageEnhance.Brightness(image).enhance(factor)), f"brightness {factor}"


def _caption_of_another_scene(
    rng: random.Random, *, scene: Scene, seed: str, settings: WorldSettings
) -> tuple[str, str]:
    """A caption of a scene that is drawn nowhere, none of whose objects is in this one."""
    for number in range(OTHER_SCENE_TRIES):
        other = make_scene(
            f"{seed}/elsewhere/{number}",
            image_size=settings.image_size,
            min_objects=settings.min_objects,
            max_objects=settings.max_objects,
        )
        caption = make_caption(other, rng)
        if not (classes := named_classes(caption)) & scene.classes:
            return caption, " ; ".join(sorted(classes))
    raise ValueError(f"no caption of another scene is false of {scene.seed}; lower world.max_objects")


def _draw_banner(side: int, rng: random.Random) -> Image.Image:
    """An advertisement: bars of colour across a strip."""
    width = round(side * rng.uniform(4, 6))
    banner = Image.new("RGB", (width, side), rng.choice(BACKGROUNDS))
    pen = ImageDraw.Draw(banner)
    for _ in range(rng.randint(3, 7)):
        x, y = rng.uniform(0, width * 0.8), rng.uniform(0, side * 0.8)
        pen.rectangle(
            [x, y, x + rng.uniform(side * 0.3, side * 1.5), y + side * 0.15], rng.choice(list(COLOURS.values()))
        )
    return banner


def _draw_flat(side: int, rng: random.Random) -> Image.Image:
    """What some hosts serve in place of a picture: one grey, with next to no noise."""
    noise = np.random.default_rng(rng.getrandbits(64)).integers(-1, 2, (side, side))
    return Image.fromarray((rng.randint(60, 245) + noise).astype(np.uint8)).convert("RGB")
