import csv

import pytest

from extract.cleaning.score import main, score_cleaning
from extract.tables import PAIRS, write_table

PLANTED = {"r0": "dead_url", "r1": "dead_url", "r2": "dead_url", "r3": "tiny_image", "r4": "wrong_caption"}
DROPPED = {"r0": "http_404", "r1": "http_404", "r3": "too_small", "r5": "too_small", "r6": "url"}
KEPT = {"r2", "r4", "r7"}


def test_recall_and_precision_by_hand():
    rows = {row["kind"]: row for row in score_cleaning(planted=PLANTED, kept=KEPT, dropped=DROPPED)}
    dead, tiny, wrong, other, everything = (
        rows[kind] for kind in ("dead_url", "tiny_image", "wrong_caption", "not planted", "all")
    )
    assert (dead["planted"], dead["caught"], dead["recall"], dead["precision"]) == (3, 2, "0.6667", "1.0000")
    assert (tiny["recall"], tiny["precision"], tiny["reasons"]) == ("1.0000", "0.5000", "too_small:1")
    assert (wrong["caught"], wrong["recall"], wrong["precision"]) == (0, "0.0000", "")
    assert (other["caught"], other["reasons"]) == (2, "too_small:1 url:1")
    assert (everything["planted"], everything["caught"]) == (5, 3)
    assert (everything["recall"], everything["precision"]) == ("0.6000", "0.6000")


def test_a_planted_row_that_is_nowhere_is_an_error():
    with pytest.raises(ValueError, match="1 rows of the key are in neither table, such as 'r2'"):
        score_cleaning(planted=PLANTED, kept={"r4"}, dropped=DROPPED)


def test_nothing_dropped_has_no_precision():
    rows = score_cleaning(planted=PLANTED, kept=KEPT | set(DROPPED), dropped={})
    assert (rows[-1]["recall"], rows[-1]["precision"]) == ("0.0000", "")


def test_the_table_is_written_and_printed(tmp_path, capsys):
    (tmp_path / "key.csv").write_text("key,kind,detail\n" + "".join(f"{k},{v},x\n" for k, v in PLANTED.items()))
    write_table(tmp_path / "pairs.parquet", [{"key": key} for key in sorted(KEPT)], PAIRS)
    write_table(tmp_path / "dropped.parquet", [{"key": key, "reason": r} for key, r in DROPPED.items()], PAIRS)
    main(*(tmp_path / name for name in ("key.csv", "pairs.parquet", "dropped.parquet", "score.csv")))
    with (tmp_path / "score.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["kind"] for row in rows] == ["dead_url", "tiny_image", "wrong_caption", "not planted", "all"]
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 6
    assert printed[0].split() == ["kind", "planted", "caught", "recall", "precision", "reasons"]
