import json

import pandas as pd
import pytest

from vilbert.tasks.held_out import HeldOut


class Rows:
    """Says that all of its rows are right, as a list or as a table."""

    def __init__(self, kind):
        self.kind = kind

    def predict(self, model):
        return self.kind([{"id": "a", "said": 0.9}, {"id": "b", "said": 0.8}, {"id": "c", "said": 0.7}])

    def measure(self, predictions):
        assert len(predictions) == 3
        return {"accuracy": 1.0}

    def write(self, predictions, folder, name):
        ids = (
            predictions["id"].tolist() if isinstance(predictions, pd.DataFrame) else [row["id"] for row in predictions]
        )
        (folder / name).write_text(json.dumps(ids))


@pytest.mark.parametrize("kind", [list, pd.DataFrame])
def test_a_row_without_features_has_its_line_and_counts_as_wrong(kind, tmp_path):
    held_out = HeldOut(Rows(kind), num_examples=3, unseen=[{"id": "x", "said": 0.25}, {"id": "y", "said": 0.25}])
    predictions = held_out.predict(None)
    assert held_out.measure(predictions) == {"accuracy": 3 / 5}
    held_out.write(predictions, tmp_path, "val")
    assert json.loads((tmp_path / "val").read_text()) == ["a", "b", "c", "x", "y"]


@pytest.mark.parametrize("kind", [list, pd.DataFrame])
def test_with_all_features_nothing_changes(kind):
    held_out = HeldOut(Rows(kind), num_examples=3, unseen=[])
    assert len(held_out.predict(None)) == 3
    assert held_out.measure(held_out.predict(None)) == {"accuracy": 1}


def test_a_split_without_any_features_is_an_error():
    with pytest.raises(ValueError, match="of a held-out split's 1 annotations none has features"):
        HeldOut(Rows(list), num_examples=0, unseen=[{"id": "x"}])
