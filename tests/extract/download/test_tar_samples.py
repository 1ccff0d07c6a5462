import gzip
import io
import json
import os
import random
import resource
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extract.download.tar_samples import MEMBERS_PER_SAMPLE, Sample, read_headers, read_samples
from extract.reasons import DownloadFailure

PROPERTY = settings(deadline=None, max_examples=60, derandomize=True, database=None)
NAMES = st.text(st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)), min_size=1, max_size=60)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda values: st.lists(values) | st.dictionaries(st.sampled_from(["url", "caption", "b"]), values),
)
GOOD = [(f"{number:05d}{suffix}", f"{number}{suffix}".encode()) for number in range(5) for suffix in (".jpg", ".txt")]


def packed(members: list[tuple[str, bytes]], *, tar_format: int = tarfile.USTAR_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tar_format) as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def read(folder: Path, data: bytes, *, max_samples: int = 31) -> list[Sample]:
    (folder / "a.tar").write_bytes(data)
    return list(read_samples(folder / "a.tar", max_samples=max_samples))


def one(folder: Path, metadata: bytes) -> Sample:
    (sample,) = read(folder, packed([("a.jpg", b"x"), ("a.json", metadata)]))
    return sample


def offset_of(data: bytes, name: str) -> int:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return tar.getmember(name).offset


def with_header(data: bytes, place: int, start: int, field: bytes) -> bytes:
    """A header with other bytes in it, and the checksum that is right for them."""
    changed = bytearray(data)
    changed[place + start : place + start + len(field)] = field
    changed[place + 148 : place + 156] = b" " * 8
    changed[place + 148 : place + 156] = b"%06o\0 " % sum(changed[place : place + 512])
    return bytes(changed)


def test_members_are_read_in_any_order(tmp_path):
    """As `tar --sort=name` does not pack them: all images, then all texts."""
    by_kind = sorted(GOOD, key=lambda member: member[0].rpartition(".")[2])
    for members in (GOOD, by_kind, random.Random(3).sample(GOOD, len(GOOD))):
        samples = sorted(read(tmp_path, packed(members)), key=lambda sample: sample.name)
        assert [(sample.name, sample.caption, sample.read()) for sample in samples] == [
            (f"{number:05d}", f"{number}.txt", f"{number}.jpg".encode()) for number in range(5)
        ]


def test_names_may_have_dots_and_folders(tmp_path):
    names = ["clip 1.0", "clip 1.1", "a/1", "b/1", "b.c/1", "b.d/1"]
    members = [(f"{name}{suffix}", name.encode()) for name in names for suffix in (".JPG", ".txt")]
    assert [(sample.name, sample.caption) for sample in read(tmp_path, packed(members))] == [
        (name, name) for name in names
    ]


def test_a_further_image_or_text_of_a_sample_is_none_of_its_own(tmp_path):
    names = ["a.depth.png", "a.jpg", "a.mask.png", "a.txt", "a.ocr.txt", "a.cls"]
    (sample,) = read(tmp_path, packed([(name, name.encode()) for name in names]))
    assert sample == Sample("a", caption="a.txt", image=b"a.jpg")


def test_samples_of_one_name_are_two(tmp_path):
    """As in a tar that two were joined to."""
    members = [(name, f"{half} {name}".encode()) for half in (1, 2) for name in ("a.jpg", "a.txt")]
    assert [(sample.read(), sample.caption) for sample in read(tmp_path, packed(members))] == [
        (b"1 a.jpg", "1 a.txt"),
        (b"2 a.jpg", "2 a.txt"),
    ]


def test_what_is_no_sample_has_its_reason(tmp_path):
    data = packed([*GOOD[:2], ("README.md", b"x"), ("b.jpg", b"")])
    data = with_header(data, offset_of(data, "b.jpg"), 156, tarfile.SYMTYPE)
    whole, readme, link = read(tmp_path, data)
    assert whole.failure is None
    for sample, name in ((readme, "README"), (link, "b")):
        with pytest.raises(DownloadFailure) as found:
            sample.read()
        assert (found.value.reason, found.value.detail) == ("no_image", name)


def test_a_name_in_latin_1_is_read_as_such(tmp_path):
    (sample,) = read(tmp_path, packed([("caf\udce9.txt", b"x")], tar_format=tarfile.GNU_FORMAT))
    assert sample.failure.detail == "café"


@pytest.mark.parametrize(
    ("metadata", "detail"),
    [
        (b'{"caption": 7}', "caption: int, expected text"),
        (b'{"caption": NaN}', "caption: float, expected text"),
        (b'{"caption": "a dog", "url": ["u"]}', "url: list, expected text"),
        (b'{"caption": "half \\ud83d"}', "caption: 'utf-8' codec can't encode character"),
        (b'{"url": "\\udfff"}', "url: 'utf-8' codec can't encode character"),
        (b"[7]", "json: list, expected an object"),
        (b"[" * 100_000, "json: maximum recursion depth exceeded"),
        (b'{"width": 1' + b"0" * 10_000 + b"}", "json: Exceeds the limit"),
        (b"{broken", "json: Expecting property name"),
    ],
    ids=["number", "nan", "list", "surrogate", "surrogate in url", "no object", "deep", "long number", "broken"],
)
def test_odd_metadata_is_the_failure_of_its_sample(tmp_path, metadata, detail):
    sample = one(tmp_path, metadata)
    assert sample.failure.reason == "malformed_sample"
    assert sample.failure.detail.startswith(detail)


def test_a_sample_with_broken_metadata_keeps_the_caption_beside_it(tmp_path):
    (sample,) = read(tmp_path, packed([("a.jpg", b"x"), ("a.txt", b"a dog"), ("a.json", b"[")]))
    assert (sample.caption, sample.failure.reason) == ("a dog", "malformed_sample")


def test_metadata_with_a_byte_order_mark_is_read(tmp_path):
    assert one(tmp_path, '\ufeff{"url": "u", "caption": "c"}'.encode()) == Sample("a", caption="c", url="u", image=b"x")


@pytest.mark.parametrize("name", ["a.jpg", "a.txt", "a.json"])
def test_a_member_that_unfolds_to_more_than_the_file_holds_is_not_read(tmp_path, name):
    """An old GNU sparse header: 512 bytes of data in a hole of 2 GB."""
    data = packed([("a.jpg", b"x"), ("a.txt", b"x"), ("a.json", b"{}"), ("b.jpg", b"x")])
    place = offset_of(data, name)
    for start, field in ((257, b"ustar  \0"), (156, b"S"), (345, bytes(167)), (386, b"%011o\0" % 0 + b"%011o\0" % 1),
                         (483, b"%011o\0" % (2 << 30))):  # fmt: skip
        data = with_header(data, place, start, field)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sparse, good = read(tmp_path, data)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB
    assert (sparse.failure.reason, sparse.failure.detail.split(",")[0]) == ("too_many_bytes", f"{name}: 2147483648")
    assert good.read() == b"x"


def test_members_without_number_are_an_error(tmp_path):
    data = packed([(f"a.{number}", b"") for number in range(MEMBERS_PER_SAMPLE * 3 + 1)])
    with pytest.raises(ValueError, match=r"a\.tar has more than 96 members; raise source\.rows_per_shard"):
        read(tmp_path, data, max_samples=3)


def extension(kind: bytes, content: bytes) -> bytes:
    """What stands before a header and says more of its file."""
    header = tarfile.TarInfo("more")
    header.type, header.size = kind, len(content)
    return header.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % 512)


DATA = packed(GOOD)
THIRD = offset_of(DATA, "00003.jpg")
LONG_NAME = packed([("x" * 200, b"")], tar_format=tarfile.GNU_FORMAT)[:1024]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (DATA[: THIRD + 700], f"the member at byte {THIRD} is cut off"),
        (DATA[:THIRD], f"it is cut off at byte {THIRD}"),
        (DATA[: THIRD + 100], f"it is cut off at byte {THIRD + 100}"),
        (DATA[:THIRD] + bytes(512) + DATA[THIRD + 512 :], f"more follows its end at byte {THIRD}"),
        (DATA + DATA, "more follows its end at byte 10240"),
        (
            with_header(DATA, THIRD, 124, b"\xff" * 10 + b"\xfc\0"),
            f"the header at byte {THIRD} is damaged",
        ),  # size -1024
        (with_header(DATA, THIRD, 124, b"\x80" + b"\xff" * 11), f"the member at byte {THIRD} is cut off"),  # 3e26
        (LONG_NAME * 2000 + DATA, "a header is damaged, RecursionError"),
        (extension(tarfile.XHDTYPE, b"1" * 60_000) + DATA, "a header of [0-9]+ bytes, expected at most 8192"),
        (extension(tarfile.XGLTYPE, bytes(70_000)) + DATA, "a header of [0-9]+ bytes, expected at most 8192"),
        (DATA[:THIRD] + extension(tarfile.GNUTYPE_LONGNAME, b"x" * 70_000) + DATA[THIRD:], "a header of 70000 bytes"),
        (gzip.compress(DATA), " header"),
        (b"", "empty file"),
    ],
    ids=[
        *("in a member", "between", "in a header", "zeroed header", "two", "back", "far", "nested"),
        *("a number that takes minutes", "long extension", "long name", "gzip", "empty"),
    ],
)
def test_a_tar_that_is_not_whole_is_an_error_before_its_first_sample(tmp_path, data, message):
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(tarfile.ReadError, match=message):
        next(read_samples(tmp_path / "a.tar", max_samples=31))


@pytest.mark.parametrize("tar_format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_a_name_may_be_a_number_as_long_as_names_can_be(tmp_path, tar_format):
    name = "7" * 251
    (sample,) = read(tmp_path, packed([(f"{name}.jpg", b"x"), (f"{name}.txt", b"a dog")], tar_format=tar_format))
    assert (sample.name, sample.caption) == (name, "a dog")


def test_a_tar_without_samples_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"a\.tar holds no sample"):
        read(tmp_path, bytes(10240))


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_what_stands_before_a_member_is_not_read_into_memory_however_much_it_claims(tmp_path, kind):
    header = tarfile.TarInfo("x")
    header.type, header.size = kind, 1 << 32
    with (tmp_path / "a.tar").open("wb") as file:  # which is there, as a hole
        file.write(header.tobuf(tarfile.GNU_FORMAT))
        file.seek(1 << 32, os.SEEK_CUR)
        file.write(DATA)
    with pytest.raises(tarfile.ReadError, match=r"a header of 4294967296 bytes, expected at most 8192"):
        next(read_samples(tmp_path / "a.tar", max_samples=31))


def test_of_attributes_nothing_is_held(tmp_path):
    """Fields that reach into each other take 16 MB for 8 kB in Python 3.11.7; later ones refuse them."""
    header, fields = tarfile.TarInfo("x"), b"2 " * 4095 + b"= "
    header.type, header.size = tarfile.XHDTYPE, len(fields)
    (tmp_path / "a.tar").write_bytes(header.tobuf(tarfile.USTAR_FORMAT) + fields + DATA)
    try:
        headers = read_headers(tmp_path / "a.tar", max_members=99)
    except tarfile.ReadError:
        return
    assert [member.pax_headers for member in headers] == [{}] * 10


@PROPERTY
@given(names=st.lists(NAMES, min_size=1, max_size=9, unique=True), seed=st.integers(0, 99))
def test_no_sample_is_lost_or_mixed_whatever_it_is_called(tmp_path_factory, names, seed):
    members = [(f"f/{name}{suffix}", f"{name}{suffix}".encode()) for name in names for suffix in (".jpg", ".txt")]
    random.Random(seed).shuffle(members)
    samples = read(tmp_path_factory.mktemp("tar"), packed(members, tar_format=tarfile.GNU_FORMAT))
    assert {(sample.name, sample.caption, sample.read().decode()) for sample in samples} == {
        (f"f/{name}", f"{name}.txt", f"{name}.jpg") for name in names
    }


@PROPERTY
@given(metadata=JSON)
def test_any_json_gives_text_that_a_table_can_hold_or_a_failure(tmp_path_factory, metadata):
    sample = one(tmp_path_factory.mktemp("tar"), json.dumps(metadata).encode())
    for text in (sample.caption, sample.url):
        assert text is None or text.encode()
    is_good = isinstance(metadata, dict) and all(
        isinstance(metadata.get(field), str | None) for field in ("url", "caption")
    )
    assert is_good or sample.failure.reason == "malformed_sample"


@PROPERTY
@given(data=st.binary(max_size=300) | st.binary(min_size=1, max_size=9).map(lambda field: b"{" * 9 + field))
def test_any_bytes_as_metadata_are_read_or_a_failure(tmp_path_factory, data):
    sample = one(tmp_path_factory.mktemp("tar"), data)
    assert sample.failure is None or sample.failure.reason == "malformed_sample"


@PROPERTY
@given(
    tar_format=st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    block=st.integers(0, 19),
    place=st.integers(0, 511),
    field=st.binary(min_size=1, max_size=12),
    length=st.integers(0, 10240),
    is_checked=st.booleans(),
)
def test_no_changed_or_cut_tar_has_fewer_samples(tmp_path_factory, tar_format, block, place, field, length, is_checked):
    """What is no error still has all five names, or the changed one."""
    data = packed(GOOD, tar_format=tar_format)
    place = min(place, 512 - len(field))
    changed = with_header(data, 512 * block, place, field) if is_checked else data[: 512 * block + place] + field
    changed += data[len(changed) :]
    try:
        samples = read(tmp_path_factory.mktemp("tar"), changed[: max(length, 9000)])
    except (tarfile.TarError, ValueError):
        return
    assert len(samples) >= 5
