import pytest

from extract.report.stages import stage_rows

HEAD = "s\th:m:s\tmax_rss\tcpu_time\n"


@pytest.fixture
def run(tmp_path):
    times = tmp_path / "times"
    for split, shard, seconds in (
        ("train", "00000", 7),
        ("train", "00001", 11),
        ("val", "00000", 2),
        ("val", "00009", 90),
    ):
        (times / "download" / split).mkdir(parents=True, exist_ok=True)
        (times / f"download/{split}/{shard}.tsv").write_text(
            f"{HEAD}{seconds}\t0:00:07\t{seconds * 10}\t{seconds / 2}\n"
        )
    (times / "pretrain.tsv").write_text(f"{HEAD}30.25\t0:00:30\t-\tNA\n")
    (tmp_path / "images/train").mkdir(parents=True)
    (tmp_path / "images/train/00000.tar").write_bytes(bytes(2_500_000))
    (tmp_path / "images/train/00007.tar").write_bytes(bytes(9_000_000))
    return tmp_path


def test_a_rules_jobs_are_summed_and_the_longest_stage_stands_first(run):
    rows = stage_rows(run, shards={"train/00000", "train/00001", "val/00000"})
    assert [row["rule"] for row in rows] == ["pretrain", "download"]
    assert list(rows[1].values()) == ["download", 3, 20.0, 10.0, 11.0, 110, 2.5]


def test_what_was_too_short_to_be_measured_counts_nothing(run):
    row = stage_rows(run, shards=set())[0]
    assert (row["seconds"], row["CPU seconds"], row["peak memory (MB)"]) == (30.2, 0, 0)


def test_a_benchmark_file_that_is_damaged_is_named(run):
    (run / "times/pretrain.tsv").write_text(f"{HEAD}soon\t\t\t\n")
    with pytest.raises(ValueError, match=r"pretrain\.tsv is damaged"):
        stage_rows(run, shards=set())


def test_a_run_that_has_done_nothing_has_cost_nothing(tmp_path):
    assert stage_rows(tmp_path, shards=set()) == []
