import json
from pathlib import Path

import pytest

from extract.cleaning.collect import main
from extract.tables import PAIRS, read_rows, write_table


def pair(split: str, row: int, *, stage: str | None = None, reason: str | None = None) -> dict:
    return {
        "key": f"{split}-{row:08d}",
        "caption": f"c{row}",
        "stage": stage,
        "reason": reason,
        "detail": reason and "d",
    }


def collect(folder: Path, *shards: list[dict]) -> dict:
    paths = [folder / f"{number}.parquet" for number in range(len(shards))]
    for path, rows in zip(paths, shards, strict=True):
        write_table(path, rows, PAIRS)
    main(folder / "pairs.parquet", folder / "dropped.parquet", folder / "summary.json", paths)
    return json.loads((folder / "summary.json").read_text())


def test_rows_are_parted_and_counted_and_none_is_lost(tmp_path):
    train = [pair("train", row) for row in range(5)] + [
        pair("train", row, stage="download", reason="http_404") for row in range(5, 12)
    ]
    more = [
        pair("train", 12, stage="relatedness", reason="unrelated"),
        pair("train", 13, stage="captions", reason="markup"),
        pair("train", 14),
    ]
    summary = collect(tmp_path, train, more, [pair("val", 0)])
    assert {name: (split["rows"], split["kept"]) for name, split in summary["splits"].items()} == {
        "train": (15, 6),
        "val": (1, 1),
    }
    dropped = summary["splits"]["train"]["dropped"]
    assert [(entry["stage"], entry["reason"], entry["rows"]) for entry in dropped] == [
        ("captions", "markup", 1),
        ("download", "http_404", 7),
        ("relatedness", "unrelated", 1),
    ]
    assert dropped[1]["samples"] == [
        {"key": f"train-{row:08d}", "caption": f"c{row}", "detail": "d"} for row in range(5, 10)
    ]
    kept, gone = (read_rows(tmp_path / f"{name}.parquet", PAIRS) for name in ("pairs", "dropped"))
    assert sorted(row["key"] for row in kept + gone) == [f"train-{row:08d}" for row in range(15)] + ["val-00000000"]
    assert all(row["stage"] is None for row in kept)
    assert all(row["reason"] for row in gone)


def test_shards_without_rows_are_fine(tmp_path):
    assert collect(tmp_path, [], [pair("val", 0)])["splits"]["val"]["rows"] == 1
    assert collect(tmp_path, []) == {"splits": {}}


def test_a_shard_given_twice_is_an_error_and_leaves_no_summary(tmp_path):
    rows = [pair("val", row) for row in range(3)]
    with pytest.raises(ValueError, match="overlap at row 'val-00000000'"):
        collect(tmp_path, rows, rows)
    assert not (tmp_path / "summary.json").exists()


def test_a_row_that_stands_twice_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="do not ascend"):
        collect(tmp_path, [pair("val", 1), pair("val", 1)])
    assert not (tmp_path / "pairs.parquet").exists()
