"""The images of one split of the drawn world, good and bad: what they show, their addresses and their rows."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from extract.drawn.addresses import make_url, site_path
from extract.drawn.noise import bad_file, bad_response, near_copy, spoil_caption
from extract.drawn.noise_plan import COPIES, NoisePlan
from extract.drawn.picture import draw, jpeg_bytes
from extract.drawn.scene import Scene, scene_and_twin
from extract.drawn.sentences import make_captions
from extract.settings import WorldSettings

RETRY_SHARE = 0.02  # of the good images, those that the server has at the second try only
CONTENT_TYPES = {"image/jpeg": 94, "image/JPEG": 3, "image/jpg": 3}


@dataclass(frozen=True)
class BadRow:
    """A line of the key."""

    key: str
    kind: str
    detail: str


@dataclass
class WorldImage:
    """One image, as the caption list and the site have it."""

    scene: Scene
    url: str
    captions: list[str]
    file_name: str  # relative to the site; of an exact duplicate, the original's
    behaviour: dict  # how the site answers for it
    picture: bytes | None  # what to write to `file_name`; null: nothing
    is_good: bool
    bad_rows: list[BadRow] = field(default_factory=list)

    @property
    def path(self) -> str:
        """What the site is asked for."""
        return site_path(self.url)


def make_images(split: str, settings: WorldSettings, *, num_rows: int, plan: NoisePlan) -> Iterator[WorldImage]:
    """The images of a split in the order of their rows: `captions_per_image` rows each, the last one what is left."""
    per_image = settings.captions_per_image
    for number, first_row in enumerate(range(0, num_rows, per_image)):
        num_captions = min(per_image, num_rows - first_row)
        yield make_image(split, number, settings, plan=plan, num_captions=num_captions)


def make_image(split: str, number: int, settings: WorldSettings, *, plan: NoisePlan, num_captions: int) -> WorldImage:
    """One image of a split, bad where the plan says so."""
    seed = f"{settings.seed}/{split}/{number}"
    rng = random.Random(f"{seed}/image")
    kind = plan.image_kinds.get(number)
    scene, twin = scene_and_twin(*plan.originals.get(number, (split, number)), settings)
    is_host_dead = kind == "dead_url" and rng.random() < 0.3
    captions = make_captions(scene, random.Random(f"{seed}/captions"), count=num_captions, others=[twin])
    image = WorldImage(
        scene=scene,
        url=make_url(seed, classes=[shape.name for shape in scene.shapes], is_host_dead=is_host_dead),
        captions=captions,
        file_name=file_name_of(split, number),
        behaviour={},
        picture=None,
        is_good=kind is None,
    )
    content_type = rng.choices(list(CONTENT_TYPES), list(CONTENT_TYPES.values()))[0]
    keys = [row_key(split, number * settings.captions_per_image + offset) for offset in range(num_captions)]
    detail = _fill(image, kind, rng, original=plan.originals.get(number), settings=settings)
    if not image.behaviour:
        image.behaviour = {"file": image.file_name, "content_type": content_type}
    if kind:
        image.bad_rows = [BadRow(key, kind, detail) for key in keys]
    elif rng.random() < RETRY_SHARE:
        image.behaviour = {"status": 503, "times": 1, "then": image.behaviour}
    for offset, key in enumerate(keys):
        if caption_kind := plan.caption_kinds.get(number * settings.captions_per_image + offset):
            bad = spoil_caption(caption_kind, captions[offset], scene=scene, seed=f"{seed}/{offset}", settings=settings)
            captions[offset] = bad[0]
            image.bad_rows.append(BadRow(key, caption_kind, bad[1]))
    return image


def file_name_of(split: str, number: int) -> str:
    """Where the site has an image."""
    return f"images/{split}/{number:06d}.jpg"


def row_key(split: str, row: int) -> str:
    """The name of a row of the caption list, as every later table has it."""
    return f"{split}-{row:08d}"


def _fill(
    image: WorldImage,
    kind: str | None,
    rng: random.Random,
    *,
    original: tuple[str, int] | None,
    settings: WorldSettings,
) -> str:
    """Give an image its bytes or its bad answer; returns what is bad about it, '' for a good one."""
    if kind is None:
        image.picture = jpeg_bytes(draw(image.scene))
        return ""
    if kind in ("dead_url", "html_as_image"):
        image.behaviour, detail = bad_response(kind, rng)
        return detail
    if original is None:
        image.picture, detail = bad_file(kind, image.scene, rng)
        return detail
    assert kind in COPIES
    first_row = row_key(original[0], original[1] * settings.captions_per_image)
    if kind == "exact_duplicate":
        image.file_name = file_name_of(*original)
        return f"the image of {first_row}"
    image.picture, change = near_copy(jpeg_bytes(draw(image.scene)), rng)
    return f"the image of {first_row}, {change}"
