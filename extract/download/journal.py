"""What a download has got so far, so that a killed job fetches only what it lacks.

One file of records, each a line of JSON and the image's bytes behind it. A record that was cut off by a kill is the
last one, and is forgotten; so is one that is not what was written, by the CRC-32 that stands in it. The folder is no
output of a rule: Snakemake deletes the outputs of a job that failed.

A run begins with a line of its limits, under which all answers behind it were judged. Under other limits they are
judged again, from what is stored; what that does not tell is asked for again.
"""

import hashlib
import json
import zlib
from dataclasses import fields as fields_of
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self

from extract.download.fetch import Answer
from extract.hold import Hold
from extract.images.decoding import ImageFile
from extract.reasons import DownloadFailure, DownloadReason, opted_out, too_many_bytes, too_many_pixels
from extract.settings import DownloadSettings
from extract.tables import naming


class Limits(NamedTuple):
    """The settings by which an answer is judged; their names are those of the settings."""

    mirror: str | None
    max_bytes: int
    max_pixels: int
    honour_opt_out: bool
    allow_private_addresses: bool
    honour_robots_txt: bool | None = None  # null: not noted, nobody read them then

    @classmethod
    def of(cls, settings: DownloadSettings) -> Self:
        return cls(**{name: getattr(settings, name) for name in cls._fields})

    def may_change(self, failure: DownloadFailure, before: "Limits | None") -> bool:
        """Whether what was refused under the limits `before` may be taken under these; null: not noted, so it may."""
        if before is None:
            return failure.reason in LIMITED
        is_freer = {
            DownloadReason.TOO_MANY_BYTES: self.max_bytes > before.max_bytes,
            DownloadReason.TOO_MANY_PIXELS: self.max_pixels > before.max_pixels,
            DownloadReason.OPTED_OUT: before.honour_opt_out and not self.honour_opt_out,
            DownloadReason.ROBOTS_DISALLOWED: not self.honour_robots_txt,
            DownloadReason.PRIVATE_ADDRESS: self.allow_private_addresses and not before.allow_private_addresses,
        }
        return self.mirror != before.mirror or is_freer.get(failure.reason, False)

    def ask_again_after(self, before: "Limits | None") -> bool:
        """Whether no stored image tells what an answer under the limits `before` would be under these."""
        if before is None:
            return False
        is_narrower = before.allow_private_addresses and not self.allow_private_addresses
        asks_robots_first = self.honour_robots_txt and before.honour_robots_txt is False
        return bool(is_narrower or asks_robots_first) or self.mirror != before.mirror


LIMITED = {
    DownloadReason.TOO_MANY_BYTES,
    DownloadReason.TOO_MANY_PIXELS,
    DownloadReason.OPTED_OUT,
    DownloadReason.PRIVATE_ADDRESS,
    DownloadReason.ROBOTS_DISALLOWED,
}
OF_IMAGE = [field.name for field in fields_of(ImageFile) if field.name != "data"]


class Journal:
    """Images and failures by url; used in a `with` block.

    A run that came to its end leaves a mark. The next one remembers its images, and asks again for what failed for
    reasons that pass.
    """

    def __init__(self, folder: Path, *, limits: Limits, max_side: int | None = None) -> None:
        """Images that were stored with another `max_side` are not these."""
        self._folder, self._limits = folder, limits
        self._path = folder / f"images-{max_side or 'whole'}"
        self._images: dict[str, tuple[dict, int]] = {}  # by url: the fields, and where the bytes begin
        self._failures: dict[str, DownloadFailure] = {}
        self._under: dict[str, Limits | None] = {}  # by url: the limits that it was judged under; null: not noted
        self._refused: dict[str, DownloadFailure] = {}  # images that are stored, and beyond the limits of this run
        self._file: BinaryIO

    def __enter__(self) -> Self:
        """Raises: ValueError while another process writes to the folder."""
        self._held = Hold(self._folder)
        self._path.touch()
        self._file = self._path.open("r+b")
        end = self._read_records()
        self._file.truncate(end)
        self._file.seek(end)
        self._append({"limits": self._limits._asdict()})
        self._judge_again()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            with naming(self._path):  # of a full disk, what could not be written is tried once more
                self._file.close()
        finally:
            self._held.let_go()

    def __contains__(self, url: str) -> bool:
        return url in self._images or url in self._failures

    def image(self, url: str) -> ImageFile | None:
        """The image of `url`; None if it failed.

        Raises: ValueError if other bytes lie there than arrived.
        """
        if url not in self._images or url in self._refused:
            return None
        fields, start = self._images[url]
        here = self._file.tell()
        self._file.seek(start)
        data = self._file.read(fields["size"])
        self._file.seek(here)
        if not is_as_written(fields, data):
            raise ValueError(
                f"{self._path} does not hold the bytes that arrived from {url}: the disk lost them, or another process "
                "wrote there; start the same command again, which asks for them again"
            )
        return ImageFile(data=data, **{name: fields[name] for name in OF_IMAGE})

    def failure(self, url: str) -> DownloadFailure | None:
        """Why `url` gave no image; None if it did, or was not asked for."""
        return self._refused.get(url) or self._failures.get(url)

    def add_image(self, url: str, image: ImageFile, answer: Answer) -> None:
        """`answer`: what the image was made of."""
        fields = {"url": url, "size": len(image.data)} | {name: getattr(image, name) for name in OF_IMAGE}
        fields |= {"num_bytes": len(answer.data), "opt_out": answer.opt_out}
        fields = self._append(fields, image.data)
        self._images[url] = (fields, self._file.tell() - len(image.data) - 1)  # 1: the newline behind it

    def add_failure(self, url: str, failure: DownloadFailure) -> None:
        self._append({"url": url, "reason": failure.reason, "detail": failure.detail})
        self._failures[url] = failure

    def finish(self) -> None:
        """Mark that every url was asked for."""
        self._append({"finished": True})

    def _append(self, fields: dict, data: bytes = b"") -> dict:
        """Write a record; give its fields as they stand there."""
        fields = {**fields, "crc32": crc32_of(fields, data)}
        self._held.demand()
        with naming(self._path):
            self._file.write(json.dumps(fields).encode() + b"\n" + data + b"\n")
            self._file.flush()
        return fields

    def _read_records(self) -> int:
        """Take in the whole records and say where they end."""
        end, limits = 0, None
        num_bytes = self._path.stat().st_size
        while line := self._file.readline():
            try:
                fields = json.loads(line)
            except ValueError:
                break
            start = self._file.tell()
            size = fields.get("size", 0) if isinstance(fields, dict) else None
            if not isinstance(size, int) or not 0 <= size < num_bytes - start:
                break
            data = self._file.read(size)
            if self._file.read(1) != b"\n":
                break
            end = self._file.tell()
            if not is_as_written(fields, data):
                limits = limits if "url" in fields else None
                self._images.pop(fields.get("url"), None)
                self._failures.pop(fields.get("url"), None)
            elif "limits" in fields:
                limits = Limits(**fields["limits"])
            else:
                self._take_in(fields, start)
                self._under[fields.get("url", "")] = limits
        return end

    def _judge_again(self) -> None:
        """Forget what another limit may have changed, and refuse the stored images that are beyond the limits now."""
        for url, failure in list(self._failures.items()):
            if self._limits.may_change(failure, self._under[url]):
                del self._failures[url]
        for url, (fields, _) in list(self._images.items()):
            if self._limits.ask_again_after(self._under[url]):
                del self._images[url]
            elif (objection := self._objection(fields)) is not None:
                self._refused[url] = objection

    def _objection(self, fields: dict) -> DownloadFailure | None:
        """Why a stored image is refused, in the order in which an answer is looked at."""
        limits = self._limits
        if limits.honour_opt_out and fields.get("opt_out"):
            return opted_out(fields["opt_out"])
        if (num_bytes := fields.get("num_bytes", 0)) > limits.max_bytes:
            return too_many_bytes(f"{num_bytes}, at most {limits.max_bytes}")
        width, height = fields["original_width"], fields["original_height"]
        if width * height > limits.max_pixels:
            return too_many_pixels(width, height, limit=limits.max_pixels)
        return None

    def _take_in(self, fields: dict, start: int) -> None:
        if "finished" in fields:
            self._failures = {url: known for url, known in self._failures.items() if not known.reason.is_passing}
        elif "reason" in fields:
            reason = DownloadReason(fields["reason"])
            self._failures[fields["url"]] = DownloadFailure(reason, fields["detail"])
            self._images.pop(fields["url"], None)  # it came under other limits, and was asked for again
        else:
            self._failures.pop(fields["url"], None)
            self._images[fields["url"]] = (fields, start)


def crc32_of(fields: dict, data: bytes) -> int:
    """Of a record's fields, in their order, and the bytes behind them."""
    return zlib.crc32(data, zlib.crc32(json.dumps(fields).encode()))


def is_as_written(fields: dict, data: bytes) -> bool:
    """Whether a record is what was written. Of one without a CRC-32, as before 2026-11-28, an image that was stored as
    it came can be told by its sha256; one that was made smaller or upright cannot, and is asked for again."""
    if "crc32" not in fields:
        return not data or hashlib.sha256(data).hexdigest() == fields["sha256"]
    written = {name: value for name, value in fields.items() if name != "crc32"}
    return crc32_of(written, data) == fields["crc32"]
