"""The downloader against a real server on 127.0.0.1 that fails in every way."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from extract.download.shard import download_shard
from extract.download.site import write_behaviours
from extract.settings import DownloadSettings
from extract.tables import CAPTIONS, IMAGES, ROWS, read_rows, write_table

HOST = "photos.example"


def jpeg(seed: int, size: tuple[int, int] = (41, 37)) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


class Shard:
    """A shard in a folder, its site, and what a download leaves."""

    def __init__(self, folder: Path, behaviours: dict[str, dict], settings: dict, **changes) -> None:
        self.folder, self.site = folder, folder / "site"
        self.settings = DownloadSettings.model_validate({**settings, "mirror": "site", **changes})
        self.site.mkdir(parents=True)
        (self.site / "good.jpg").write_bytes(jpeg(0))
        write_behaviours(self.site, {f"/{HOST}/{name}": behaviour for name, behaviour in behaviours.items()})
        self.list_urls([f"http://{HOST}/{name}" for name in behaviours])

    def list_urls(self, urls: list[str | None], dropped: frozenset[int] = frozenset()) -> None:
        keys = [f"train-{index:08d}" for index in range(len(urls))]
        rows = [{"key": key, "url": url, "caption": f"caption {key}"} for key, url in zip(keys, urls, strict=True)]
        write_table(self.folder / "rows.parquet", rows, ROWS)
        reasons = [{"key": key, "reason": "markup" if index in dropped else None} for index, key in enumerate(keys)]
        write_table(self.folder / "captions.parquet", reasons, CAPTIONS)

    @property
    def paths(self) -> tuple[Path, ...]:
        names = ("rows.parquet", "captions.parquet", "0.tar", "0.parquet", "0_stats.json")
        return tuple(self.folder / name for name in names)

    def download(self) -> list[dict]:
        """Rows of the images table."""
        download_shard(*self.paths, journal=self.folder / "journal", settings=self.settings, site=self.site)
        return read_rows(self.paths[3], IMAGES)

    def reasons(self) -> dict[str, str]:
        """Reason by the last part of the url; 'success' where the image arrived."""
        rows = self.download()
        return {row["url"].rpartition("/")[2]: row["error_message"] or row["status"] for row in rows}


def test_every_failure_has_its_reason(tmp_path, download_settings):
    redirect = f"http://{HOST}/good"
    behaviours = {
        "good": {"file": "good.jpg"},
        "missing": {"status": 404},
        "gone": {"status": 410},
        "forbidden": {"status": 403},
        "teapot": {"status": 418},
        "broken": {"status": 500},
        "late": {"status": 500, "times": 1, "then": {"file": "good.jpg"}},
        "busy": {"status": 429, "headers": {"Retry-After": "1"}, "times": 1, "then": {"file": "good.jpg"}},
        "shut": {"status": 429, "headers": {"Retry-After": "3600"}},
        "hangs": {"hang": 5, "file": "good.jpg"},
        "drips": {"drip": 0.05, "file": "good.jpg"},
        "cut": {"cut": True},
        "short": {"file": "good.jpg", "truncate": 300},
        "moved": {"redirect": redirect},
        "round": {"redirect": f"http://{HOST}/round"},
        "inside": {"redirect": "http://127.0.0.1:1/secret.jpg"},
        "lies": {"body": "<html>sold out</html>", "content_type": "image/jpeg"},
        "huge": {"huge": 1 << 30},
        "shy": {"file": "good.jpg", "headers": {"X-Robots-Tag": "otherbot: none, noai"}},
    }
    shard = Shard(tmp_path, behaviours, download_settings)
    assert shard.reasons() == {
        "good": "success",
        "missing": "http_404",
        "gone": "http_410",
        "forbidden": "http_403",
        "teapot": "http_4xx",
        "broken": "http_500",
        "late": "success",
        "busy": "success",
        "shut": "rate_limited",
        "hangs": "timed_out",
        "drips": "timed_out",
        "cut": "connection_reset",
        "short": "incomplete_body",
        "moved": "success",
        "round": "too_many_redirects",
        "inside": "private_address",
        "lies": "not_an_image",
        "huge": "too_many_bytes",
        "shy": "opted_out",
    }


def test_only_what_may_pass_is_tried_again(tmp_path, download_settings):
    behaviours = {"missing": {"status": 404, "times": 1, "then": {"file": "good.jpg"}}}
    assert Shard(tmp_path, behaviours, download_settings).reasons() == {"missing": "http_404"}


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://photos.example/a.jpg", "unsupported_scheme"),
        ("http://127.0.0.1/a.jpg", "private_address"),
        ("http://[::1]/a.jpg", "private_address"),
        ("http://localhost/a.jpg", "private_address"),
        ("no url at all", "invalid_url"),
        ("http:///a.jpg", "invalid_url"),
    ],
)
def test_what_is_no_public_address_is_not_asked_for(tmp_path, download_settings, url, reason):
    shard = Shard(tmp_path, {}, download_settings)
    shard.list_urls([url])
    assert [row["error_message"] for row in shard.download()] == [reason]


def test_rows_of_one_url_share_one_image_and_dropped_captions_fetch_none(tmp_path, download_settings):
    shard = Shard(tmp_path, {"good": {"file": "good.jpg"}, "other": {"file": "good.jpg"}}, download_settings)
    good, other = f"http://{HOST}/good", f"http://{HOST}/other"
    shard.list_urls([good, good, other, None], dropped=frozenset({0, 2, 3}))
    rows = shard.download()
    assert [row["image_key"] for row in rows] == ["train-00000000", "train-00000000", None, None]
    assert [row["status"] for row in rows] == ["success", "success", "skipped", "skipped"]
    with tarfile.open(shard.paths[2]) as tar:
        assert tar.getnames() == [f"train-00000000.{suffix}" for suffix in ("jpg", "txt", "json")]
        assert tar.extractfile("train-00000000.jpg").read() == jpeg(0)
    assert rows[0]["sha256"] == hashlib.sha256(jpeg(0)).hexdigest()
    assert json.loads(shard.paths[4].read_text())["status_dict"] == {"caption_dropped": 2, "success": 2}


def test_large_images_are_stored_smaller(tmp_path, download_settings):
    shard = Shard(tmp_path, {"large": {"file": "large.jpg"}}, download_settings, max_side=50)
    (shard.site / "large.jpg").write_bytes(jpeg(3, size=(200, 100)))
    row = shard.download()[0]
    assert (row["width"], row["height"], row["original_width"], row["original_height"]) == (50, 25, 200, 100)


def test_too_many_pixels_are_not_decoded(tmp_path, download_settings):
    shard = Shard(tmp_path, {"bomb": {"file": "good.jpg"}}, download_settings, max_pixels=41 * 37 - 1)
    assert shard.reasons() == {"bomb": "too_many_pixels"}


def test_next_to_nothing_arriving_is_an_error_that_counts_the_reasons(tmp_path, download_settings):
    behaviours = {"good": {"file": "good.jpg"}, "a": {"status": 404}, "b": {"status": 404}}
    shard = Shard(tmp_path, behaviours, download_settings, min_success=0.5)
    with pytest.raises(ValueError, match=r"1 of 3 images arrived, expected at least 50% \(2 http_404\)"):
        shard.download()


def test_real_hosts_are_not_asked_without_a_contact(tmp_path, download_settings):
    shard = Shard(tmp_path, {}, download_settings, mirror=None)
    with pytest.raises(ValueError, match=r"download\.contact is null"):
        shard.download()


def test_what_failed_in_passing_is_asked_again_by_another_run_and_the_rest_is_not(tmp_path, download_settings):
    behaviours = {"good": {"file": "good.jpg"}, "ill": {"status": 503}, "missing": {"status": 404}}
    shard = Shard(tmp_path, behaviours, download_settings)
    assert shard.reasons() == {"good": "success", "ill": "http_503", "missing": "http_404"}
    healed = {f"/{HOST}/ill": {"file": "good.jpg"}, f"/{HOST}/missing": {"file": "good.jpg"}}
    write_behaviours(shard.site, healed)  # 'good' would be a 404 now
    assert shard.reasons() == {"good": "success", "ill": "success", "missing": "http_404"}


def under(shard: Shard, **limits) -> dict[str, str]:
    """The reasons of the same download under other limits."""
    shard.settings = shard.settings.model_copy(update=limits)
    return shard.reasons()


OPTED_OUT = {"file": "good.jpg", "headers": {"X-Robots-Tag": "noai"}}


@pytest.mark.parametrize(
    ("limits", "freer", "behaviour", "reason"),
    [
        ({"max_pixels": 41 * 37 - 1}, {"max_pixels": 41 * 37}, {"file": "good.jpg"}, "too_many_pixels"),
        ({"max_bytes": 99}, {"max_bytes": 100_000}, {"file": "good.jpg"}, "too_many_bytes"),
        ({}, {"honour_opt_out": False}, OPTED_OUT, "opted_out"),
    ],
    ids=["max_pixels", "max_bytes", "honour_opt_out"],
)
def test_a_refusal_is_judged_again_under_a_freer_limit_and_back(
    tmp_path, download_settings, limits, freer, behaviour, reason
):
    """Back, from what is stored: the server knows nothing of it any more."""
    shard = Shard(tmp_path, {"a": behaviour}, download_settings, **limits)
    before = shard.settings
    assert shard.reasons() == {"a": reason}
    assert under(shard, **freer) == {"a": "success"}
    write_behaviours(shard.site, {})
    shard.settings = before
    assert shard.reasons() == {"a": reason}
    assert under(shard, **freer) == {"a": "success"}


def test_a_stricter_limit_asks_for_no_refusal_again(tmp_path, download_settings):
    shard = Shard(tmp_path, {"a": {"file": "good.jpg"}}, download_settings, max_pixels=99)
    assert shard.reasons() == {"a": "too_many_pixels"}
    write_behaviours(shard.site, {})
    assert under(shard, max_pixels=50) == {"a": "too_many_pixels"}


def test_private_addresses_are_asked_when_they_are_allowed_and_given_up_when_they_are_not(tmp_path, download_settings):
    shard = Shard(tmp_path, {}, download_settings)
    write_behaviours(shard.site, {"/127.0.0.1/a": {"file": "good.jpg"}})
    shard.list_urls(["http://127.0.0.1/a"])
    assert shard.reasons() == {"a": "private_address"}
    assert under(shard, allow_private_addresses=True) == {"a": "success"}
    assert under(shard, allow_private_addresses=False) == {"a": "private_address"}


def test_a_journal_that_notes_no_limits_has_its_refusals_asked_again(tmp_path, download_settings):
    """Journals of before 2026-11-28 are such."""
    behaviours = {"good": {"file": "good.jpg"}, "missing": {"status": 404}}
    shard = Shard(tmp_path, behaviours, download_settings)
    (tmp_path / "journal").mkdir()
    refused = {"url": f"http://{HOST}/good", "reason": "too_many_pixels", "detail": ""}
    missing = {"url": f"http://{HOST}/missing", "reason": "http_404", "detail": ""}
    lines = "".join(f"{json.dumps(line)}\n\n" for line in (refused, missing))
    (tmp_path / "journal/images-whole").write_text(lines)
    write_behaviours(shard.site, {f"/{HOST}/{name}": {"file": "good.jpg"} for name in behaviours})
    assert shard.reasons() == {"good": "success", "missing": "http_404"}


def wait_for(path: Path, *, num_bytes: int) -> None:
    """Until a file has so many."""
    deadline = time.monotonic() + 30
    while (not path.exists() or path.stat().st_size < num_bytes) and time.monotonic() < deadline:
        time.sleep(0.01)


def test_a_killed_download_goes_on_and_leaves_the_same_bytes(tmp_path, download_settings):
    behaviours = {f"{index}": {"file": f"{index}.jpg"} for index in range(199)}
    whole, killed = (Shard(tmp_path / name, behaviours, download_settings) for name in ("whole", "killed"))
    for shard in (whole, killed):
        for index in range(199):
            (shard.site / f"{index}.jpg").write_bytes(jpeg(index))
    whole.download()

    slow = {f"/{HOST}/{index}": {"file": f"{index}.jpg", "hang": 0.02} for index in range(199)}
    write_behaviours(killed.site, slow)
    settings = killed.settings.model_copy(update={"connections_per_host": 1}).model_dump_json()
    options = ["--journal", killed.folder / "journal", "--settings", settings, "--site", killed.site]
    command = [sys.executable, "-m", "extract.download.shard", *killed.paths, *options]
    process = subprocess.Popen([str(part) for part in command], stderr=subprocess.DEVNULL)
    journal = killed.folder / "journal" / "images-whole"
    wait_for(journal, num_bytes=50_000)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not killed.paths[2].exists()
    with journal.open("r+b") as file:  # as if the kill had come in the middle of a record
        file.truncate(journal.stat().st_size - 101)

    killed.download()
    for index in (2, 3):
        assert killed.paths[index].read_bytes() == whole.paths[index].read_bytes()


def test_a_host_is_asked_no_more_often_than_the_gap_allows(tmp_path, download_settings):
    behaviours = {f"{index}": {"file": "good.jpg"} for index in range(7)}
    shard = Shard(tmp_path, behaviours, download_settings, gap_per_host=0.05)
    start = time.monotonic()
    assert set(shard.reasons().values()) == {"success"}
    assert time.monotonic() - start >= 6 * 0.05


def test_a_full_disk_is_one_error_and_what_had_arrived_is_kept(tmp_path, download_settings, largest_file):
    behaviours = {f"{index}": {"file": "good.jpg"} for index in range(23)}
    shard = Shard(tmp_path, behaviours, download_settings)
    with largest_file(4 * len(jpeg(0))), pytest.raises(OSError, match=r"File too large: '.*images-whole'"):
        shard.download()
    assert not shard.paths[2].exists()
    write_behaviours(shard.site, {f"/{HOST}/{name}": {"file": "good.jpg"} for name in list(behaviours)[-21:]})
    arrived = [row["status"] for row in shard.download()].count("success")
    assert arrived > 21  # of the first two, which are gone by now


def test_two_downloads_at_once_leave_what_the_server_sent_and_the_second_is_refused(tmp_path, download_settings):
    """As after a kill of Snakemake, which a job outlives, then `--unlock` and the same command."""
    names = [f"{index}.jpg" for index in range(60)]
    behaviours = {name: {"file": name, "hang": 0.03} for name in names}
    shard = Shard(tmp_path, behaviours, download_settings, connections_per_host=1)
    for index, name in enumerate(names):
        (shard.site / name).write_bytes(jpeg(index))
    options = ["--journal", tmp_path / "journal", "--settings", shard.settings.model_dump_json(), "--site", shard.site]
    command = [sys.executable, "-m", "extract.download.shard", *shard.paths, *options]
    with subprocess.Popen([str(part) for part in command], stderr=subprocess.DEVNULL) as first:
        wait_for(tmp_path / "journal/images-whole", num_bytes=5_000)
        with pytest.raises(ValueError, match=rf"another process is writing to .*journal; .*process {first.pid} on "):
            shard.download()
    assert first.returncode == 0
    with tarfile.open(shard.paths[2]) as tar:
        stored = [tar.extractfile(member).read() for member in tar if member.name.endswith(".jpg")]
    assert stored == [jpeg(index) for index in range(60)]
