"""Images that end the process which decodes them."""

import io
import os
import signal
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from extract.images import decoder
from extract.images.decoder import Decoders
from extract.images.decoding import prepare_image
from extract.reasons import DownloadFailure, DownloadReason

LIMITS = {"max_pixels": 1_000_000, "max_side": 40}
HAS_PROC = Path("/proc/self/statm").exists()


def picture(kind: str = "PNG") -> bytes:
    pixels = np.random.default_rng(1).integers(0, 256, (48, 56, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def slow_bmp(side: int) -> bytes:
    """In run-length code, which Pillow reads in Python, pixel by pixel."""
    runs = b"\1\7" * side**2
    header = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(runs), 0, 0, 256, 0)
    start = 14 + len(header) + 4 * 256
    return struct.pack("<2sIHHI", b"BM", start + len(runs), 0, 0, start) + header + bytes(4 * 256) + runs


def failure_of(decoders: Decoders, data: bytes) -> DownloadFailure:
    with pytest.raises(DownloadFailure) as failure:
        decoders.prepare(data)
    return failure.value


def test_a_process_gives_what_would_be_given_here():
    with Decoders(**LIMITS) as decoders:
        for kind in ("PNG", "JPEG", "WEBP"):
            assert decoders.prepare(picture(kind)) == prepare_image(picture(kind), **LIMITS)
        for data in (b"", b"<html>", picture()[:200]):
            with pytest.raises(DownloadFailure) as here:
                prepare_image(data, **LIMITS)
            there = failure_of(decoders, data)
            assert (there.reason, there.detail) == (here.value.reason, here.value.detail)


def test_what_takes_too_long_has_a_reason_and_the_next_image_is_decoded(monkeypatch):
    monkeypatch.setattr(decoder, "CPU_SECONDS", 0.1)
    with Decoders(**LIMITS) as decoders:
        failure = failure_of(decoders, slow_bmp(1000))
        assert (failure.reason, failure.detail) == (DownloadReason.TOO_COSTLY_IMAGE, "more than 0.1 seconds to decode")
        assert decoders.prepare(picture()).width == 40


@pytest.mark.skipif(not HAS_PROC, reason="nothing tells how much memory a process has")
def test_what_takes_too_much_memory_has_a_reason_and_the_next_image_is_decoded(monkeypatch):
    black = io.BytesIO()  # 64 MB when it is there
    Image.new("RGB", (4000, 4000)).save(black, "PNG")
    monkeypatch.setattr(decoder, "MEMORY", 50 << 20)
    monkeypatch.setattr(decoder, "MEMORY_PER_PIXEL", 0)
    with Decoders(max_pixels=16_000_000, max_side=40) as decoders:
        failure = failure_of(decoders, black.getvalue())
        assert (failure.reason, failure.detail) == (DownloadReason.TOO_COSTLY_IMAGE, "more than 50 MB to decode")
        assert decoders.prepare(picture()).width == 40


def test_a_library_that_dies_has_a_reason_and_the_next_image_is_decoded():
    with Decoders(**LIMITS) as decoders:
        decoders.prepare(picture())
        (one,) = decoders._all
        os.kill(one._process.pid, signal.SIGSEGV)
        failure = failure_of(decoders, picture())
        assert (failure.reason, failure.detail) == (
            DownloadReason.UNDECODABLE_IMAGE,
            "the decoder ended with SIGSEGV",
        )
        assert decoders.prepare(picture()).width == 40


def test_a_process_that_cannot_start_is_no_fault_of_an_image(monkeypatch):
    monkeypatch.setattr(decoder.sys, "executable", "/bin/false")
    with Decoders(**LIMITS) as decoders, pytest.raises(OSError, match="ended with 1 before it read an image"):
        decoders.prepare(picture())


def test_no_process_outlives_its_block():
    with Decoders(2, **LIMITS) as decoders:
        decoders.prepare(picture())
        decoders.prepare(picture())
        pids = [one._process.pid for one in decoders._all if one._process is not None]
        assert pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
