from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from extract.captions.csv_lists import (
    CsvRow,
    hold_out,
    main,
    missing_files,
    picture_path,
    read_captions,
    read_records,
    write_captions,
)

PROPERTY = settings(deadline=None, max_examples=100, derandomize=True, database=None)


def write(path, text: str, *, encoding: str = "utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t"], ids=["comma", "semicolon", "tab"])
def test_the_two_columns_are_found_among_others(tmp_path, delimiter):
    lines = [("id", "caption", "file"), ("7", '"a dog, ""Rex"""', "b/dog.jpg"), ("9", "a cat", " cat.jpg ")]
    path = write(tmp_path / "a.csv", "".join(delimiter.join(line) + "\r\n" for line in lines))
    assert read_captions(path) == [CsvRow("b/dog.jpg", 'a dog, "Rex"'), CsvRow("cat.jpg", "a cat")]


def test_the_mark_that_excel_puts_before_utf8_is_no_part_of_a_column(tmp_path):
    assert read_captions(write(tmp_path / "a.csv", "file,caption\na,ü\n", encoding="utf-8-sig")) == [CsvRow("a", "ü")]


def test_bytes_of_another_encoding_are_marked_for_the_caption_rules(tmp_path):
    (row,) = read_captions(write(tmp_path / "a.csv", "file,caption\na.jpg,ein Tor für alle\n", encoding="latin-1"))
    assert row.caption == "ein Tor f\N{REPLACEMENT CHARACTER}r alle"


def test_a_comma_without_quotes_is_a_malformed_row_and_no_shorter_caption(tmp_path):
    rows = read_captions(write(tmp_path / "a.csv", "file,caption\na.jpg,a dog, a cat\n\nb.jpg\n,no file\nc.jpg,\n"))
    malformed = ["a.jpg,a dog, a cat", "b.jpg", ",no file"]
    assert rows == [*(CsvRow(line, None) for line in malformed), CsvRow("c.jpg", "")]


def test_a_quote_that_is_left_open_swallows_no_rows(tmp_path):
    lines = ["a.jpg,one", 'b.jpg,"a sign that says hello', "c.jpg,two", 'd.jpg,"a sign" that says bye', 'e.jpg,"x']
    rows = read_captions(write(tmp_path / "a.csv", "\n".join(["file,caption", *lines, "f.jpg,three", ""])))
    assert rows == [
        CsvRow("a.jpg", "one"),
        CsvRow(lines[1], None),
        CsvRow("c.jpg", "two"),
        CsvRow(lines[3], None),
        CsvRow(lines[4], None),
        CsvRow("f.jpg", "three"),
    ]


def test_a_field_without_end_is_a_malformed_row_and_the_rows_behind_it_are_read(tmp_path):
    rows = read_captions(write(tmp_path / "a.csv", 'file,caption\na,b\nc,"d' + "e\n" * 70_000 + "f,g\n"))
    assert (rows[:2], rows[-1]) == ([CsvRow("a", "b"), CsvRow('c,"de', None)], CsvRow("f", "g"))


@PROPERTY
@given(text=st.text(st.sampled_from('abc.,;\t"\n\r\0 ü')) | st.text())
def test_every_line_is_read_or_reported(tmp_path_factory, text):
    """Each row begins in the line after those of the row before it, up to the last line."""
    path = write(tmp_path_factory.mktemp("csv") / "a.csv", f"file,caption\n{text}")
    records = read_records(path)
    with path.open(newline="") as file:
        lines = file.readlines()
    covered = [number for record in records for number in range(record.line, record.line + record.num_lines)]
    assert covered == sorted(set(covered))
    assert {number for number, line in enumerate(lines, start=1) if line.strip("\r\n")} - {1} <= set(covered)


@PROPERTY
@given(text=st.text(st.sampled_from('abc.,;\t"\n\r\0 ü')) | st.text())
def test_the_lists_of_a_csv_hold_the_same_rows(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("csv")
    rows = read_captions(write(folder / "a.csv", f"file,caption\n{text}"))
    write_captions(folder / "b.csv", rows)
    assert read_captions(folder / "b.csv") == rows


def test_lists_are_read_as_they_were_written(tmp_path):
    rows = [CsvRow("a.jpg", 'one "two",\nthree\rfour'), CsvRow("b,c,d", None), CsvRow("b.jpg", "")]
    write_captions(tmp_path / "a.csv", rows)
    assert read_captions(tmp_path / "a.csv") == rows


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"a\.csv has the columns \[\], expected file and caption"),
        ("image,caption\na,b\n", r"has the columns \['image', 'caption'\], expected file in its first line"),
    ],
    ids=["empty", "another name"],
)
def test_what_is_no_such_csv_is_an_error(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_captions(write(tmp_path / "a.csv", text))


def test_captions_of_one_picture_stay_together_in_one_split():
    rows = [CsvRow(f"{number % 13}.jpg", f"caption {number}") for number in range(65)]
    splits = hold_out([*rows, CsvRow("broken line", None)], share=0.2, seed=3)
    assert {name: len(part) for name, part in splits.items()} == {"train": 51, "val": 15}  # of 13 pictures, 3
    assert not {row.file for row in splits["train"]} & {row.file for row in splits["val"]}
    files = [row.file for row in splits["val"]]
    assert [files[start : start + 5] for start in (0, 5, 10)] == [[files[start]] * 5 for start in (0, 5, 10)]
    assert CsvRow("broken line", None) in splits["train"]
    assert splits == hold_out([*rows, CsvRow("broken line", None)], share=0.2, seed=3)
    assert splits != hold_out([*rows, CsvRow("broken line", None)], share=0.2, seed=4)


def test_a_split_without_pictures_is_an_error():
    with pytest.raises(ValueError, match=r"--held-out 0\.1 of 2 pictures leaves a split without any"):
        hold_out([CsvRow("a.jpg", "a"), CsvRow("b.jpg", "b")], share=0.1, seed=1)


def test_files_that_are_not_there_are_named_once_and_a_wrong_folder_is_an_error(tmp_path):
    rows = [CsvRow("a.jpg", "a"), CsvRow("b.jpg", "b"), CsvRow("b.jpg", "again"), CsvRow("broken line", None)]
    (tmp_path / "a.jpg").touch()
    assert missing_files(rows, tmp_path) == ["b.jpg"]
    names = ["nul\0.jpg", "a caption in the wrong column " * 10, "../a.jpg", "/dev/zero", "."]
    assert missing_files([*rows, *(CsvRow(name, "x") for name in names)], tmp_path) == ["b.jpg", *names]
    with pytest.raises(FileNotFoundError, match=r"none of the 2 files .* is in .*/other, such as .*/other/a\.jpg"):
        missing_files(rows, tmp_path / "other")


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("sub/a.jpg", "/pictures/sub/a.jpg"),
        ("/pictures/a.jpg", "/pictures/a.jpg"),
        ("./a..b.jpg", "/pictures/a..b.jpg"),
        ("../a.jpg", None),
        ("sub/../a.jpg", None),
        ("/pictures/../a.jpg", None),
        ("/etc/passwd", None),
        ("/pictures2/a.jpg", None),
    ],
)
def test_a_file_lies_in_the_folder_or_nowhere(file, expected):
    path = picture_path(Path("/pictures"), file)
    assert (None if path is None else str(path)) == expected


def test_the_source_names_the_lists_and_their_rows(tmp_path, capsys):
    for number in range(10):
        (tmp_path / f"{number}.jpg").touch()
    text = "".join(f"{number}.jpg,one\n{number}.jpg,two\n" for number in range(11)) + "3.jpg,a,b\n"
    captions, lists = write(tmp_path / "a.csv", f"file,caption\n{text}"), tmp_path / "lists"
    main(captions, tmp_path, lists, held_out=0.3, seed=1)
    source = yaml.safe_load((lists / "source.yaml").read_text())["source"]
    assert (source["kind"], source["pictures"]) == ("folder", str(tmp_path))
    for name, num_rows in (("train", 17), ("val", 6)):
        assert source["splits"][name] == {"url": str(lists / f"{name}.csv"), "num_rows": num_rows}
        assert len(read_captions(lists / f"{name}.csv")) == num_rows
    printed = capsys.readouterr().out
    assert (
        "1 with too few or too many fields, or a quote that is not closed, which will be dropped, such as line 24: "
        "'3.jpg,a,b'"
    ) in printed
    assert f"1 without a file in {tmp_path}, which will be dropped, such as '10.jpg'" in printed
    assert "several lines" not in printed


def test_a_csv_without_any_row_that_is_whole_is_named_with_one_that_is_not(tmp_path):
    """As where quotes in quotes are written with backslashes; the folder is not to blame."""
    path = write(tmp_path / "a.csv", 'file,caption\na.jpg,"a \\"big\\" dog"\n')
    with pytest.raises(ValueError, match=rf"of 1 rows of {path} none has .*, such as line 2: 'a\.jpg,"):
        main(path, tmp_path, tmp_path / "lists", held_out=0.1, seed=1)
    with pytest.raises(ValueError, match=rf"of 0 rows of {path} none has as many fields as its first line$"):
        main(write(path, "file,caption\n"), tmp_path, tmp_path / "lists", held_out=0.1, seed=1)


def test_rows_of_several_lines_are_told_with_their_lines(tmp_path, capsys):
    """Nobody can tell a quote that is left open from one that holds line breaks, where another ends it well."""
    for number in range(3):
        (tmp_path / f"{number}.jpg").touch()
    rows = 'file,caption\n0.jpg,"two\nlines"\n1.jpg,"a sign\n2.jpg,a field\n2.jpg,a screen of 5"\n2.jpg,one\n'
    main(write(tmp_path / "a.csv", rows), tmp_path, tmp_path / "lists", held_out=0.3, seed=1)
    assert "2 of several lines, such as that of lines 4 to 6: is a quote open?" in capsys.readouterr().out
