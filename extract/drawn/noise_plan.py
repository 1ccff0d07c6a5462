"""Which images and rows of the drawn world are bad on purpose."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from extract.settings import WorldSettings

FAULTS = ("dead_url", "html_as_image", "truncated_image", "tiny_image", "wide_image", "flat_placeholder")
COPIES = ("exact_duplicate", "near_duplicate")
CAPTION_KINDS = ("boilerplate_caption", "markup_caption", "wrong_caption")
LEAK_SHARE = 0.2  # of the copies in the training split, those of images of another split


@dataclass
class NoisePlan:
    """What is bad in one split. An image that is bad makes all its rows bad; the rest are good but for some rows."""

    image_kinds: dict[int, str] = field(default_factory=dict)  # by number of the image
    originals: dict[int, tuple[str, int]] = field(default_factory=dict)  # split and number of what a copy copies
    caption_kinds: dict[int, str] = field(default_factory=dict)  # by row
    spare: list[int] = field(default_factory=list)  # images that have no part in any of this yet


def plan_noise(settings: WorldSettings, num_rows: Mapping[str, int], *, train_split: str) -> dict[str, NoisePlan]:
    """A plan a split, the same for the same settings and numbers of rows.

    No image is bad in two ways, no row of an image that is bad or copied has a bad caption, and a copy comes after its
    original: in a later row of its split, or in the training split of another's, which keeps its own.

    Raises: ValueError if more is to be bad than there is.
    """
    plans: dict[str, NoisePlan] = {}
    for split in sorted(num_rows, key=lambda name: (name == train_split, name)):
        copied = plans if split == train_split else {}
        plans[split] = _plan_split(split, settings, num_rows=num_rows[split], copied=copied)
    return {split: plans[split] for split in num_rows}


def _plan_split(split: str, settings: WorldSettings, *, num_rows: int, copied: Mapping[str, NoisePlan]) -> NoisePlan:
    """What is bad in a split, some of its copies being of images of `copied`, the plans of other splits."""
    rng = random.Random(f"{settings.seed}/{split}/noise")
    num_captions = settings.captions_per_image
    num_images = -(-num_rows // num_captions)
    shares = settings.noise.model_dump()
    plan = NoisePlan(spare=rng.sample(range(num_images), num_images))
    try:
        for kind in FAULTS:
            for _ in range(round(shares[kind] * num_images)):
                plan.image_kinds[plan.spare.pop()] = kind
        for kind in COPIES:
            for _ in range(round(shares[kind] * num_images)):
                copy, original = _plan_copy(split, plan, rng, copied=copied)
                plan.image_kinds[copy], plan.originals[copy] = kind, original
        good = set(plan.spare)
        rows = [row for row in range(num_rows) if row // num_captions in good]
        rng.shuffle(rows)
        for kind in CAPTION_KINDS:
            for _ in range(round(shares[kind] * num_rows)):
                plan.caption_kinds[rows.pop()] = kind
    except IndexError:
        raise ValueError(
            f"split '{split}' of {num_images} images is too small for its noise, which adds up to "
            f"{sum(shares.values()):.2f}; lower the shares of world.noise or raise source.splits.{split}.num_rows"
        ) from None
    spoilt = {row // num_captions for row in plan.caption_kinds}
    plan.spare = [image for image in plan.spare if image not in spoilt]
    return plan


def _plan_copy(
    split: str, plan: NoisePlan, rng: random.Random, *, copied: Mapping[str, NoisePlan]
) -> tuple[int, tuple[str, int]]:
    """The number of a copy, then split and number of its original; both leave the spare images."""
    leaking = [name for name in copied if copied[name].spare]
    if leaking and rng.random() < LEAK_SHARE:
        source = rng.choice(leaking)
        return plan.spare.pop(), (source, copied[source].spare.pop())
    original, copy = sorted((plan.spare.pop(), plan.spare.pop()))
    return copy, (split, original)
