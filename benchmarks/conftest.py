"""pytest-benchmark, with turns: ways are timed one after the other, then all again.

What slows the machine for a while so slows all of them.
"""

import os

import pytest
import torch

from benchmarks.clock import Clock

NUM_TURNS = 5


def pytest_addoption(parser):
    parser.addoption("--quick", action="store_true", help="the smallest sizes, once")


def pytest_generate_tests(metafunc):
    metafunc.parametrize("turn", range(1 if metafunc.config.getoption("quick") else NUM_TURNS))


def pytest_benchmark_update_machine_info(config, machine_info):
    machine_info |= {
        "quick": config.getoption("quick"),
        "memory_gib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[2],
    }


@pytest.fixture(scope="session")
def quick(request) -> bool:
    """Whether the smallest sizes will do."""
    return request.config.getoption("quick")


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def clock(benchmark, turn, quick) -> Clock:
    return Clock(benchmark, num_warmups=1 if turn == 0 and not quick else 0)
