import os

import pytest

from extract.plain_files import files_below, in_text, plain_status


def names_below(folder) -> list[str]:
    return [str(path.relative_to(folder)) for path in files_below(folder)]


def test_links_are_followed_to_folders_and_to_nowhere_and_round(tmp_path):
    pictures, elsewhere = tmp_path / "pictures", tmp_path / "elsewhere"
    for folder in (pictures / "harbour", elsewhere / "deep"):
        folder.mkdir(parents=True)
    for path in (pictures / "harbour/a.jpg", pictures / "b.jpg", elsewhere / "deep/d.jpg"):
        path.touch()
    (pictures / "linked").symlink_to(elsewhere)
    (pictures / "linked_again").symlink_to(elsewhere)
    (pictures / "harbour/nowhere.jpg").symlink_to(tmp_path / "none.jpg")
    (pictures / "harbour/round").symlink_to(pictures)
    (pictures / "itself").symlink_to("itself")
    assert names_below(pictures) == ["b.jpg", "harbour/a.jpg", "harbour/nowhere.jpg", "itself", "linked/deep/d.jpg"]


def test_a_folder_is_no_file_whatever_it_is_called(tmp_path):
    (tmp_path / "album.jpg").mkdir()
    (tmp_path / "album.jpg/a.jpg").touch()
    assert names_below(tmp_path) == ["album.jpg/a.jpg"]


def test_a_folder_that_cannot_be_read_is_an_error_and_not_empty(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone"):
        files_below(tmp_path / "gone")


@pytest.mark.parametrize("name", ["gone.jpg", "folder.jpg", "queue.jpg", "device.jpg", "a\0.jpg", "long" * 99])
def test_what_is_no_file_is_an_error_and_no_wait_without_end(tmp_path, name):
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "queue.jpg")
    (tmp_path / "device.jpg").symlink_to("/dev/zero")
    with pytest.raises(OSError) as found:  # noqa: PT011 - each has its own
        plain_status(tmp_path / name)
    assert found.value.strerror


def test_a_link_to_a_file_has_the_size_of_the_file(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"boats")
    (tmp_path / "b.jpg").symlink_to("a.jpg")
    assert plain_status(tmp_path / "b.jpg").st_size == 5


def test_a_name_that_is_not_utf8_is_read_as_latin_1():
    assert [in_text(os.fsdecode(name)) for name in (b"caf\xe9", "café".encode(), "港口".encode())] == [
        "café",
        "café",
        "港口",
    ]
