import csv
import json

from vilbert.tasks.results import main


def test_each_measure_of_each_task_is_a_row_with_what_it_is_read_against(tmp_path):
    row = {"split": "val", "measure": "accuracy", "value": 0.123456, "chance": 0.25, "blind": None}
    row |= {"no_text": 0.5, "rule": None, "ceiling": 1.0, "num_examples": 7, "num_dropped": 2}
    paths = [tmp_path / task / "baselines.json" for task in ("vqa", "refcoco")]
    for path, rows in zip(paths, ([row], [row, row | {"split": "testA"}]), strict=True):
        path.parent.mkdir()
        path.write_text(json.dumps(rows))
    main(paths, tmp_path / "table.csv")
    with (tmp_path / "table.csv").open() as file:
        head, *table = csv.reader(file)
    assert head == ["task", *row]
    assert [line[:2] for line in table] == [["vqa", "val"], ["refcoco", "val"], ["refcoco", "testA"]]
    assert table[0][2:] == ["accuracy", "0.1235", "0.25", "", "0.5", "", "1.0", "7", "2"]
