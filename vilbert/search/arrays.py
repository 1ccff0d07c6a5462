"""Arrays on a disk, whole or not there, and named where they are damaged."""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from extract.tables import reading, whole_file

DAMAGE = (EOFError, KeyError, zipfile.BadZipFile, zlib.error)  # what numpy raises besides ValueError and OSError


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """An .npz."""
    with whole_file(path) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """What `write_arrays` wrote.

    Raises: FileNotFoundError; ValueError for a file that is cut off or damaged.
    """
    with reading(path):
        try:
            with path.open("rb") as file, np.load(file) as kept:
                return dict(kept)
        except DAMAGE as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error
