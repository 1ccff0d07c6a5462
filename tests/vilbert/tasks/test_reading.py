import pytest

from vilbert.tasks.reading import (
    Dropped,
    Reading,
    apart,
    by_id,
    demand_fields,
    read_json,
    read_lines,
    text_in,
    whole_number,
    with_features,
    write_dropped,
)
from vilbert.tasks.retrieval import Caption


def caption(annotation, key):
    return Caption(annotation, key, "train", "a dog")


def test_a_file_that_was_cut_off_is_named(tmp_path):
    (tmp_path / "questions.json").write_text('{"questions": [{"ques')
    with pytest.raises(ValueError, match=r"questions.json is no whole JSON file"):
        read_json(tmp_path / "questions.json")
    (tmp_path / "val.jsonl").write_bytes(b"{}\n\xff\xfe")
    with pytest.raises(ValueError, match=r"val\.jsonl is no text"):
        read_lines(tmp_path / "val.jsonl")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path, encoding):
    (tmp_path / "x.json").write_text('{"answer": "caf\u00e9"}', encoding=encoding)
    assert read_json(tmp_path / "x.json") == {"answer": "caf\u00e9"}
    (tmp_path / "x.jsonl").write_text("{}\n[]\n", encoding="utf-8-sig")
    assert read_lines(tmp_path / "x.jsonl") == ["{}", "[]"]


@pytest.mark.parametrize("content", ["[" * 100_000, "[" * 100_000 + "]" * 100_000, "1" * 5_000])
def test_what_no_person_writes_is_named_too(tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(ValueError, match=r"x\.json is no whole JSON file"):
        read_json(tmp_path / "x.json")


def test_a_number_is_the_text_that_it_is_written_as():
    row = {"a": 2, "b": 2.0, "c": 2.5, "d": " 02 ", "e": 10**30}
    assert [text_in(row, name) for name in row] == ["2", "2", "2.5", "02", str(10**30)]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "raw is None, expected a text"),
        (True, "raw is True, expected a text"),
        (float("nan"), "raw is nan, expected a text"),
        (float("inf"), "raw is inf, expected a text"),
        ({"raw": "a"}, "raw is {'raw': 'a'}, expected a text"),
        (["a"] * 10_000, r"raw is \['a', .*\.\.\.\], expected a text"),
        ("a red circle \ud83d", r"raw is 'a red circle \\ud83d', which is no Unicode: surrogates not allowed"),
    ],
)
def test_what_is_no_text_is_told(value, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        text_in({"raw": value}, "raw")


def test_numbers_with_a_fraction_and_truths_are_no_whole_numbers():
    assert [whole_number(value) for value in (2, 2.0, -3)] == [2, 2, -3]
    assert {whole_number(value) for value in (True, 2.5, float("nan"), float("inf"), "2", None, [])} == {None}


def test_what_cannot_be_used_is_a_row_with_its_reason(drawn, tmp_path):
    reading = Reading(
        [caption("1", "000000000001"), caption("2", "nowhere"), caption("1", "000000000002")],
        [Dropped("0", "empty_caption", "''")],
    )
    kept, dropped = with_features(reading, drawn.detected)
    assert [one.annotation for one in kept] == ["1"]
    assert dropped == [
        ("0", "empty_caption", "''"),
        ("2", "no_features", "nowhere"),
        ("1", "duplicate_id", "1"),
    ]
    write_dropped(tmp_path / "dropped.csv", dropped)
    assert (tmp_path / "dropped.csv").read_text().splitlines()[:2] == ["annotation,reason,detail", "0,empty_caption,''"]


def test_what_is_held_out_keeps_its_rows_without_features_and_tells_them(drawn):
    """An annotation that stands twice is asked once, with features or without."""
    reading = Reading([caption("1", "000000000001"), caption("2", "nowhere"), caption("2", "nowhere")], [])
    kept, dropped = with_features(reading, drawn.detected, is_held_out=True)
    assert [one.annotation for one in kept] == ["1", "2"]
    assert dropped == [("2", "no_features", "nowhere"), ("2", "duplicate_id", "2")]
    assert apart(kept, drawn.detected) == ([kept[0]], [kept[1]])
    with pytest.raises(ValueError, match="none of 1 annotations can be used"):
        with_features(Reading([caption("2", "nowhere")], []), drawn.detected, is_held_out=True)


def test_nothing_left_is_an_error_with_the_first_reason(drawn):
    with pytest.raises(
        ValueError, match=r"none of 1 annotations can be used, the first because of 'no_features', nowhere"
    ):
        with_features(Reading([caption("2", "nowhere")], []), drawn.detected)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"id": 1}, "a.json, images are no list"),
        ([{"id": 1, "file_name": "x"}, {"id": 2}], "a.json, images: row 1 has no 'file_name', expected id, file_name"),
        ([3], "a.json, images: row 0 has no 'id'"),
    ],
)
def test_the_first_row_without_a_field_is_named(rows, message):
    with pytest.raises(ValueError, match=message):
        demand_fields(rows, ("id", "file_name"), source="a.json, images")


def test_two_rows_of_one_id_are_an_error():
    assert by_id([{"id": 5}, {"id": 7}], source="a.json") == {5: {"id": 5}, 7: {"id": 7}}
    with pytest.raises(ValueError, match=r"a\.json: id 5 stands twice"):
        by_id([{"id": 5}, {"id": 7}, {"id": 5}], source="a.json")
    with pytest.raises(ValueError, match=r"a\.json: row 1: id is \[7\], expected a text"):
        by_id([{"id": 5}, {"id": [7]}], source="a.json")
