"""What a user reads where a GPU's memory does not suffice."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def enough_memory(remedy: str) -> Iterator[None]:
    """Raises: ValueError that ends with the remedy, if a GPU's memory is too small for what is done inside."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ValueError(f"the GPU's memory is too small: {remedy}") from error
