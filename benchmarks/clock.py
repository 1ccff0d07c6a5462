"""What every benchmark is timed with."""

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pytest_benchmark.fixture import BenchmarkFixture

Result = TypeVar("Result")


def cpu_time() -> float:
    """CPU seconds of this process, and of those that it started and that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


@dataclass(frozen=True)
class Clock:
    """One turn of one way of doing a thing."""

    benchmark: BenchmarkFixture
    num_warmups: int

    def __call__(self, work: Callable[[], Result], *, what: str, way: str = "", count: int, unit: str) -> Result:
        """Time `work`, which handles `count` of `unit`. The way that is last in its file is the others' baseline."""
        self.benchmark.group = what
        self.benchmark.extra_info.update(way=way, count=count, unit=unit)
        return self.benchmark.pedantic(work, warmup_rounds=self.num_warmups)
