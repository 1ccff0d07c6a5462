from vilbert.baselines.rows import COLUMNS, Baselines, read_rows, write_rows


def baselines(**changed):
    values = {"accuracy": 0.25}
    given = {"chance": values, "blind": values, "no_text": {}, "rule": {}, "ceiling": {"accuracy": 1.0}}
    return Baselines(**given | changed, num_examples=7, num_dropped=2)


def test_a_row_has_the_measure_and_all_it_is_read_against(tmp_path):
    rows = baselines().rows("val", {"accuracy": 0.5, "upper_bound": 0.75})
    assert [list(row) for row in rows] == [COLUMNS]
    expected = ["val", "accuracy", 0.5, 0.25, 0.25, None, None, 1.0, 7, 2]
    assert list(rows[0].values()) == expected
    write_rows(tmp_path / "baselines.json", rows)
    assert read_rows(tmp_path / "baselines.json") == rows
