import errno
from contextlib import ExitStack

import pytest

from extract.command import in_words
from extract.tables import ROWS, read_json, read_rows, read_table, reading, whole_file, write_table


def test_of_two_writers_of_one_file_the_later_has_the_say(tmp_path):
    path = tmp_path / "0.tar"
    with ExitStack() as stack:
        first = stack.enter_context(whole_file(path))
        first.write_text("first, half")
        with whole_file(path) as second:
            second.write_text("second")
        with pytest.raises(ValueError, match=r"another process began to write .*0\.tar meanwhile"):
            stack.close()
    assert path.read_text() == "second"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_what_a_disk_says_names_the_file(tmp_path, number):
    with pytest.raises(OSError, match=r"0\.tar") as caught, whole_file(tmp_path / "0.tar"):
        raise OSError(number, "as the system says")
    assert in_words(caught.value).startswith(f"{tmp_path}/0.tar: as the system says")


ROW = {"key": "train-00000000", "url": "http://photos.example/0.jpg", "caption": "a dog"}


@pytest.mark.parametrize("kind", ["cut", "empty", "zeros", "zeros in the middle"])
def test_a_damaged_table_is_named_with_the_way_out(tmp_path, kind):
    path = tmp_path / "rows.parquet"
    write_table(path, [ROW] * 100, ROWS)
    whole = path.read_bytes()
    start = whole.index(b"\x28\xb5\x2f\xfd")  # of a page, as zstd writes it
    damaged = {
        "cut": whole[: len(whole) // 2],
        "empty": b"",
        "zeros": bytes(len(whole)),
        "zeros in the middle": whole[:start] + bytes(16) + whole[start + 16 :],
    }
    path.write_bytes(damaged[kind])
    expected = rf"{path} is damaged \(.*\); remove it and start the same command again"
    with pytest.raises(ValueError, match=expected):
        read_rows(path, ROWS)


def test_what_is_damaged_is_told_in_one_line(tmp_path):
    with pytest.raises(ValueError, match=r"a\.json is damaged \(one two\); remove"), reading(tmp_path / "a.json"):
        raise ValueError("one\n  two\n")


def test_damaged_json_is_named_with_the_way_out(tmp_path):
    path = tmp_path / "summary.json"
    path.write_text('{"splits": {"train": ')
    with pytest.raises(ValueError, match=rf"{path} is damaged \(.*\); remove it and start the same command again"):
        read_json(path)


def test_what_is_not_there_is_not_damaged(tmp_path):
    for read in (read_json, read_table):
        with pytest.raises(FileNotFoundError, match=r"nowhere"):
            read(tmp_path / "nowhere")


def test_a_table_on_a_full_disk_is_named(tmp_path, largest_file):
    rows = [{"key": f"train-{number:08d}", "url": str(number**99), "caption": None} for number in range(999)]
    with largest_file(1_000), pytest.raises(OSError, match=r"rows\.parquet"):
        write_table(tmp_path / "rows.parquet", rows, ROWS)
