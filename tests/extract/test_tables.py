import errno
from contextlib import ExitStack

import pytest

from extract.command import in_words
from extract.tables import ROWS, whole_file, write_table


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


def test_a_table_on_a_full_disk_is_named(tmp_path, largest_file):
    rows = [{"key": f"train-{number:08d}", "url": str(number**99), "caption": None} for number in range(999)]
    with largest_file(1_000), pytest.raises(OSError, match=r"rows\.parquet"):
        write_table(tmp_path / "rows.parquet", rows, ROWS)
