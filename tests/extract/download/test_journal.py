import errno
import fcntl
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extract.download.fetch import Answer
from extract.download.journal import Journal, Limits
from extract.hold import Hold
from extract.images.decoding import ImageFile
from extract.reasons import DownloadFailure, DownloadReason

LIMITS = Limits(
    mirror=None, max_bytes=99, max_pixels=99, honour_opt_out=True, allow_private_addresses=False, honour_robots_txt=True
)
IMAGES = {f"http://photos.example/{number}": bytes([number]) * (11 + number) for number in range(3)}
DEAD = "http://photos.example/dead"


def image_of(data: bytes) -> ImageFile:
    return ImageFile(data, 7, 5, 7, 5, exif=None, sha256="of what came, which was larger")


def write_journal(folder: Path) -> Path:
    """A journal of IMAGES and a failure; gives its file."""
    with Journal(folder, limits=LIMITS) as journal:
        for url, data in IMAGES.items():
            journal.add_image(url, image_of(data), Answer(data, ""))
        journal.add_failure(DEAD, DownloadFailure(DownloadReason.HTTP_404, "404 Not Found"))
        journal.finish()
    return folder / "images-whole"


def known(folder: Path, **changes) -> dict[str, bytes]:
    """The images that a journal gives, by url."""
    with Journal(folder, limits=LIMITS._replace(**changes)) as journal:
        images = {url: journal.image(url) for url in IMAGES}
    return {url: image.data for url, image in images.items() if image is not None}


def test_an_image_whose_bytes_changed_is_forgotten_and_the_others_are_not(tmp_path):
    path = write_journal(tmp_path)
    urls = list(IMAGES)
    path.write_bytes(path.read_bytes().replace(IMAGES[urls[1]], b"?" * len(IMAGES[urls[1]])))
    assert known(tmp_path) == {url: IMAGES[url] for url in (urls[0], urls[2])}


def test_bytes_that_change_while_it_is_open_are_never_given(tmp_path):
    path = write_journal(tmp_path)
    url = list(IMAGES)[1]
    with Journal(tmp_path, limits=LIMITS) as journal:
        path.write_bytes(path.read_bytes().replace(IMAGES[url], b"?" * len(IMAGES[url])))
        with pytest.raises(ValueError, match=rf"images-whole does not hold the bytes that arrived from {url}"):
            journal.image(url)


def test_of_a_record_without_a_digest_only_what_is_stored_as_it_came_is_believed(tmp_path):
    """Journals of before 2026-11-28 have such."""
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # of "abc", FIPS 180-2
    fields = {"size": 3, "width": 7, "height": 5, "original_width": 7, "original_height": 5, "exif": None}
    records = [
        ({"url": url} | fields | {"sha256": digest}, data)
        for url, data in zip(list(IMAGES)[:2], (b"abc", b"abd"), strict=True)
    ]
    (tmp_path / "images-whole").write_bytes(
        b"".join(json.dumps(it).encode() + b"\n" + data + b"\n" for it, data in records)
    )
    assert known(tmp_path) == {next(iter(IMAGES)): b"abc"}


def test_robots_txt_that_was_not_read_is_read_before_what_is_stored_is_taken(tmp_path):
    with Journal(tmp_path, limits=LIMITS._replace(honour_robots_txt=False)) as journal:
        for url, data in IMAGES.items():
            journal.add_image(url, image_of(data), Answer(data, ""))
    assert known(tmp_path, honour_robots_txt=False) == IMAGES
    assert known(tmp_path, honour_robots_txt=True) == {}


def test_a_refusal_by_robots_txt_is_asked_again_where_it_is_not_honoured(tmp_path):
    with Journal(tmp_path, limits=LIMITS) as journal:
        journal.add_failure(DEAD, DownloadFailure(DownloadReason.ROBOTS_DISALLOWED, DEAD))
        journal.finish()
    for honours in (True, False):
        with Journal(tmp_path, limits=LIMITS._replace(honour_robots_txt=honours)) as journal:
            assert (DEAD in journal) is honours


def test_a_journal_before_robots_txt_keeps_its_images(tmp_path):
    """It does not say whether anybody read them."""
    path = write_journal(tmp_path)
    records = path.read_bytes().split(b"\n", 1)
    limits = {name: value for name, value in LIMITS._asdict().items() if name != "honour_robots_txt"}
    path.write_bytes(json.dumps({"limits": limits}).encode() + b"\n" + records[1])
    assert known(tmp_path) == IMAGES


def test_where_a_disk_has_no_locks_the_later_process_ends_the_earlier(tmp_path, monkeypatch):
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with Journal(tmp_path, limits=LIMITS) as earlier, Journal(tmp_path, limits=LIMITS) as later:
        with pytest.raises(ValueError, match=r"another process has taken .*\(process \d+ on .*\); let that one go on"):
            earlier.add_failure(DEAD, DownloadFailure(DownloadReason.HTTP_404, ""))
        later.add_failure(DEAD, DownloadFailure(DownloadReason.HTTP_410, ""))
        assert later.failure(DEAD).reason == "http_410"


def test_a_folder_that_was_removed_is_written_to_no_more(tmp_path):
    hold = Hold(tmp_path / "journal")
    (tmp_path / "journal/.held").unlink()
    with pytest.raises(ValueError, match="its folder was removed"):
        hold.demand()
    hold.let_go()


@settings(deadline=None, derandomize=True, database=None, max_examples=100)
@given(st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=40), st.integers(0, 40)), min_size=1, max_size=3))
def test_however_a_journal_is_damaged_it_gives_what_arrived_or_nothing(tmp_path_factory, damages):
    """Bytes written over, put in or cut out anywhere."""
    folder = tmp_path_factory.mktemp("journal")
    path = write_journal(folder)
    data = path.read_bytes()
    for place, new, num_gone in damages:
        start = round(place * len(data))
        data = data[:start] + new + data[start + num_gone :]
    path.write_bytes(data)
    assert known(folder).items() <= IMAGES.items()
    with Journal(folder, limits=LIMITS) as journal:
        assert DEAD not in journal or journal.failure(DEAD).reason == "http_404"
