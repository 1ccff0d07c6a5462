"""What a training says of itself: a line of metrics now and then, in a file, to trackers and beside a progress bar."""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import Self

import torch
from accelerate import Accelerator
from torch import Tensor

from extract.tables import naming
from extract.terminal import bar
from vilbert.model.inputs import Batch
from vilbert.training.feed import Step
from vilbert.training.metrics_file import read_metrics

PROJECT = "vilbert"  # by which trackers know it


class Meter:
    """The losses and the rate of work since the last line, of all processes.

    Args:
        loss_weights: by the names of the losses.
        count_flops: of a batch, the operations that a forward and backward pass needs; None: not logged.
        peak_tflops: of one device; None: no utilisation is logged.
        checkpoints: folder that a loss which is not finite leaves behind.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        loss_weights: dict[str, float],
        *,
        count_flops: Callable[[Batch], Tensor] | None,
        peak_tflops: float | None,
        checkpoints: Path,
    ):
        self.accelerator, self.loss_weights, self.checkpoints = accelerator, loss_weights, checkpoints
        self.count_flops, self.peak_tflops = count_flops, peak_tflops
        self._losses: Batch = {}
        self._items: Batch = {}
        self._work: Batch = {}
        self._norm = self._norms = torch.tensor(0.0)  # the last gradient's, and the sum
        self._step = 0
        self._since = time.monotonic()

    def add(self, step: Step, *, losses: Batch, gradient_norm: Tensor) -> None:
        """One step's losses, summed over their items, and the norm of its gradient, [] each, which stay on the device,
        and its work."""
        self._losses = added(self._losses, losses)
        for counts in step.counts:
            self._items = added(self._items, counts)
        self._norm, self._norms = gradient_norm.detach(), gradient_norm.detach() + self._norms.to(gradient_norm.device)
        for batch in step.on_cpu:
            self._work = added(self._work, self._work_in(batch))
        self._work |= added(self._work, {"seconds_waited": torch.tensor(step.seconds_waited)})
        self._step = step.number

    def line(self) -> dict[str, float]:
        """Losses, each the mean over all its items, and rates since the last line; a new one begins. Makes a GPU wait.

        Raises: FloatingPointError if a loss or a gradient is not finite.
        """
        totals = self._finite_totals()
        seconds = max(time.monotonic() - self._since, 1e-9)
        losses = {name: totals[name] / max(totals[f"items/{name}"], 1) for name in self._losses}
        work = {name: totals[name] for name in self._work}
        norm = float(self._norm)
        self._losses, self._items, self._work, self._since = {}, {}, {}, time.monotonic()
        self._norms = torch.zeros_like(self._norm)
        rates = {
            "grad_norm": norm,
            "loss": sum(self.loss_weights[name] * mean for name, mean in losses.items()),
            "samples_per_second": work["samples"] / seconds,
            "tokens_per_second": work["tokens"] / seconds,
            "padding_share": 1 - (work["tokens"] + work["regions"]) / work["positions"],
            "waiting_share": work["seconds_waited"] / seconds / self.accelerator.num_processes,
        }
        if self.count_flops is not None:
            rates["tflops_per_device"] = work["flops"] / seconds / self.accelerator.num_processes / 1e12
        if self.count_flops is not None and self.peak_tflops is not None:
            rates["model_flops_utilisation"] = rates["tflops_per_device"] / self.peak_tflops
        return rates | {f"loss/{name}": mean for name, mean in losses.items() if len(losses) > 1}

    def demand_finite(self) -> None:
        """Raises: FloatingPointError if a loss or a gradient since the last line is not finite."""
        self._finite_totals()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What is done inside counts in no rate."""
        start = time.monotonic()
        yield
        self._since += time.monotonic() - start

    def _finite_totals(self) -> dict[str, float]:
        """Sums over the processes, read in one go."""
        items = {f"items/{name}": count for name, count in self._items.items()}
        sums = self._losses | items | self._work | {"gradient": self._norms / self.accelerator.num_processes}
        device = self.accelerator.device
        totals = torch.stack([value.detach().double().to(device, non_blocking=True) for value in sums.values()])
        values = dict(zip(sums, self.accelerator.reduce(totals, "sum").tolist(), strict=True))
        for name, value in values.items():
            if not math.isfinite(value):
                what = "norm of the gradient" if name == "gradient" else f"loss {name}"
                raise FloatingPointError(
                    f"the {what} is {value} at step {self._step}; the last checkpoint is from before: lower "
                    f"learning_rate or raise warmup_share, and start anew with `rm -r {quote(str(self.checkpoints))}`"
                )
        return values

    def _work_in(self, batch: Batch) -> Batch:
        text, regions = batch["attention_mask"], batch["visual_attention_mask"]
        work = {
            "samples": torch.tensor(len(text)),
            "tokens": text.sum(),
            "regions": regions.sum(),
            "positions": torch.tensor(text.numel() + regions.numel()),
        }
        return work if self.count_flops is None else work | {"flops": self.count_flops(batch)}


class MetricsLog:
    """Lines of a training's metrics: in `metrics.jsonl`, to the trackers, and as a progress bar on stderr.

    Lines of steps that a resumed training takes again are dropped first.

    Args:
        trackers: by accelerate's names.
    """

    def __init__(
        self, accelerator: Accelerator, folder: Path, *, trackers: Sequence[str], steps_done: int, num_steps: int
    ):
        self.accelerator, self.path, self.trackers = accelerator, folder / "metrics.jsonl", trackers
        self.steps_done, self.num_steps = steps_done, num_steps

    def __enter__(self) -> Self:
        main = self.accelerator.is_main_process
        if main and self.path.exists():
            lines = [line for line in read_metrics(self.path) if line["step"] <= self.steps_done]
            partial = self.path.with_suffix(".partial")
            partial.write_text("".join(json.dumps(line) + "\n" for line in lines))
            partial.replace(self.path)
        folder = self.path.parent / "trackers"
        folder.mkdir(exist_ok=True)
        options = {
            "tensorboard": {"purge_step": self.steps_done + 1},
            "wandb": {"dir": str(folder), "id": run_id(self.path.parent), "resume": "allow"},
        }
        self.accelerator.init_trackers(PROJECT, init_kwargs={name: options.get(name, {}) for name in self.trackers})
        self.bar = bar(total=self.num_steps, initial=self.steps_done, is_shown=main)
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()
        self.accelerator.end_training()

    def advance(self) -> None:
        """One step is taken."""
        self.bar.update()

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """One line of metrics of a step."""
        if "loss" in metrics:
            self.bar.set_postfix(loss=f"{metrics['loss']:.3f}", refresh=False)
        if self.accelerator.is_main_process:
            with naming(self.path), self.path.open("a") as file:
                file.write(json.dumps({"step": step, **metrics}) + "\n")
        self.accelerator.log(metrics, step=step)

    def lacks_evaluation_of(self, step: int) -> bool:
        """Whether a kill came between a step's checkpoint and the end of its evaluation; the first process knows."""
        if not self.accelerator.is_main_process:
            return False
        return not any(line["step"] == step and any(name.startswith("eval/") for name in line) for line in self.lines())

    def lines(self) -> list[dict]:
        """All that were written; none where a training was killed before its first."""
        return read_metrics(self.path) if self.path.exists() else []


class Clock:
    """Tells when some minutes have passed; None: they never do."""

    def __init__(self, minutes: float | None):
        self.seconds = math.inf if minutes is None else minutes * 60
        self.restart()

    def restart(self) -> None:
        self.since = time.monotonic()

    def is_over(self) -> bool:
        return time.monotonic() - self.since >= self.seconds


def run_id(checkpoints: Path) -> str:
    """The same for all starts of one training."""
    return hashlib.sha256((checkpoints / "training.json").read_bytes()).hexdigest()[:16]


def added(totals: Batch, more: Batch) -> Batch:
    """Sums by name."""
    return {name: totals[name] + value if name in totals else value for name, value in more.items()}
