import pytest
from task_world import KEYS, reasons

from extract.tables import IMAGES, write_table
from vilbert.tasks.own_table import hold_out, named_pictures, parts_of, read_own_table
from vilbert.tasks.pictures import Pictures


def test_a_row_that_cannot_be_used_is_a_row_with_its_reason_and_the_others_are_kept(own_source):
    lines = [
        "file;label;split",
        f"{KEYS[0]}.jpg;red;train",
        f"{KEYS[1]}.jpg;blue;val",
        f"{KEYS[2]}.jpg;red;training",
        f"{KEYS[3]}.jpg;red",
        ";red;train",
        f"{KEYS[4]}.jpg;\ufffd;train",
        f'{KEYS[5]}.jpg;"red;train',
        f"{KEYS[6]};red;train",
    ]
    reading = read_own_table(*own_source("\n".join(lines)), ["label"])
    assert [(row.annotation, row.image_key, row.split) for row in reading.examples] == [
        ("line 2", KEYS[0], "train"),
        ("line 3", KEYS[1], "val"),
        ("line 9", KEYS[6], "train"),
    ]
    assert reasons(reading) == {
        "line 4": "unknown_split",
        "line 5": "malformed_row",
        "line 6": "no_file",
        "line 7": "undecodable_bytes",
        "line 8": "malformed_row",
    }


def test_rows_are_called_by_their_id_and_an_id_that_stands_twice_is_one_row(own_source):
    text = f"id,file,label,split\na,{KEYS[0]}.jpg,red,train\na,{KEYS[1]}.jpg,red,train\n,{KEYS[2]}.jpg,red,val\n"
    reading = read_own_table(*own_source(text), ["label"])
    assert [row.annotation for row in reading.examples] == ["a", "line 4"]
    assert reasons(reading) == {"a": "duplicate_id"}


def test_a_picture_that_is_held_out_is_not_learnt_from_under_another_name(own_source, tmp_path, drawn):
    table = tmp_path / "images.parquet"
    rows = [
        {"key": key, "url": file, "status": "success", "image_key": key, "sha256": sha256}
        for key, file, sha256 in ((KEYS[0], "a.jpg", "1"), (KEYS[1], "again/a.jpg", "1"), (KEYS[2], "b.jpg", "2"))
    ]
    write_table(table, rows, IMAGES)
    source, settings = own_source("file,label,split\na.jpg,x,train\nagain/a.jpg,x,val\nb.jpg,y,train\n")
    reading = read_own_table(source._replace(pictures=Pictures(drawn.detected, table)), settings, ["label"])
    assert [(row.image_key, row.split) for row in reading.examples] == [(KEYS[1], "val"), (KEYS[2], "train")]
    assert reasons(reading) == {"line 2": "held_out_picture"}


def test_without_a_split_a_share_of_the_pictures_is_held_out_with_all_their_rows(own_source):
    lines = [f"{key}.jpg,{label}" for key in KEYS for label in ("red", "blue")]
    reading = read_own_table(*own_source("\n".join(["file,label", *lines]), held_out=0.3), ["label"])
    held_out = {row.image_key for row in reading.examples if row.split == "val"}
    assert len(held_out) == 2
    assert all((row.split == "val") == (row.image_key in held_out) for row in reading.examples)


def test_what_is_held_out_stays_so_when_pictures_come(tmp_path):
    before = hold_out({f"{number}" for number in range(100)}, 0.2, path=tmp_path)
    after = hold_out({f"{number}" for number in range(110)}, 0.2, path=tmp_path)
    assert len(before) == 20
    assert len(before & after) >= 17


def test_a_table_of_which_no_row_can_be_used_says_why(own_source):
    with pytest.raises(ValueError, match="has no row that can be used; the first: line 2, unknown_split, '', expected"):
        read_own_table(*own_source(f"file,label,split\n{KEYS[0]}.jpg,red,\n"), ["label"])
    with pytest.raises(ValueError, match=r"table.csv has no row that can be used$"):
        read_own_table(*own_source("file,label\n"), ["label"])


@pytest.mark.parametrize("share", [0, 1])
def test_a_split_without_any_picture_is_refused(share, tmp_path):
    with pytest.raises(ValueError, match=f"names 2 pictures, of which {share} is to be held out"):
        hold_out({"a", "b"}, share, path=tmp_path)


@pytest.mark.parametrize(
    ("cell", "separator", "parts"),
    [
        ("red", None, ("red",)),
        ("red|blue| red ", "|", ("red", "blue", "red")),
        ("", "|", ()),
        ("red|blue", None, ("red|blue",)),
    ],
)
def test_labels_of_a_cell(cell, separator, parts):
    assert parts_of(cell, separator) == parts


def test_pictures_are_named_once_in_their_order(tmp_path):
    (tmp_path / "a.csv").write_text("file,label\nb c/ü.jpg,1\na.jpg,2\nb c/ü.jpg,3\n,4\n", encoding="utf-8")
    assert named_pictures(tmp_path / "a.csv") == ["b c/ü.jpg", "a.jpg"]


def test_a_picture_that_was_not_packed_says_why_in_place_of_a_key(tmp_path, drawn):
    row = {"key": "a", "url": "a.jpg", "status": "failed_to_download", "error_message": "no_file", "detail": "gone"}
    write_table(tmp_path / "images.parquet", [row], IMAGES)
    pictures = Pictures(drawn.detected, tmp_path / "images.parquet")
    assert pictures["a.jpg"].key == "a.jpg: no_file, gone"
    assert pictures["b.jpg"].key == "b.jpg: not looked for"


def test_of_features_that_were_there_a_name_leads_to_its_own_key_alone(drawn):
    pictures = Pictures(drawn.detected, None)
    assert pictures[f"{KEYS[0]}.png"].key == KEYS[0]
    assert pictures[f"elsewhere/{KEYS[0]}.png"].key not in drawn.detected
