from extract.report.stale import is_of_another_shard, main, stale_in

SHARDS = {"train/00000", "train/00001", "val/00000"}


def make(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")


def test_shards_that_a_run_has_no_more_are_stale_and_nothing_else_is(tmp_path):
    kept = [
        "features/train/00001.lmdb",
        "images/val/00000_stats.json",
        "times/download/train/00000.tsv",
        "pretrain/checkpoints/checkpoint-7/weights",
        "earlier/2026-11-28-041201-000000-pretrain/result/train/00009",
        "world/site/images/train/00000012.jpg",
        "tasks/images/val/00009.jpg",
        "pairs.parquet",
    ]
    stale = [
        "features/train/00002.lmdb",
        "images/val/00001_stats.json",
        "times/download/test/00000.tsv",
        "features/val/.00000.lmdb.771.partial",
    ]
    make(tmp_path, *kept, *stale)
    make(tmp_path, "journals/train/00002/images-whole", "journals/train/00000/images-whole")
    found = [str(path.relative_to(tmp_path)) for path in stale_in(tmp_path, SHARDS)]
    assert sorted(found) == sorted([*stale, "journals/train/00002"])


def test_they_are_listed_and_removed_where_that_is_asked_for(tmp_path, capsys):
    make(tmp_path, "pairs/val/00000.parquet", "pairs/val/00001.parquet")
    main(tmp_path, sorted(SHARDS))
    assert capsys.readouterr().out.endswith("pairs/val/00001.parquet\n1 that no rule would make\n")
    assert (tmp_path / "pairs/val/00001.parquet").exists()
    main(tmp_path, sorted(SHARDS), removes=True)
    assert [path.name for path in (tmp_path / "pairs/val").iterdir()] == ["00000.parquet"]


def test_a_name_of_more_digits_is_no_shard(tmp_path):
    assert not is_of_another_shard(tmp_path / "train/000012.tar", SHARDS)
    assert is_of_another_shard(tmp_path / "train/00012.tar", SHARDS)
