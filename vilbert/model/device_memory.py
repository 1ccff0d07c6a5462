"""What a user reads where a GPU's memory does not suffice."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

Item = TypeVar("Item")


@contextmanager
def enough_memory(remedy: str) -> Iterator[None]:
    """Raises: ValueError that ends with the remedy, if a GPU's memory is too small for what is done inside."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ValueError(f"the GPU's memory is too small: {remedy}") from error


def each_in_memory(items: Iterable[Item], remedy: str) -> Iterator[Item]:
    """The same items. Raises: ValueError likewise, if a GPU's memory is too small for the making of one."""
    with enough_memory(remedy):
        yield from items
