import errno

import pytest

from extract.command import errors_in_one_line


def last_words(error: Exception) -> str:
    with pytest.raises(SystemExit) as ended, errors_in_one_line():
        raise error
    return str(ended.value)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("7 rows, expected 11"), "error: 7 rows, expected 11"),
        (FileNotFoundError("no detector at x; train one"), "error: no detector at x; train one"),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "a.csv"),
            "error: a.csv: No such file or directory",
        ),
        (OSError(errno.EROFS, "Read-only file system", "results"), "error: results: Read-only file system"),
        (ImportError("detectron2 is not installed"), "error: detectron2 is not installed"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_user_can_mend_is_one_line(error, words):
    assert last_words(error) == words


def test_a_full_disk_is_told_with_what_to_do():
    expected = "error: No space left on device; make room and start the same command again, what is finished stays"
    assert last_words(OSError(errno.ENOSPC, "No space left on device")) == expected


def test_our_own_mistakes_keep_their_traceback():
    with pytest.raises(AssertionError, match="ours"), errors_in_one_line():
        raise AssertionError("ours")
