import pytest

from vilbert.tasks.reading import (
    Dropped,
    Reading,
    apart,
    by_id,
    demand_fields,
    read_json,
    read_lines,
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
