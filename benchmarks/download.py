"""Images a second that one core fetches, decodes and hashes from a server here: python benchmarks/download.py.

The server has a core of its own. The download goes through the command's own code, journal and tar included.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from extract.download.shard import download_shard
from extract.settings import DownloadSettings
from extract.tables import CAPTIONS, ROWS, write_table

NUM_IMAGES = 3_000
SIDE = 256  # pixels
PORT = 18763


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        site = make_site(folder / "site")
        keys = [f"train-{index:08d}" for index in range(NUM_IMAGES)]
        urls = [f"http://photos-{index % 17}.example/{index}" for index in range(NUM_IMAGES)]
        write_table(
            folder / "rows.parquet",
            [{"key": key, "url": url, "caption": "a scene"} for key, url in zip(keys, urls, strict=True)],
            ROWS,
        )
        write_table(folder / "captions.parquet", [{"key": key, "caption": "a scene"} for key in keys], CAPTIONS)
        cores = sorted(os.sched_getaffinity(0))
        command = [sys.executable, "-m", "extract.download.site", str(site), "--port", str(PORT)]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            os.sched_setaffinity(server.pid, {cores[-1]})
            os.sched_setaffinity(0, {cores[0]})
            time.sleep(3)
            start = time.perf_counter()
            download_shard(
                folder / "rows.parquet",
                folder / "captions.parquet",
                folder / "0.tar",
                folder / "0.parquet",
                folder / "0_stats.json",
                journal=folder / "journal",
                settings=settings(f"http://127.0.0.1:{PORT}"),
                site=None,
            )
            seconds = time.perf_counter() - start
        finally:
            server.terminate()
            server.wait()
        successes = json.loads((folder / "0_stats.json").read_text())["successes"]
        print(
            f"{successes} images of {SIDE} x {SIDE} in {seconds:.1f} s on one core: {successes / seconds:.0f} images/s"
        )


def make_site(folder: Path) -> Path:
    """A site of `NUM_IMAGES` addresses, over a few photographs' worth of noise and edges."""
    folder.mkdir()
    for index in range(17):
        smooth = np.random.default_rng(index).integers(0, 256, (SIDE // 8, SIDE // 8, 3), np.uint8)
        Image.fromarray(smooth).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(folder / f"{index}.jpg", quality=90)
    behaviours = {f"/photos-{index % 17}.example/{index}": {"file": f"{index % 17}.jpg"} for index in range(NUM_IMAGES)}
    (folder / "behaviours.json").write_text(json.dumps(behaviours))
    return folder


def settings(mirror: str) -> DownloadSettings:
    return DownloadSettings(
        contact=None,
        mirror=mirror,
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
        allow_private_addresses=False,
        min_success=1,
    )


if __name__ == "__main__":
    main()
