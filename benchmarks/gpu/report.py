"""All sections, one after another, and what they found."""

import gc
import math
import platform
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import date
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.gpu.attention import measure_attention
from benchmarks.gpu.machine import Machine, Row
from benchmarks.gpu.peaks import measure_peaks
from benchmarks.gpu.product import measure_product
from benchmarks.gpu.regions import measure_regions
from benchmarks.gpu.scores import measure_scores
from benchmarks.gpu.step import Way, measure_step
from benchmarks.report import table

Section = Callable[[Machine], Iterator[Row]]
SECTIONS: dict[str, Section] = {  # some 220 s on an H100, as far as they were measured
    "peaks": measure_peaks,
    f"step, {Way.compiled.value}": partial(measure_step, way=Way.compiled),
    "product": measure_product,
    "scores": measure_scores,
    "regions": measure_regions,
}
MORE: dict[str, Section] = {
    "attention": measure_attention,
    **{f"step, {way.value}": partial(measure_step, way=way) for way in Way if way is not Way.compiled},
}
LATEST = 180  # seconds, after which no section begins: the last takes some 55


def main(*, quick: bool, is_whole: bool, save: Path | None) -> None:
    """Print the report, in less than four minutes unless it is to be whole; with `save`, keep it there, and where the
    time of each step goes.

    Raises: SystemExit if there is no GPU, unless `quick`, or a section failed or was left out.
    """
    if not (torch.cuda.is_available() or quick):
        raise SystemExit("error: there is no CUDA GPU to measure; --quick sees on a CPU that the sections run")
    with TemporaryDirectory() as folder:
        machine = Machine(torch.device("cuda" if torch.cuda.is_available() else "cpu"), quick, Path(folder))
        sections = SECTIONS | (MORE if is_whole else {})
        rows, failed = run_sections(machine, sections, latest=math.inf if quick or is_whole else LATEST)
        text = "\n".join([*described(machine), "", *table([Row._fields, tuple("---" for _ in Row._fields), *rows])])
        print(text, flush=True)
        if save is not None:
            keep(save, machine, text)
    if failed:
        raise SystemExit(f"error: {', '.join(failed)} failed; the report holds what was measured before and after")


def run_sections(machine: Machine, sections: dict[str, Section], *, latest: float) -> tuple[list[Row], list[str]]:
    """Rows of all sections, and the names of those that failed; what follows them runs all the same.

    Args:
        latest: seconds from the start, after which none begins; it has failed.
    """
    rows, failed, start = [], [], time.monotonic()
    for name, section in sections.items():
        say(start, name)
        if time.monotonic() - start > latest:
            say(start, f"LEFT OUT: {name}, with --all it takes the time that it needs")
            failed.append(name)
            continue
        try:
            for row in section(machine):
                say(start, f"{row.what}, {row.way}: {row.figure}")
                rows.append(row)
        except Exception:
            traceback.print_exc()
            say(start, f"FAILED: {name}")
            failed.append(name)
        gc.collect()  # of models that are in circles
        if machine.device.type == "cuda":
            torch.cuda.empty_cache()
    return rows, failed


def say(start: float, what: str) -> None:
    print(f"[{time.monotonic() - start:6.1f} s] {what}", file=sys.stderr, flush=True)


def described(machine: Machine) -> list[str]:
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    sizes = ["- the smallest sizes, once: these run, and their times say nothing"] if machine.quick else []
    return [
        *sizes,
        f"- {date.today()}, commit {commit.stdout.strip() or 'unknown'}",
        f"- hardware: {machine.name}",
        f"- {platform.system()} {platform.release()}, Python {platform.python_version()}, torch {torch.__version__}",
    ]


def keep(folder: Path, machine: Machine, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{date.today()}-{re.sub(r'[^a-z0-9]+', '-', machine.name.lower())}"
    (folder / f"{stem}.md").write_text(f"# Benchmarks of a GPU\n\n{text}\n")
    for way, profile in machine.profiles.items():
        (folder / f"{stem}-profile-{way.replace(' ', '-')}.txt").write_text(profile)
