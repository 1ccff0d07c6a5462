"""The real Conceptual Captions rows on a server on 127.0.0.1 that answers as their hosts did: none of them is asked."""

import random
import shutil
from collections.abc import Iterable, Mapping
from itertools import cycle
from pathlib import Path

from places import REAL

from extract.download.site import write_behaviours
from extract.download.web_address import mirrored, parse_address

CAPTION_LIST = REAL / "conceptual_captions/validation_first_8000.tsv"
# What 3.318 M urls answered in 2019, by the reason that we give; the rest were images.
FAILURES = {
    "http_404": 64_048,
    "timed_out": 53_168,
    "http_403": 42_082,
    "http_405": 24_939,
    "http_503": 2_807,
    "http_400": 2_519,
    "http_500": 1_644,
    "rate_limited": 399,
    "not_an_image": 126_369,
}
NUM_URLS = 3_318_333
ANSWERS = {
    "timed_out": {"hang": 60, "body": "too late"},
    "rate_limited": {"status": 429, "headers": {"Retry-After": "3600"}},
    "not_an_image": {"body": "<!doctype html><title>for sale</title>", "content_type": "text/html"},
}


def coco_photos() -> list[Path]:
    return sorted((REAL / "coco/images").glob("*.jpg"))


def open_images_photos() -> list[Path]:
    return sorted((REAL / "open_images").glob("*.jpg"))


def plan_answers(urls: Iterable[str]) -> dict[str, str]:
    """What each url will answer, in the shares of 2019: 'success' or the reason for a failure."""
    generator = random.Random(0)
    names = [*FAILURES, "success"]
    weights = [*FAILURES.values(), NUM_URLS - sum(FAILURES.values())]
    return {url: generator.choices(names, weights)[0] for url in urls}


def photos_in_turn(urls: Iterable[str], photos: list[Path]) -> dict[str, Path]:
    """A photo for each url."""
    return dict(zip(urls, cycle(photos), strict=False))


def write_site(folder: Path, told: Mapping[str, str], *, photo_of: Mapping[str, Path]) -> None:
    """Make `folder` a site that answers for each url what it is told, and for a success with its photo."""
    folder.mkdir(parents=True)
    for photo in set(photo_of.values()):
        shutil.copy(photo, folder)
    behaviours = {}
    for url, answer in told.items():
        path = mirrored(parse_address(url, allow_private=False), "http://mirror").raw_path_qs
        is_status = answer.startswith("http_")
        failure = {"status": int(answer[5:])} if is_status else ANSWERS.get(answer)
        behaviours[path] = failure or {"file": photo_of[url].name}
    write_behaviours(folder, behaviours)
