"""HF Trainer with the losses of a step averaged over the whole step, whatever the devices and micro-batches."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from vilbert.checkpoints import publish

STAGING = "staging"  # where a checkpoint lies while it is written


class VilbertTrainer(Trainer):
    """Trains any of the project's models on batches that a sampler has laid out for this process.

    Args:
        loader: of this process's micro-batches, for all steps of the training.
        loss_weights: by the names of `output.losses`.
        count_items: of a batch, how many items each loss is the mean of, by the same names.
        evaluator: model -> metrics by name.
        num_checkpoints_kept: the newest.
    """

    def __init__(
        self,
        model: nn.Module,
        arguments: TrainingArguments,
        *,
        loader: DataLoader,
        loss_weights: dict[str, float],
        count_items: Callable[[dict[str, Tensor]], dict[str, Tensor]],
        evaluator: Callable[[nn.Module], dict[str, float]],
        num_checkpoints_kept: int,
        callbacks: list[TrainerCallback],
    ) -> None:
        super().__init__(model=model, args=arguments, train_dataset=loader.dataset, callbacks=callbacks)
        self.loader, self.loss_weights, self.count_items = loader, loss_weights, count_items
        self.evaluator, self.num_checkpoints_kept = evaluator, num_checkpoints_kept
        self.model_accepts_loss_kwargs = True  # the loss is divided by the items of the step here, not by Trainer
        self._sums: dict[str, Tensor] = {}
        self._work: dict[str, int | Tensor] = {"steps": 0, "samples": 0, "tokens": 0, "positions": 0, "regions": 0}
        self._since = time.monotonic()

    def get_train_dataloader(self) -> DataLoader:
        """The loader as it is: the sampler knows the processes already."""
        return self.loader

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """Matrices decay; biases and norms do not."""
        return [name for name, parameter in model.named_parameters() if parameter.ndim > 1]

    def get_batch_samples(self, epoch_iterator: Iterator, num_batches: int, device: torch.device):
        """The micro-batches of one step, and over how many items, on all devices, each loss is averaged."""
        batches = [batch for _, batch in zip(range(num_batches), epoch_iterator, strict=False)]
        counts: dict[str, Tensor] = {}
        for batch in batches:
            for name, count in self.count_items(batch).items():
                counts[name] = counts.get(name, torch.zeros(())) + count
        if not batches:
            return batches, None
        totals = torch.stack(list(counts.values())).to(device)
        totals = self.accelerator.reduce(totals, "sum")
        return batches, dict(zip(counts, totals, strict=True))

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Weighted sum of the losses, each a share of the step's mean; x devices, as these are averaged afterwards."""
        output = model(**inputs)
        counts = self.count_items(inputs)
        loss = torch.zeros((), device=inputs["input_ids"].device)
        for name, value in output.losses.items():
            share = value * counts[name] / num_items_in_batch[name].clamp(min=1)
            self._sums[name] = self._sums.get(name, torch.zeros_like(share)) + share.detach()
            loss = loss + self.loss_weights[name] * share
        self._count_work(inputs)
        return loss * self.accelerator.num_processes

    def _count_work(self, inputs: dict[str, Tensor]) -> None:
        self._work["samples"] += len(inputs["input_ids"])
        self._work["positions"] += inputs["attention_mask"].numel() + inputs["visual_attention_mask"].numel()
        self._work["tokens"] += inputs["attention_mask"].sum()
        self._work["regions"] += inputs["visual_attention_mask"].sum()

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Trainer's log line with each loss and the rate of work since the last one.

        Raises: FloatingPointError if a loss is not finite.
        """
        if "loss" in logs:
            logs = {**logs, **self._losses_and_rates(self.state.global_step)}
        super().log(logs, start_time)

    def _losses_and_rates(self, step: int) -> dict[str, float]:
        steps = max(1, step - self._work["steps"])
        means = {name: float(self.accelerator.reduce(total, "sum")) / steps for name, total in self._sums.items()}
        seconds = max(time.monotonic() - self._since, 1e-9)
        devices = self.accelerator.num_processes
        real = float(self._work["tokens"]) + float(self._work["regions"])
        rates = {
            "loss": sum(self.loss_weights[name] * mean for name, mean in means.items()),
            "samples_per_second": self._work["samples"] * devices / seconds,
            "tokens_per_second": float(self._work["tokens"]) * devices / seconds,
            "padding_share": 1 - real / max(1, self._work["positions"]),
        }
        self._sums = {}
        self._work = {"steps": step, "samples": 0, "tokens": 0, "positions": 0, "regions": 0}
        self._since = time.monotonic()
        self._demand_finite({**means})
        return rates | {f"loss/{name}": mean for name, mean in means.items()}

    def _demand_finite(self, losses: dict[str, float]) -> None:
        for name, value in losses.items():
            if not torch.isfinite(torch.tensor(value)):
                raise FloatingPointError(
                    f"the loss {name} is {value} at step {self.state.global_step}; the last checkpoint is from before: "
                    "lower optimizer.learning_rate or raise warmup_share"
                )

    def evaluate(self, *_, **__) -> dict[str, float]:
        """The evaluator's metrics, logged as `eval/<name>`."""
        model = self.accelerator.unwrap_model(self.model)
        was_training = model.training
        with torch.inference_mode():
            metrics = {f"eval/{name}": value for name, value in self.evaluator(model.eval()).items()}
        model.train(was_training)
        self.log(dict(metrics))
        self._since = time.monotonic()
        return metrics

    def _save_checkpoint(self, model, trial=None) -> None:
        """Write beside the checkpoints, then move into place: a crash in between leaves the one before."""
        self._demand_finite({name: float(total) for name, total in self._sums.items()})
        folder = Path(str(self.args.output_dir))
        self.args.output_dir = str(folder / STAGING)
        try:
            super()._save_checkpoint(model, trial)
        except OSError as error:
            raise OSError(
                f"the checkpoint of step {self.state.global_step} could not be written to {folder}: {error}; "
                "the one before is whole: make room and start again"
            ) from error
        finally:
            self.args.output_dir = str(folder)
        self.accelerator.wait_for_everyone()
        if self.is_world_process_zero():
            staged = folder / STAGING / f"checkpoint-{self.state.global_step}"
            publish(staged, folder, num_kept=self.num_checkpoints_kept)
        self.accelerator.wait_for_everyone()


class CheckpointEveryMinutes(TrainerCallback):
    """Asks for a checkpoint when so many minutes have passed since the last, and at the end."""

    def __init__(self, minutes: float) -> None:
        self.seconds = minutes * 60
        self.since = time.monotonic()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> TrainerControl:
        is_due = torch.tensor(float(time.monotonic() - self.since >= self.seconds), device=args.device)
        if args.world_size > 1:
            torch.distributed.broadcast(is_due, src=0)
        if is_due or state.global_step >= state.max_steps:
            control.should_save = True
            self.since = time.monotonic()
        return control


class MetricsFile(TrainerCallback):
    """Every log line as a line of JSON. Lines of steps that a resume takes again are dropped first."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        if state.is_world_process_zero and self.path.exists():
            lines = [line for line in read_metrics(self.path) if line["step"] <= state.global_step]
            self.path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict | None = None,
        **_: object,
    ) -> None:
        if state.is_world_process_zero:
            with self.path.open("a") as file:
                file.write(json.dumps({"step": state.global_step, **(logs or {})}) + "\n")


def read_metrics(path: Path) -> list[dict]:
    """Lines of a metrics.jsonl; a last one that was cut off is left out."""
    lines = []
    for line in path.read_text().splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines
