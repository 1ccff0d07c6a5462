"""Addresses such as a caption list has them: a few hosts have most, and no two are equal."""

import hashlib
import random

HOSTS = {  # under .example, which nobody can register
    "pictures-1.example": 14,
    "pictures-2.example": 12,
    "media.shapes-daily.example": 9,
    "static.gallery-north.example": 7,
    "www.colour-archive.example": 7,
    "cdn.paperworks.example": 6,
    "images.museum-of-forms.example": 5,
    "blog.triangle-fans.example": 4,
    "uploads.round-things.example": 4,
    "www.square-news.example": 3,
}
DEAD_HOSTS = ("old-shapes.example", "www.closed-gallery.example")
PATHS = (  # with the names of what is shown and a mark that makes the address its own
    "/wp-content/uploads/{year}/{month:02d}/{names}-{mark}.jpg",
    "/images/{mark}.jpg",
    "/originals/{mark_start}/{mark}.jpg",
    "/{year}/{names}_{mark}.jpeg",
    "/photos/{mark}/large.JPG",
    "/picture/{mark}",
    "/render.php?name={names}&id={mark}&w=640",
)
PATH_WEIGHTS = (5, 4, 3, 2, 1, 2, 1)


def make_url(seed: str, *, classes: list[str], is_host_dead: bool = False) -> str:
    """The address of one image; different for different seeds.

    Args:
        classes: what the image shows, for the name of the file.
    """
    rng = random.Random(f"{seed}/address")
    host = rng.choice(DEAD_HOSTS) if is_host_dead else rng.choices(list(HOSTS), list(HOSTS.values()))[0]
    mark = hashlib.sha256(seed.encode()).hexdigest()[:16]
    path = rng.choices(PATHS, PATH_WEIGHTS)[0].format(
        year=rng.randint(2007, 2018),
        month=rng.randint(1, 12),
        names="-".join(classes[:2]).replace(" ", "-"),
        mark=mark,
        mark_start=mark[:2],
    )
    return f"{rng.choice(('http', 'https'))}://{host}{path}"


def site_path(url: str) -> str:
    """What a mirror is asked for: '/<host>/<path and query>'."""
    return "/" + url.split("://", 1)[1]
