import hashlib
import json
import os
from pathlib import Path

import pytest
import yaml
from places import ROOT

from workflow.contents import Contents
from workflow.inputs import Inputs
from workflow.settings import Settings


@pytest.fixture
def pictures(tmp_path) -> Path:
    (tmp_path / "pictures/harbour").mkdir(parents=True)
    (tmp_path / "pictures/harbour/a.jpg").write_bytes(b"boats")
    (tmp_path / "pictures/b.jpg").write_bytes(b"a field")
    return tmp_path / "pictures"


def look(pictures: Path) -> tuple[list, int]:
    """The lines of the table of a folder, and its time, as the next start of Snakemake finds them."""
    mark = Path(Contents(pictures.parent / "contents", looks=True).of("source.pictures", pictures))
    table = mark.with_suffix(".jsonl").read_text()
    assert mark.read_text() == f"{hashlib.sha256(table.encode()).hexdigest()}\n"
    return [json.loads(line) for line in table.splitlines()], mark.stat().st_mtime_ns


def test_every_file_below_a_folder_is_known_by_what_it_holds(pictures):
    lines, _ = look(pictures)
    assert [(name, size) for name, size, _ in lines] == [("b.jpg", 7), ("harbour/a.jpg", 5)]
    assert lines[1][2] == hashlib.sha256(b"boats").hexdigest()


def test_a_file_that_was_only_touched_leaves_the_table_as_it_was(pictures):
    before = look(pictures)
    os.utime(pictures / "b.jpg", ns=(1, 1))
    assert look(pictures) == before


def test_a_picture_that_is_replaced_below_a_folder_changes_it(pictures):
    before, _ = look(pictures)
    (pictures / "harbour/a.jpg").write_bytes(b"ships")
    after, _ = look(pictures)
    assert [line[0] for line in before] == [line[0] for line in after]
    assert before[1] != after[1]
    assert before[0] == after[0]


def test_a_picture_that_comes_or_goes_changes_it(pictures):
    before, _ = look(pictures)
    (pictures / "harbour/c.jpg").write_bytes(b"more boats")
    assert len(look(pictures)[0]) == 3
    (pictures / "harbour/c.jpg").unlink()
    assert look(pictures)[0] == before


def test_a_folder_that_moves_with_all_that_it_holds_changes_nothing(pictures):
    before = look(pictures)
    assert look(pictures.rename(pictures.with_name("images"))) == before


def test_a_file_is_read_again_only_where_its_size_or_time_is_new(pictures):
    """Two bytes are changed behind the back of its time, which nobody can see who does not read all."""
    before, _ = look(pictures)
    status = (pictures / "b.jpg").stat()
    (pictures / "b.jpg").write_bytes(b"a hills")
    os.utime(pictures / "b.jpg", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert look(pictures)[0] == before


@pytest.mark.parametrize("left", ["", '{"b.jp', "[]", '{"b.jpg": [1, 2]}', "null"])
def test_a_damaged_memory_of_what_was_read_is_none(pictures, left):
    """Else each Snakemake would end before it begins."""
    before = look(pictures)
    (pictures.parent / "contents/source.pictures.seen.json").write_text(left)
    assert look(pictures) == before


def test_pictures_behind_links_are_looked_at_and_queues_are_not(pictures, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/d.jpg").write_bytes(b"hills")
    (pictures / "linked").symlink_to(tmp_path / "elsewhere")
    (pictures / "nowhere.jpg").symlink_to(tmp_path / "none.jpg")
    os.mkfifo(pictures / "queue.jpg")
    assert [name for name, _, _ in look(pictures)[0]] == ["b.jpg", "harbour/a.jpg", "linked/d.jpg"]


def test_what_is_no_file_is_not_read(pictures):
    os.mkfifo(pictures / "pipe.jpg")
    (pictures / "zeros.jpg").symlink_to("/dev/zero")
    assert [name for name, _, _ in look(pictures)[0]] == ["b.jpg", "harbour/a.jpg"]


def test_names_that_no_file_can_have_and_bytes_that_are_no_utf_8_are_no_error(pictures):
    name = os.fsdecode(b"caf\xe9\n.jpg")
    (pictures / name).write_bytes(b"a cup")
    files = [pictures / file for file in ("a\0b.jpg", "x" * 300, "harbour", name)]
    contents = Contents(pictures.parent / "contents", looks=True)
    mark = Path(contents.of_rows("source/val/00000", [["a\0b.jpg", "\ud800", 0]], pictures, files))
    table = mark.with_suffix(".jsonl")
    assert [json.loads(line)[0] for line in table.read_text().splitlines()] == ["a\0b.jpg", name]


def test_what_a_rule_gets_is_small_however_many_files_there_are(pictures):
    """Snakemake compares what small files hold, and of others, from a megabyte on, the time alone."""
    for number in range(100):
        (pictures / f"{number}.jpg").write_bytes(b"x")
    mark = Path(Contents(pictures.parent / "contents", looks=True).of("source.pictures", pictures))
    assert mark.stat().st_size == 65


def test_a_table_stays_in_its_folder_wherever_the_annotations_lie(pictures):
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["finetuning"]["annotations"] = str(pictures / "harbour")
    contents = Contents(pictures / "contents", looks=True)
    inputs = Inputs(Settings.model_validate(config), contents, results="results/drawn")
    beside, absolute = inputs.annotation_files(["../b.jpg", str(pictures / "b.jpg")])
    for mark in map(Path, (beside, absolute)):
        assert mark.resolve().is_relative_to(pictures / "contents")
        assert json.loads(mark.with_suffix(".jsonl").read_text())[1] == len(b"a field")


def test_what_is_not_there_is_itself_what_is_missed(tmp_path):
    assert Contents(tmp_path, looks=True).of("finetuning.images", "my/images") == "my/images"


def test_the_processes_of_jobs_take_the_tables_that_are_there(pictures):
    contents = Contents(pictures.parent / "contents", looks=False)
    assert contents.of("source.pictures", pictures) == str(pictures.parent / "contents/source.pictures.sha256")
    assert not (pictures.parent / "contents").exists()


def test_rows_are_known_by_themselves_and_by_the_files_that_they_name(pictures):
    def table(rows, files):
        contents, paths = Contents(pictures.parent / "contents", looks=True), [pictures / file for file in files]
        path = contents.of_rows("source/val/00000", rows, pictures, paths)
        return Path(path).read_text()  # the sha256 of the table

    first = table([["b.jpg", "a field", 0]], ["b.jpg"])
    assert table([["b.jpg", "a field", 0]], ["b.jpg", "gone.jpg", "a\0.jpg", "long" * 99]) == first
    assert table([["b.jpg", "a meadow", 0]], ["b.jpg"]) != first
