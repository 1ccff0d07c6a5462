"""A held-out split of which some rows have no features: they are answered alike, and counted as wrong."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import pandas as pd
from torch import nn


class MeasuredData(Protocol):
    """A task's data set, whose predictions are a list, or a table, with a row an example."""

    def predict(self, model: nn.Module) -> Any: ...

    def measure(self, predictions: Any) -> dict[str, float]: ...

    def write(self, predictions: Any, folder: Path, name: str) -> None: ...


DataT = TypeVar("DataT", bound=MeasuredData)


class HeldOut(Generic[DataT]):
    """A data set and the rows beside it that no model sees.

    Args:
        data: the examples with features.
        num_examples: in `data`.
        unseen: predictions of the others, so that a leaderboard takes the file.
    Raises: ValueError if there is nothing to measure.
    """

    def __init__(self, data: DataT, *, num_examples: int, unseen: Sequence[dict]):
        if not num_examples:
            raise ValueError(f"of a held-out split's {len(unseen)} annotations none has features")
        self.data, self.unseen = data, list(unseen)
        self.num_seen, self.num_examples = num_examples, num_examples + len(unseen)

    def predict(self, model: nn.Module) -> Any:
        """Those of the data set, then the others."""
        predictions = self.data.predict(model)
        if isinstance(predictions, pd.DataFrame) and self.unseen:
            return pd.concat([predictions, pd.DataFrame(self.unseen)], ignore_index=True)
        return predictions + self.unseen if self.unseen else predictions

    def measure(self, predictions: Any) -> dict[str, float]:
        """The data set's measures over all rows."""
        return self.over_all(self.data.measure(predictions[: self.num_seen]))

    def over_all(self, values: dict[str, float]) -> dict[str, float]:
        """Means over the data set as means over all rows, those without features being 0."""
        return {name: value * self.num_seen / self.num_examples for name, value in values.items()}

    def write(self, predictions: Any, folder: Path, name: str) -> None:
        """All rows, as the data set writes them."""
        self.data.write(predictions, folder, name)
