import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from places import ROOT

WORKFLOW = ROOT / "tests/workflow"


@pytest.fixture
def at_most() -> Callable[..., AbstractContextManager[None]]:
    """A function from seconds to a block that ends in an error after them, if it has not ended by itself."""

    @contextmanager
    def block(*, seconds: int) -> Iterator[None]:
        def too_long(*_: object) -> None:
            raise TimeoutError(f"not done after {seconds} s")

        signal.signal(signal.SIGALRM, too_long)
        signal.alarm(seconds)
        try:
            yield
        finally:
            signal.alarm(0)

    return block


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The workflow's tests first: they are the longest, and of two processes the other would wait for them."""
    items.sort(key=lambda item: WORKFLOW not in item.path.parents)


@pytest.fixture
def largest_file() -> Callable[[int], AbstractContextManager[None]]:
    """A function from bytes to a block in which no file may grow beyond them, as if the disk were full."""

    @contextmanager
    def block(num_bytes: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return block
