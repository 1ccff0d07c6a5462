"""HF Trainer with each loss averaged over the whole step, whatever the devices and micro-batches."""

import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.utils import ModelOutput

from vilbert.model.inputs import Batch
from vilbert.training.checkpoints import publish


class VilbertTrainer(Trainer):
    """Trains any of the project's models on batches that a sampler has laid out for this process.

    Args:
        loader: of this process's micro-batches, for all steps of the training.
        loss_weights: by the names of `output.losses`; {'loss': 1} for a model that has but one.
        count_items: of a batch, how many items each loss is the mean of, by the same names.
        count_flops: of a batch, the operations that a forward and backward pass needs; None: not logged.
        peak_tflops: of one device; None: no utilisation is logged.
        evaluator: model -> metrics by name.
        checkpoints: folder that `arguments.output_dir` is the staging folder of.
        num_checkpoints_kept: the newest.
    """

    def __init__(
        self,
        model: nn.Module,
        arguments: TrainingArguments,
        *,
        loader: DataLoader,
        loss_weights: dict[str, float],
        count_items: Callable[[Batch], Batch],
        count_flops: Callable[[Batch], Tensor] | None,
        peak_tflops: float | None,
        evaluator: Callable[[nn.Module], dict[str, float]],
        checkpoints: Path,
        num_checkpoints_kept: int,
        callbacks: list[TrainerCallback],
    ):
        super().__init__(model=model, args=arguments, train_dataset=loader.dataset, callbacks=callbacks)
        self.loader, self.loss_weights, self.count_items = loader, loss_weights, count_items
        self.count_flops, self.peak_tflops = count_flops, peak_tflops
        self.evaluator, self.checkpoints, self.num_checkpoints_kept = evaluator, checkpoints, num_checkpoints_kept
        self.model_accepts_loss_kwargs = True  # the loss is divided by the items of the step here, not by Trainer
        self._losses: Batch = {}
        self._work: Batch = {}
        self._steps = 0
        self._since = time.monotonic()

    def get_train_dataloader(self) -> DataLoader:
        """The loader as it is: the sampler knows the processes already."""
        return self.loader

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """Matrices decay; biases and norms do not."""
        return [name for name, parameter in model.named_parameters() if parameter.ndim > 1]

    def floating_point_ops(self, inputs: Batch) -> int:
        """Nothing: Trainer's estimate walks through all parameters at every step; `count_flops` is exact."""
        return 0

    def get_batch_samples(self, epoch_iterator: Iterator, num_batches: int, device: torch.device):
        """The micro-batches of one step, and over how many items, on all devices, each loss is averaged."""
        batches = [batch for _, batch in zip(range(num_batches), epoch_iterator, strict=False)]
        counts: Batch = {}
        for batch in batches:
            counts = added(counts, self.count_items(batch))
        if not batches:
            return batches, None
        self._steps += 1
        totals = self.accelerator.reduce(torch.stack(list(counts.values())).to(device), "sum")
        return batches, dict(zip(counts, totals, strict=True))

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Weighted sum of the losses, each a share of the step's mean; times the devices, whose mean DDP takes."""
        output = model(**inputs)
        counts = self.count_items(inputs)
        shares = {
            name: value * (counts[name] / num_items_in_batch[name].clamp(min=1))
            for name, value in losses_of(output).items()
        }
        self._losses = added(self._losses, {name: share.detach() for name, share in shares.items()})
        self._work = added(self._work, self._work_in(inputs))
        loss = torch.stack([self.loss_weights[name] * share for name, share in shares.items()]).sum()
        return loss * self.accelerator.num_processes

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Trainer's log line, with each loss and the rate of work since the last one.

        Raises: FloatingPointError if a loss is not finite.
        """
        if "loss" in logs:
            logs = logs | self._losses_and_rates()
        super().log(logs, start_time)

    def evaluate(self, *_, **__) -> dict[str, float]:
        """The evaluator's metrics, logged as `eval/<name>`; the time that it takes counts in no rate."""
        start = time.monotonic()
        model = self.accelerator.unwrap_model(self.model)
        was_training = model.training
        with torch.inference_mode():
            metrics = {f"eval/{name}": value for name, value in self.evaluator(model.eval()).items()}
        model.train(was_training)
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self._since += time.monotonic() - start
        return metrics

    def _work_in(self, inputs: Batch) -> Batch:
        text, regions = inputs["attention_mask"], inputs["visual_attention_mask"]
        work = {
            "samples": torch.tensor(len(text), device=text.device),
            "tokens": text.sum(),
            "regions": regions.sum(),
            "positions": torch.tensor(text.numel() + regions.numel(), device=text.device),
        }
        return work if self.count_flops is None else work | {"flops": self.count_flops(inputs)}

    def _losses_and_rates(self) -> dict[str, float]:
        steps = max(1, self._steps)
        seconds = max(time.monotonic() - self._since, 1e-9)
        losses = {name: float(self.accelerator.reduce(total, "sum")) / steps for name, total in self._losses.items()}
        work = {name: float(self.accelerator.reduce(total, "sum")) for name, total in self._work.items()}
        self._losses, self._work, self._steps, self._since = {}, {}, 0, time.monotonic()
        self._demand_finite(losses)
        rates = {
            "loss": sum(self.loss_weights[name] * mean for name, mean in losses.items()),
            "samples_per_second": work["samples"] / seconds,
            "tokens_per_second": work["tokens"] / seconds,
            "padding_share": 1 - (work["tokens"] + work["regions"]) / work["positions"],
        }
        if self.count_flops is not None:
            rates["tflops_per_device"] = work["flops"] / seconds / self.accelerator.num_processes / 1e12
        if self.count_flops is not None and self.peak_tflops is not None:
            rates["model_flops_utilisation"] = rates["tflops_per_device"] / self.peak_tflops
        return rates | {f"loss/{name}": mean for name, mean in losses.items() if len(losses) > 1}

    def _demand_finite(self, losses: dict[str, float]) -> None:
        for name, value in losses.items():
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"the loss {name} is {value} at step {self.state.global_step}; the last checkpoint is from before: "
                    f"lower learning_rate or raise warmup_share, and start anew with `rm -r {self.checkpoints}`"
                )

    def _save_checkpoint(self, model, trial=None) -> None:
        """Write into staging, then move into place: a crash in between leaves the one before.

        Raises: OSError if it cannot be written; FloatingPointError instead of a checkpoint that is no use.
        """
        self._demand_finite({name: float(total) for name, total in self._losses.items()})
        try:
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if self.is_world_process_zero():
                publish(self.checkpoints, self.state.global_step, num_kept=self.num_checkpoints_kept)
        except (OSError, RuntimeError, SafetensorError) as error:  # torch.save raises RuntimeError on a full disk
            raise OSError(
                f"the checkpoint of step {self.state.global_step} could not be written to {self.checkpoints}: {error}; "
                "the one before is whole: make room and start again"
            ) from error
        self.accelerator.wait_for_everyone()


def losses_of(output: ModelOutput) -> Batch:
    """The losses of a model by name; 'loss' where it has but one."""
    losses = output.get("losses")
    return losses if losses is not None else {"loss": output["loss"]}


def added(totals: Batch, more: Batch) -> Batch:
    """Sums by name."""
    return {name: totals[name] + value if name in totals else value for name, value in more.items()}


class Schedule(TrainerCallback):
    """Asks for evaluations and checkpoints as training goes on, and for both at the end.

    Args:
        evaluation_steps, checkpoint_steps: how many from one to the next; None: at the end alone.
        checkpoint_minutes: the same in time, looked at every `clock_steps`.
    """

    def __init__(
        self,
        *,
        evaluation_steps: int | None,
        checkpoint_steps: int | None,
        checkpoint_minutes: float | None,
        clock_steps: int,
    ):
        self.evaluation_steps, self.checkpoint_steps, self.clock_steps = evaluation_steps, checkpoint_steps, clock_steps
        self.checkpoint_seconds = math.inf if checkpoint_minutes is None else checkpoint_minutes * 60
        self.since = time.monotonic()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> TrainerControl:
        is_end = state.global_step >= state.max_steps
        if is_end or is_multiple(state.global_step, self.evaluation_steps):
            control.should_evaluate = True
        if is_end or is_multiple(state.global_step, self.checkpoint_steps) or self._is_time(args, state.global_step):
            control.should_save = True
            self.since = time.monotonic()
        return control

    def _is_time(self, args: TrainingArguments, step: int) -> bool:
        """The first process's clock, or else the processes would part ways."""
        if step % self.clock_steps or math.isinf(self.checkpoint_seconds):
            return False
        is_due = torch.tensor(float(time.monotonic() - self.since >= self.checkpoint_seconds), device=args.device)
        if args.world_size > 1:
            torch.distributed.broadcast(is_due, src=0)
        return bool(is_due)


def is_multiple(step: int, interval: int | None) -> bool:
    return interval is not None and step % interval == 0


class MetricsFile(TrainerCallback):
    """Every log line as a line of JSON. Lines of steps that a resume takes again are dropped first."""

    def __init__(self, path: Path):
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
        logs: dict[str, float] | None = None,
        **_: object,
    ) -> None:
        # 'epoch' is Trainer's, to which a training is one long epoch
        metrics = {name: value for name, value in (logs or {}).items() if name != "epoch"}
        is_summary = "train_runtime" in metrics
        if state.is_world_process_zero and not is_summary:
            with self.path.open("a") as file:
                file.write(json.dumps({"step": state.global_step, **metrics}) + "\n")


def read_metrics(path: Path) -> list[dict]:
    """Lines of a metrics.jsonl; a last one that was cut off is left out."""
    lines = []
    for line in path.read_text().splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines
