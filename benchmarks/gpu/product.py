"""Pretraining as the command runs it, from its start: its own lines of metrics, and when the first of them came."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.gpu import pairs
from benchmarks.gpu.machine import Machine, Row
from vilbert.training.metrics_file import read_metrics

# Lines: the first of one step, the others of ten. By the first half, every width has been compiled.
NUM_LINES, NUM_MEASURED = 24, 12
MOST_SECONDS = 110
MOST_WORKERS = 12


def measure_product(machine: Machine) -> Iterator[Row]:
    """Raises: RuntimeError if the command ends by itself, or is too slow."""
    model, settings, runtime = pairs.settings(machine)
    tokens, tokenizer, store = pairs.files(machine)
    num_workers = 0 if machine.quick else min(MOST_WORKERS, max(1, (os.cpu_count() or 1) - 2))
    runtime = runtime.model_copy(update={"num_workers": num_workers, "peak_tflops": machine.peak_tflops})
    folder = machine.folder / "product"
    folder.mkdir()
    outputs = [folder / name for name in ("model", "metrics.jsonl", "curves.svg", "baselines.json")]
    command = [sys.executable, "-m", "vilbert.pretraining.pretrain", tokens, tokenizer, store, *outputs]
    command += ["--checkpoints", folder / "checkpoints", "--earlier", folder / "earlier"]
    command += ["--model", model.model_dump_json(), "--settings", settings.model_dump_json()]
    command += ["--runtime", runtime.model_dump_json()]
    num_lines, num_measured = (3, 1) if machine.quick else (NUM_LINES, NUM_MEASURED)
    to_first, lines = run_until(command, folder / "checkpoints/metrics.jsonl", num_lines=num_lines)
    measured = lines[-num_measured:]
    batch_size = settings.optimizer.batch_size
    seconds = sum(batch_size / line["samples_per_second"] for line in measured) / num_measured  # a step
    waiting = sum(line["waiting_share"] * batch_size / line["samples_per_second"] for line in measured) / num_measured
    tflops = sum(line["tflops_per_device"] * batch_size / line["samples_per_second"] for line in measured)
    what, way = "pretraining, the command", f"{num_workers} workers"
    yield Row(what, way, f"{to_first:.1f} s from its start to the first line, of one step")
    yield Row(what, way, f"{batch_size / seconds:,.0f} pairs/s, {1000 * seconds:.1f} ms a step")
    yield Row(what, way, machine.shares(tflops / num_measured / seconds))
    yield Row(what, way, f"{1000 * waiting:.2f} ms of a step it waits for data")


def run_until(command: list, metrics: Path, *, num_lines: int) -> tuple[float, list[dict]]:
    """Seconds until a training's first line, and its lines when there are so many, at which it is killed."""
    start, to_first = time.monotonic(), None
    log = metrics.parents[1] / "log.txt"
    with log.open("w") as file:
        process = subprocess.Popen([*map(str, command)], stdout=file, stderr=file, start_new_session=True)
        try:
            while True:
                lines = read_metrics(metrics) if metrics.exists() else []
                if lines and to_first is None:
                    to_first = time.monotonic() - start
                if len(lines) >= num_lines and to_first is not None:
                    return to_first, lines
                if process.poll() is not None or time.monotonic() - start > MOST_SECONDS:
                    said = log.read_text()[-3000:]
                    raise RuntimeError(
                        f"pretraining made {len(lines)} lines in {time.monotonic() - start:.0f} s, expected "
                        f"{num_lines}; the last is {json.dumps(lines[-1]) if lines else 'none'}; it said:\n{said}"
                    )
                time.sleep(0.05)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
