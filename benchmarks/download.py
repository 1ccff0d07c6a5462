"""Images that one core fetches, decodes and hashes from a server here.

The server has a core of its own, where there is one, and its seconds are not counted. The download goes through the
command's own code, journal and tar included.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.clock import Clock
from extract.download.shard import download_shard
from extract.settings import DownloadSettings
from extract.tables import CAPTIONS, ROWS, write_table

SIDE = 256  # pixels
NUM_FILES = NUM_HOSTS = 17


@dataclass(frozen=True)
class Web:
    """A caption list and the address of the server that has its images."""

    address: str
    rows: Path
    captions: Path
    num_images: int


@pytest.fixture(scope="module")
def web(tmp_path_factory, quick) -> Iterator[Web]:
    """Served from the last core, while this process is on the first."""
    folder, num_images = tmp_path_factory.mktemp("web"), 7 if quick else 3_000
    rows, captions = folder / "rows.parquet", folder / "captions.parquet"
    write_lists(rows, captions, num_images)
    command = [sys.executable, "-m", "extract.download.site", str(make_site(folder / "site", num_images))]
    cores = os.sched_getaffinity(0)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        os.sched_setaffinity(server.pid, {max(cores)})
        os.sched_setaffinity(0, {min(cores)})
        try:
            yield Web(server.stdout.readline().strip(), rows, captions, num_images)
        finally:
            os.sched_setaffinity(0, cores)
            server.terminate()


def write_lists(rows: Path, captions: Path, num_images: int) -> None:
    keys = [f"train-{index:08d}" for index in range(num_images)]
    urls = [f"http://photos-{index % NUM_HOSTS}.example/{index}" for index in range(num_images)]
    asked = [{"key": key, "url": url, "caption": "a scene"} for key, url in zip(keys, urls, strict=True)]
    write_table(rows, asked, ROWS)
    write_table(captions, [{"key": key, "caption": "a scene"} for key in keys], CAPTIONS)


def make_site(folder: Path, num_images: int) -> Path:
    """A site of so many addresses, over a few photographs' worth of noise and edges."""
    folder.mkdir()
    for index in range(NUM_FILES):
        smooth = np.random.default_rng(index).integers(0, 256, (SIDE // 8, SIDE // 8, 3), np.uint8)
        Image.fromarray(smooth).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(folder / f"{index}.jpg", quality=90)
    behaviours = {
        f"/photos-{index % NUM_HOSTS}.example/{index}": {"file": f"{index % NUM_FILES}.jpg"}
        for index in range(num_images)
    }
    (folder / "behaviours.json").write_text(json.dumps(behaviours))
    return folder


def download(web: Web, folder: Path) -> None:
    settings = DownloadSettings(
        contact=None,
        mirror=web.address,
        connections=64,
        connections_per_host=16,
        gap_per_host=0,
        timeout=10,
        tries=2,
        backoff=0.1,
        max_retry_after=5,
        max_bytes=5_000_000,
        max_pixels=20_000_000,
        max_side=None,
        honour_opt_out=True,
        honour_robots_txt=True,
        allow_private_addresses=False,
        min_success=1,
    )
    download_shard(
        web.rows,
        web.captions,
        folder / "0.tar",
        folder / "0.parquet",
        folder / "0_stats.json",
        journal=folder / "journal",
        settings=settings,
        site=None,
    )


def bench_download(clock: Clock, web, tmp_path_factory):
    folders = iter([tmp_path_factory.mktemp("download") for _ in range(2)])  # a warm-up has one, too
    what = f"download of images of {SIDE} x {SIDE}"
    clock(lambda: download(web, next(folders)), what=what, count=web.num_images, unit="images")
