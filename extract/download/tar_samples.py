"""The samples of a webdataset tar: what its members that share a name hold.

A sample is name.jpg (or another image), name.txt and, from img2dataset, name.json with the url, wherever in the tar
they stand. All headers are read before the first sample is, so that nothing of a damaged tar is taken.
"""

import json
import tarfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from extract.download.shard_files import MAX_BYTES
from extract.images.checks import demand_end
from extract.images.decoding import SUFFIXES
from extract.plain_files import in_text
from extract.reasons import DownloadFailure, DownloadReason, too_many_bytes

IMAGE, CAPTION, METADATA = "image", ".txt", ".json"  # the kinds of a sample's members
MAX_TEXT_BYTES = 1 << 20  # of a caption or metadata
MAX_HEADER_BYTES = 1 << 13  # of names and attributes before a member; Python 3.11.7 takes a second for the worst
BEFORE_A_MEMBER = {
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
}
MEMBERS_PER_SAMPLE = 32  # on average, at most; their headers are held

Members = dict[str, tarfile.TarInfo]  # of a sample, by kind


@dataclass
class Sample:
    """What a sample holds, and why its image cannot be had."""

    name: str
    caption: str | None = None
    url: str | None = None
    image: bytes = b""
    failure: DownloadFailure | None = None

    def read(self) -> bytes:
        """Raises: DownloadFailure without an image, or where a member is not what it should be."""
        if self.failure is not None:
            raise self.failure
        return self.image


def read_samples(source: Path, *, max_samples: int) -> Iterator[Sample]:
    """The samples of a tar, in the order of their first members.

    Raises: ValueError if it holds none, or too many; tarfile.TarError if it is damaged, cut or compressed.
    """
    max_members = MEMBERS_PER_SAMPLE * max_samples
    members = read_headers(source, max_members=max_members)
    samples = whole_samples(by_name(members))
    if not samples:
        raise ValueError(f"{source} holds no sample, expected members such as 000.jpg and 000.txt")
    if len(samples) > max_samples or len(members) > max_members:
        too_many = f"{max_samples} samples" if len(samples) > max_samples else f"{max_members} members"
        raise ValueError(f"{source} has more than {too_many}; raise source.rows_per_shard, and num_rows with it")
    with tarfile.open(source, "r:", tarinfo=Header) as tar:
        for name, of_sample in samples:
            yield read_sample(tar, in_text(name), of_sample)


class Header(tarfile.TarInfo):
    """One for which `tarfile` reads no more than names and attributes take."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Raises: tarfile.TarError for one that claims more."""
        header = super().frombuf(buf, encoding, errors)
        if header.type in BEFORE_A_MEMBER and header.size > MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {header.size} bytes, expected at most {MAX_HEADER_BYTES}")
        return header


def read_headers(source: Path, *, max_members: int) -> list[tarfile.TarInfo]:
    """All headers in their order, or one more than `max_members`.

    Raises: tarfile.TarError for a damaged one, or if the last is not followed by the end of the tar alone.
    """
    headers: list[tarfile.TarInfo] = []
    num_bytes = source.stat().st_size
    with damage_named(), tarfile.open(source, "r:", tarinfo=Header) as tar:
        while (member := tar.next()) is not None and len(headers) <= max_members:
            if tar.offset <= member.offset:  # the next one would stand before it, and so on without end
                raise tarfile.ReadError(f"the header at byte {member.offset} is damaged")
            if tar.offset > num_bytes:
                raise tarfile.ReadError(f"the member at byte {member.offset} is cut off")
            member.pax_headers = {}  # of which a few bytes can make many
            headers.append(member)
        if member is None:
            demand_end(source, tar.offset)
    return headers


def by_name(members: list[tarfile.TarInfo]) -> dict[tuple[str, int], Members]:
    """Members that share the part of their names before the last dot; 0, or 1 for the second of a name and kind, .."""
    found: dict[tuple[str, int], Members] = {}
    num_seen: Counter[tuple[str, str]] = Counter()
    for member in members:
        if member.isdir():
            continue
        stem, suffix = split_name(member.name)
        kind = IMAGE if suffix in SUFFIXES else suffix
        of_sample = found.setdefault((stem, num_seen[stem, kind]), {})
        if member.isfile() and kind in (IMAGE, CAPTION, METADATA):
            of_sample[kind] = member
            num_seen[stem, kind] += 1
    return found


@contextmanager
def damage_named() -> Iterator[None]:
    """Whatever a stranger's bytes make `tarfile` trip over as a ReadError."""
    try:
        yield
    except (tarfile.TarError, OSError):
        raise
    except Exception as error:
        raise tarfile.ReadError(f"a header is damaged, {type(error).__name__}: {error}") from error


def split_name(name: str) -> tuple[str, str]:
    """A member's name without its suffix, and that in lower case: 'a/b 1.5.JPG' -> 'a/b 1.5', '.jpg'."""
    folder, slash, base = name.rpartition("/")
    stem, dot, suffix = base.rpartition(".")
    return (f"{folder}{slash}{stem}", f".{suffix.lower()}") if dot else (name, "")


def whole_samples(found: dict[tuple[str, int], Members]) -> list[tuple[str, Members]]:
    """Without those that are a further image or text of another, as webdataset names them: 000.mask.png of 000.jpg."""
    samples = []
    for (name, _), members in found.items():
        folder, slash, base = name.rpartition("/")
        first = f"{folder}{slash}{base.partition('.')[0]}"
        is_whole = IMAGE in members and len(members) > 1
        if first == name or is_whole or (first, 0) not in found:
            samples.append((name, members))
    return samples


def read_sample(tar: tarfile.TarFile, name: str, members: Members) -> Sample:
    """The sample of these members; the first that is not what it should be is its failure."""
    sample = Sample(name)
    try:
        if CAPTION in members:
            sample.caption = content(tar, members[CAPTION], limit=MAX_TEXT_BYTES).decode(errors="replace")
        if METADATA in members:
            metadata = read_metadata(content(tar, members[METADATA], limit=MAX_TEXT_BYTES))
            sample.url = text_in(metadata, "url")
            if sample.caption is None:
                sample.caption = text_in(metadata, "caption")
        if IMAGE not in members:
            raise DownloadFailure(DownloadReason.NO_IMAGE, name)
        sample.image = content(tar, members[IMAGE], limit=MAX_BYTES)
    except DownloadFailure as failure:
        sample.failure = failure
    return sample


def content(tar: tarfile.TarFile, member: tarfile.TarInfo, *, limit: int) -> bytes:
    """Raises: DownloadFailure for more bytes than `limit`; the holes of a sparse member count."""
    if member.size > limit:
        raise too_many_bytes(f"{in_text(member.name)}: {member.size}, at most {limit}")
    file = tar.extractfile(member)
    assert file is not None  # it is a file, and no link
    with damage_named():
        return file.read()


def read_metadata(data: bytes) -> dict:
    """Raises: DownloadFailure for what is no JSON object."""
    try:
        found = json.loads(data.decode("utf-8-sig", errors="replace"))
    except (ValueError, RecursionError) as error:
        raise malformed(f"json: {error}") from error
    if not isinstance(found, dict):
        raise malformed(f"json: {type(found).__name__}, expected an object")
    return found


def text_in(metadata: dict, field: str) -> str | None:
    """Raises: DownloadFailure for what is no text, or text that UTF-8 cannot hold."""
    value = metadata.get(field)
    if value is None:
        return None
    if not isinstance(value, str):
        raise malformed(f"{field}: {type(value).__name__}, expected text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise malformed(f"{field}: {error}") from error
    return value


def malformed(detail: str) -> DownloadFailure:
    return DownloadFailure(DownloadReason.MALFORMED_SAMPLE, detail)
