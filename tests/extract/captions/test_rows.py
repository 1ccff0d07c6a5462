from pathlib import Path

import pytest

from extract.captions.rows import read_line, read_shard


@pytest.fixture
def caption_list(tmp_path: Path) -> Path:
    path = tmp_path / "list.tsv"
    path.write_bytes(b"".join(b"caption %d\thttp://a.org/%d\n" % (row, row) for row in range(7)))
    return path


def test_shards_cut_the_list_without_a_gap(caption_list):
    shards = [read_shard(caption_list, numbers, split="train") for numbers in (range(3), range(3, 6), range(6, 7))]
    assert [len(shard) for shard in shards] == [3, 3, 1]
    rows = [row for shard in shards for row in shard]
    assert [row["key"] for row in rows] == [f"train-{row:08d}" for row in range(7)]
    assert [row["caption"] for row in rows] == [f"caption {row}" for row in range(7)]


def test_a_shorter_list_is_an_error_with_both_numbers_and_the_key_to_change(caption_list):
    with pytest.raises(ValueError, match=r"has 7 rows, but source.splits.train.num_rows is 11 or more; set it to 7"):
        read_shard(caption_list, range(9, 11), split="train")


@pytest.mark.parametrize(
    "line", [b"\n", b"no tab\n", b"two\ttabs\thttp://a.org\n", b"no url\t\n", b"\r\n", b"\t\t\n"], ids=repr
)
def test_a_malformed_line_becomes_a_row_that_keeps_it(line):
    text = line.decode().rstrip("\r\n")
    assert read_line(line, key="val-00000002") == {"key": "val-00000002", "url": text, "caption": None}


@pytest.mark.parametrize(
    "line",
    [b"a b\thttp://a.org\n", b"a b\thttp://a.org\r\n", b"\xef\xbb\xbfa b\thttp://a.org\n", b"a b\thttp://a.org"],
    ids=["lf", "crlf", "bom", "no newline"],
)
def test_line_ends_and_a_byte_order_mark_are_no_part_of_a_row(line):
    assert read_line(line, key="k") == {"key": "k", "url": "http://a.org", "caption": "a b"}


def test_bytes_that_are_no_text_leave_a_mark():
    assert read_line(b"caf\xe9 at night\thttp://a.org\n", key="k")["caption"] == "caf\N{REPLACEMENT CHARACTER} at night"
