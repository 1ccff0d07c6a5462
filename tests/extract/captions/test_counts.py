from pathlib import Path

from extract.captions.counts import main, read_repeats, read_word_counts
from extract.tables import ROWS, write_table


def write_rows(path: Path, captions: list[str | None]) -> Path:
    write_table(path, [{"key": f"train-{i:08d}", "url": "u", "caption": c} for i, c in enumerate(captions)], ROWS)
    return path


def test_captions_and_words_are_counted_over_all_tables_of_a_split(tmp_path):
    tables = [
        write_rows(tmp_path / "0.parquet", ["A red circle .", "a blue square", None, "red , red"]),
        write_rows(tmp_path / "1.parquet", ["a red circle", "a  RED circle !"]),
    ]
    main(tmp_path / "captions.parquet", tmp_path / "words.parquet", tables)
    assert read_repeats(tmp_path / "captions.parquet") == {"a red circle": 3}
    counts = read_word_counts(tmp_path / "words.parquet")
    assert counts == {"": 5, "a": 4, "red": 4, "circle": 3, "blue": 1, "square": 1}


def test_equal_rows_give_equal_bytes(tmp_path):
    table = write_rows(tmp_path / "0.parquet", ["one two three", "three two one", "one two three"])
    outputs = [[tmp_path / f"{run}{name}.parquet" for name in ("captions", "words")] for run in (1, 2)]
    for captions, words in outputs:
        main(captions, words, [table])
    assert [path.read_bytes() for path in outputs[0]] == [path.read_bytes() for path in outputs[1]]
