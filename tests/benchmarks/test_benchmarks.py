"""That the benchmarks run; no time is looked at."""

import os
import re
import subprocess
import sys

import pytest
import torch
from places import ROOT

from benchmarks import gpu_regions
from benchmarks.__main__ import ON_CPU, Name
from benchmarks.clock import cpu_time
from benchmarks.gpu.machine import Machine, Row
from benchmarks.gpu.report import run_sections
from benchmarks.report import report


def timing(way: str, *milliseconds: float) -> list[dict]:
    """Turns of a way of doing 7 things."""
    return [
        {
            "group": "reading",
            "options": {"timer": "cpu_time"},
            "extra_info": {"way": way, "count": 7, "unit": "records"},
            "stats": {"median": 7 * each / 1000},
        }
        for each in milliseconds
    ]


MACHINE = {
    "datetime": "2026-11-26T17:00:00+00:00",
    "machine_info": {
        "cpu": {"brand_raw": "A(R) Processor", "count": 3},
        "memory_gib": 11.2,
        "gpu": "none",
        "system": "Linux",
        "release": "6.1",
        "python_version": "3.11.7",
        "torch": "2.12.1",
        "threads": 1,
        "load": 0.5,
        "quick": False,
    },
    "commit_info": {"id": "0123456789abcdef", "dirty": False},
}


def test_the_clock_counts_what_other_processes_did():
    before = cpu_time()
    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.3: pass"], check=True)
    assert cpu_time() - before >= 0.3


@pytest.mark.slow
def test_a_benchmark_runs_and_its_table_names_the_hardware(tmp_path):
    printed = quickly("store", "--save", str(tmp_path))
    assert re.search(r"^- hardware: .+, \d+ cores, \d+ GiB; GPU: .+$", printed, flags=re.MULTILINE)
    assert re.search(r"^\| feature store +\| our store +\| [\d,.]+ records/CPU-s +\|", printed, flags=re.MULTILINE)
    (saved,) = tmp_path.iterdir()
    assert saved.read_text().removeprefix("# Benchmarks\n\n") in printed


@pytest.mark.slow
def test_all_others_run():
    printed = quickly(*(name for name in ON_CPU if name != Name.store))
    assert {"images/CPU-s", "pairs/CPU-s"} <= set(printed.split())


@pytest.mark.slow
def test_what_a_gpu_is_measured_by_runs_on_a_cpu(tmp_path):
    printed = quickly("gpu", "--all", "--save", str(tmp_path))
    for what in (
        "matrix product",
        "step alone",
        "pretraining, the command",
        "retrieval scores, base model",
        "regions, 60 boxes",
    ):
        assert f"| {what}" in printed
    assert any(path.read_text().endswith(printed) for path in tmp_path.glob("*.md"))


@pytest.mark.slow
def test_what_regions_are_measured_by_runs_on_a_cpu():
    command = [sys.executable, "-m", "benchmarks.gpu_regions", "--quick"]
    printed = subprocess.check_output(command, text=True, cwd=ROOT)
    for what in ("stage: cold, ", "stage: warm, ", *(f"{dtype}: detector alone " for dtype in gpu_regions.DTYPES)):
        assert f"\n{what}" in printed
    assert "float32: proposals " in printed
    assert "bfloat16, cosine of features to float32" in printed


@pytest.mark.slow
def test_a_section_that_fails_or_is_killed_by_its_limit_leaves_the_others(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(ROOT)
    commands = {name: [name, str(tmp_path), "--quick"] for name in ("none of them", "float32")} | {"help": ["--help"]}
    failed = gpu_regions.run_apart(commands, limits={"none of them": 300, "float32": 0.1, "help": 300})
    assert failed == ["none of them", "float32"]
    printed = capfd.readouterr().out
    assert "float32: killed after 0.1 s, its limit\n" in printed
    assert "Usage: " in printed


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so():
    done = subprocess.run([sys.executable, "-m", "benchmarks", "gpu"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr.startswith("error: there is no CUDA GPU to measure")


def test_what_would_end_too_late_is_left_out_and_named(tmp_path, capsys):
    def measure(machine):
        yield Row("a product", "bfloat16", "7 TFLOP/s")

    machine = Machine(torch.device("cpu"), quick=True, folder=tmp_path)
    assert run_sections(machine, {"peaks": measure}, latest=60) == ([Row("a product", "bfloat16", "7 TFLOP/s")], [])
    assert run_sections(machine, {"peaks": measure}, latest=-1) == ([], ["peaks"])
    assert "LEFT OUT: peaks, with --all" in capsys.readouterr().err


def quickly(*arguments: str) -> str:
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    command = [sys.executable, "-m", "benchmarks", "--quick", *arguments]
    return subprocess.check_output(command, text=True, cwd=ROOT, env=alone)


def test_ratios_are_of_turns_side_by_side():
    """The machine slows down to a half in the second of three turns, for both ways."""
    text = report(MACHINE | {"benchmarks": [*timing("ours", 2, 4, 2), *timing("theirs", 6, 12, 6.2)]})
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    assert cells[2:] == [
        ["reading", "ours", "500 records/CPU-s", "2.00 (2.00 to 4.00)", "3.00 (3.00 to 3.10)"],
        ["reading", "theirs", "161 records/CPU-s", "6.20 (6.00 to 12.0)", "1"],
    ]


def test_the_machine_comes_first():
    text = report(MACHINE | {"benchmarks": timing("ours", 2)})
    assert text.splitlines()[:2] == [
        "- 2026-11-26, commit 0123456789ab",
        "- hardware: A(R) Processor, 3 cores, 11 GiB; GPU: none",
    ]
