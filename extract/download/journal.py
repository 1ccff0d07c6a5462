"""What a download has got so far, so that a killed job fetches only what it lacks.

One file of records, each a line of JSON and the image's bytes behind it. A record that was cut off by a kill is the
last one, and is forgotten. The folder is no output of a rule: Snakemake deletes the outputs of a job that failed.
"""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import BinaryIO, Self

from extract.images.decoding import ImageFile
from extract.reasons import DownloadFailure, DownloadReason


class Journal:
    """Images and failures by url; used in a `with` block.

    A run that came to its end leaves a mark. The next one remembers its images, and asks again for what failed for
    reasons that pass.
    """

    def __init__(self, folder: Path, *, max_side: int | None = None) -> None:
        """Images that were stored with another `max_side` are not these."""
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"images-{max_side or 'whole'}"
        self._images: dict[str, tuple[dict, int]] = {}  # by url: the fields, and where the bytes begin
        self._failures: dict[str, DownloadFailure] = {}
        self._file: BinaryIO

    def __enter__(self) -> Self:
        self._path.touch()
        self._file = self._path.open("r+b")
        end = self._read_records()
        self._file.truncate(end)
        self._file.seek(end)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __contains__(self, url: str) -> bool:
        return url in self._images or url in self._failures

    def image(self, url: str) -> ImageFile | None:
        """The image of `url`; None if it failed."""
        if url not in self._images:
            return None
        fields, start = self._images[url]
        here = self._file.tell()
        self._file.seek(start)
        data = self._file.read(fields["size"])
        self._file.seek(here)
        return ImageFile(data=data, **{name: value for name, value in fields.items() if name not in ("url", "size")})

    def failure(self, url: str) -> DownloadFailure | None:
        """Why `url` gave no image; None if it did, or was not asked for."""
        return self._failures.get(url)

    def add_image(self, url: str, image: ImageFile) -> None:
        fields = {"url": url, "size": len(image.data)} | asdict(replace(image, data=b""))
        fields.pop("data")
        self._append(fields, image.data)
        self._images[url] = (fields, self._file.tell() - len(image.data) - 1)  # 1: the newline behind it

    def add_failure(self, url: str, failure: DownloadFailure) -> None:
        self._append({"url": url, "reason": failure.reason, "detail": failure.detail})
        self._failures[url] = failure

    def finish(self) -> None:
        """Mark that every url was asked for."""
        self._append({"finished": True})

    def _append(self, fields: dict, data: bytes = b"") -> None:
        self._file.write(json.dumps(fields).encode() + b"\n" + data + b"\n")
        self._file.flush()

    def _read_records(self) -> int:
        """Take in the whole records and say where they end."""
        size = self._path.stat().st_size
        end = 0
        while line := self._file.readline():
            try:
                fields = json.loads(line)
            except ValueError:
                break
            start = self._file.tell()
            next_start = start + fields.get("size", 0) + 1
            if next_start > size:
                break
            self._file.seek(next_start)
            end = next_start
            self._take_in(fields, start)
        return end

    def _take_in(self, fields: dict, start: int) -> None:
        if "finished" in fields:
            self._failures = {url: known for url, known in self._failures.items() if not known.reason.is_passing}
        elif "reason" in fields:
            reason = DownloadReason(fields["reason"])
            self._failures[fields["url"]] = DownloadFailure(reason, fields["detail"])
        else:
            self._failures.pop(fields["url"], None)
            self._images[fields["url"]] = (fields, start)
