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
        "my_notes/2026/00012.txt",
        "my_notes/.draft.partial",
        "compare/pretraining/two_stream-1/metrics.jsonl",
        "contents/finetuning.annotations/00012abc.jsonl",
        "earlier/2026-11-28-041201-000000-pretrain/.metrics.jsonl.7.partial",
    ]
    stale = [
        "features/train/00002.lmdb",
        "images/val/00001_stats.json",
        "times/download/test/00000.tsv",
        "features/val/.00000.lmdb.771.partial",
        "published/val/.00000.tar.12.partial",
        "lists/.train.tsv.771.partial",
        ".pairs.parquet.7.partial",
        "contents/source/train/00002.jsonl",
    ]
    make(tmp_path, *kept, *stale)
    make(
        tmp_path,
        "journals/train/00002/images-whole",
        "journals/train/00002/.x.7.partial",
        "journals/train/00000/images-whole",
    )
    found = [str(path.relative_to(tmp_path)) for path in stale_in(tmp_path, SHARDS)]
    assert sorted(found) == sorted([*stale, "journals/train/00002"])


def test_they_are_listed_and_removed_where_that_is_asked_for(tmp_path, capsys):
    make(tmp_path, "pairs/val/00000.parquet", "pairs/val/00001.parquet")
    main(tmp_path, sorted(SHARDS))
    assert capsys.readouterr().out.endswith("pairs/val/00001.parquet\n1 that no rule would make\n")
    assert (tmp_path / "pairs/val/00001.parquet").exists()
    main(tmp_path, sorted(SHARDS), removes=True)
    assert [path.name for path in (tmp_path / "pairs/val").iterdir()] == ["00000.parquet"]


def test_of_a_file_elsewhere_only_what_a_kill_left_of_it_goes(tmp_path):
    kept = ["weights/mine.pth", "weights/.other.pth.7.partial", "weights/.mine.pth.partial", "run/pairs.parquet"]
    make(tmp_path, *kept, "weights/.mine.pth.77.partial")
    main(tmp_path / "run", sorted(SHARDS), removes=True, fetched=tmp_path / "weights/mine.pth")
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)


def test_through_a_link_to_another_disk_shards_go_and_of_a_link_to_a_shard_the_link(tmp_path):
    make(tmp_path, "disk/val/00001.lmdb", "disk/val/.00000.lmdb.7.partial", "mine/records", "run/images/val/00000.tar")
    (tmp_path / "run/features").symlink_to(tmp_path / "disk")
    (tmp_path / "run/images/val/00001.tar").symlink_to(tmp_path / "mine")
    main(tmp_path / "run", sorted(SHARDS), removes=True)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"mine/records", "run/images/val/00000.tar"}


def test_a_name_of_more_digits_is_no_shard(tmp_path):
    assert not is_of_another_shard(tmp_path / "train/000012.tar", SHARDS)
    assert is_of_another_shard(tmp_path / "train/00012.tar", SHARDS)
