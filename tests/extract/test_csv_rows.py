import pytest

from extract.csv_rows import read_csv_rows


def test_rows_have_their_line_their_columns_and_what_else_they_say(tmp_path):
    (tmp_path / "a.csv").write_text('\ufefffile , label,note\na.jpg, red ,x\n"b\nc.jpg",blue,\n\nd.jpg,red\n')
    first, second, third = read_csv_rows(tmp_path / "a.csv", ["file", "label"])
    assert first == (2, 1, {"file": "a.jpg", "label": "red", "note": "x"}, "a.jpg, red ,x")
    assert (second.line, second.num_lines, second.values["file"]) == (3, 2, "b\nc.jpg")
    assert (third.line, third.values, third.text) == (6, None, "d.jpg,red")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("file,class", r"has the columns \['file', 'class'\], expected label in its first line"),
        ("", r"has the columns \[\], expected file and label in its first line"),
        ("file,label,label", "has two columns 'label', expected one"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(header, message, tmp_path):
    (tmp_path / "a.csv").write_text(header)
    with pytest.raises(ValueError, match=message):
        read_csv_rows(tmp_path / "a.csv", ["file", "label"])
