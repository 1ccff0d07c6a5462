"""Runs benchmarks on one thread and prints what each way of doing a thing costs, and on which machine.

`python -m benchmarks` runs all that a CPU does, `python -m benchmarks store selection` two, `python -m benchmarks gpu`
what a GPU does in less than four minutes, `--quick` sees only that they run.
"""

import json
import os
from enum import StrEnum, auto
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import pytest
import typer

from benchmarks.report import file_name, report
from extract.command import run

FOLDER = Path(__file__).parent


class Name(StrEnum):
    """A file of this folder each."""

    store = auto()
    selection = auto()
    download = auto()
    retrieval = auto()
    pretraining = auto()
    search = auto()
    gpu = auto()  # a folder, which has a clock of its own


ON_CPU: list[Name] = [name for name in Name if name != Name.gpu]


def main(
    names: Annotated[list[Name] | None, typer.Argument(help="none: all but gpu")] = None,
    *,
    quick: Annotated[bool, typer.Option("--quick", help="the smallest sizes, once: sees that they run")] = False,
    is_whole: Annotated[bool, typer.Option("--all", help="of gpu: attention too, and all ways of a step")] = False,
    wall: Annotated[bool, typer.Option("--wall", help="wall seconds in place of CPU seconds")] = False,
    save: Annotated[Path | None, typer.Option(help="folder for the report, <date>-<cpu>.md", file_okay=False)] = None,
) -> None:
    """Time the ways of doing a thing against each other."""
    if names and Name.gpu in names:
        if len(names) > 1:
            raise ValueError(f"gpu is measured by itself, got {' '.join(names)}")
        from benchmarks.gpu.report import main as measure_gpu  # torch is not needed for the others' names

        measure_gpu(quick=quick, is_whole=is_whole, save=save)
        return
    if is_whole:
        raise ValueError("--all is of gpu alone")
    timings = measure(names or ON_CPU, quick=quick, timer="time.perf_counter" if wall else "benchmarks.clock.cpu_time")
    text = report(timings)
    print(text)
    if save is not None:
        save.mkdir(parents=True, exist_ok=True)
        (save / file_name(timings)).write_text(f"# Benchmarks\n\n{text}\n")


def measure(names: list[Name], *, quick: bool, timer: str) -> dict:
    """pytest-benchmark's JSON: timings, machine, commit.

    Raises: SystemExit if a benchmark fails, or a way has another result than the one it is measured against.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    with TemporaryDirectory() as folder:
        path = Path(folder) / "timings.json"
        options = ["--quiet", "-p", "no:cacheprovider", "-o", "python_functions=bench_*", f"--basetemp={folder}/files"]
        clock = [f"--benchmark-json={path}", f"--benchmark-timer={timer}", "--benchmark-quiet"]
        files = [str(FOLDER / f"{name}.py") for name in names]
        if status := pytest.main([*options, *clock, *(["--quick"] if quick else []), *files]):
            raise SystemExit(int(status))
        return json.loads(path.read_text())


if __name__ == "__main__":
    run(main)
