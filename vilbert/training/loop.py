"""One training from top to bottom: batches, forward, losses, backward, clip, step; log, evaluate, checkpoint."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.utils.data import Dataset
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from vilbert.batches.sampling import Draw
from vilbert.model.device_memory import each_in_memory, enough_memory
from vilbert.model.inputs import Batch
from vilbert.settings import OptimizerSettings, RuntimeSettings
from vilbert.training.checkpoints import demand_shared, drop_half_written, restore_newest, write_checkpoint
from vilbert.training.devices import (
    anywhere,
    compile_layers,
    compiles,
    has_graphs,
    make_accelerator,
    uncompiled,
    whole_model,
    whole_tensor,
)
from vilbert.training.feed import Step, arrived, make_sampler, one_ahead, steps_of
from vilbert.training.folder import TrainingFolder
from vilbert.training.interruption import Interruption
from vilbert.training.metrics import Clock, Meter, MetricsLog, added
from vilbert.training.precision import dtype_of_training

NUM_TIMED = 8  # examples
STEPS_TO_AGREE = 10  # so many until several processes look together at the clock, and whether to stop


def train(
    model: PreTrainedModel,
    dataset: Dataset,
    *,
    lengths: np.ndarray,
    optimizer: OptimizerSettings,
    runtime: RuntimeSettings,
    seed: int,
    folder: TrainingFolder,
    loss_weights: dict[str, float],
    count_items: Callable[[Batch], Batch],
    expected_items: dict[str, float],
    count_flops: Callable[[Batch], Tensor] | None,
    evaluator: Callable[[nn.Module], dict[str, float]],
    evaluation_steps: int | None,
    has_unused_parameters: bool = False,
) -> tuple[PreTrainedModel, list[dict]]:
    """Train to the end, from the last checkpoint if there is one; gives the model and the lines of its metrics.

    On SIGTERM, which schedulers send before they kill, it writes a checkpoint and ends the process. The first step's
    inputs are checked, and it is logged at once. After it none waits for a GPU: losses are read back every
    `runtime.log_every_steps`, and the next step's batches are made and copied while this one runs. With
    `runtime.compile`, give batches of few widths.

    Args:
        dataset: its `__getitems__` takes the draws of a batch and gives the batch.
        lengths: [N] or [N, 2], of its examples: tokens, or tokens and regions; batches are bucketed by them.
        folder: its own; an unfinished training of another identity in it is refused, one that has ended set aside.
        loss_weights: by the names of `output.losses`; {'loss': 1} for a model that has but one.
        count_items: of a batch, how many items each loss is the mean of, by the same names.
        expected_items: how many an example has on average, over the whole data set, by the same names.
        count_flops: of a batch, the operations that a forward and backward pass needs; None: not logged.
        evaluator: model -> metrics by name; every process calls it, and may do a share of the work. Behind a checkpoint
            and before the next step's batches are made, so what they are made of may change with it.
        evaluation_steps: from one evaluation to the next; None: at the end alone.
        has_unused_parameters: some weights get no gradient, which DDP has to look for.
    Raises: ValueError for checkpoints of another training, batches that do not divide, FSDP without a GPU, bfloat16 on
        a GPU that has none, too little memory on it, or a folder that another process has taken; FloatingPointError for
        a loss that is not finite; OSError where a checkpoint cannot be written or read, or a node does not see the
        folder. The last good checkpoint stays.
    """
    checkpoints = folder.path
    dtype = dtype_of_training(runtime, folder, model=model, few_examples=lambda: few_examples(dataset, len(lengths)))
    accelerator = make_accelerator(runtime, checkpoints, dtype=dtype, has_unused_parameters=has_unused_parameters)
    if accelerator.is_main_process:
        folder.claim(num_earlier_kept=runtime.num_earlier_kept)
        folder.keep_dtype(dtype)
        drop_half_written(checkpoints)
    accelerator.wait_for_everyone()
    demand_shared(accelerator, checkpoints)
    set_seed(seed, device_specific=True)
    if runtime.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    if compiles(runtime):
        compile_layers(model, has_graphs=has_graphs(runtime))
    with enough_memory("it does not hold the weights and the optimizer; take a smaller model, or runtime.fsdp"):
        network, weights = accelerator.prepare(model, make_optimizer(model, optimizer))
        steps_done = restore_newest(accelerator, checkpoints)

    sampler = make_sampler(accelerator, lengths, optimizer=optimizer, runtime=runtime, seed=seed, first_step=steps_done)
    num_steps = sampler.num_steps
    num_at_once = optimizer.batch_size // (accelerator.num_processes * sampler.accumulation)
    steps = steps_of(dataset, sampler, runtime=runtime, device=accelerator.device, count_items=count_items)
    meter = Meter(
        accelerator, loss_weights, count_flops=count_flops, peak_tflops=runtime.peak_tflops, checkpoints=checkpoints
    )
    log = MetricsLog(accelerator, checkpoints, trackers=runtime.trackers, steps_done=steps_done, num_steps=num_steps)
    clock = Clock(runtime.checkpoint_minutes)
    trunk: Any = model.base_model
    scales = loss_scales(loss_weights, expected_items, batch_size=optimizer.batch_size)

    def is_evaluated(step: int) -> bool:
        return step == num_steps or is_multiple(step, evaluation_steps)

    def evaluate_at(step: int, network: nn.Module) -> None:
        with meter.paused(), stop.at_once(f"SIGTERM in the evaluation of step {step}; {remedy(checkpoints)}"):
            metrics = evaluate(accelerator, network, evaluator)
            folder.demand()
            log.write(step, metrics)

    with log, Interruption() as stop:
        if steps_done and is_evaluated(steps_done) and anywhere(accelerator, log.lacks_evaluation_of(steps_done)):
            evaluate_at(steps_done, network)
        network.train()
        ahead = one_ahead(steps, is_pause=lambda step: is_evaluated(step.number))
        for step in map(arrived, each_in_memory(ahead, what_to_lower(num_at_once))):
            learning_rate = learning_rate_at(step.number, num_steps, optimizer)
            with enough_memory(what_to_lower(num_at_once)):
                losses, gradient_norm = take_step(
                    accelerator,
                    network,
                    weights,
                    step,
                    scales=scales,
                    learning_rate=learning_rate,
                    max_gradient_norm=optimizer.max_gradient_norm,
                )
            trunk.checks_values = False
            meter.add(step, losses=losses, gradient_norm=gradient_norm)
            log.advance()

            is_end = step.number == num_steps
            is_read = step.number == 1 or is_end or is_multiple(step.number, runtime.log_every_steps)
            if is_read:
                folder.demand()
                log.write(step.number, meter.line() | {"learning_rate": learning_rate})
            # Several processes have to agree, and to ask makes a GPU wait: now and then.
            is_asked = accelerator.num_processes == 1 or is_multiple(step.number, STEPS_TO_AGREE)
            must_stop = is_asked and anywhere(accelerator, stop.is_asked)
            is_due = is_asked and anywhere(accelerator, accelerator.is_main_process and clock.is_over())
            must_evaluate = is_evaluated(step.number)  # which may take long: not without a checkpoint
            if must_evaluate or must_stop or is_due or is_multiple(step.number, runtime.checkpoint_steps):
                meter.demand_finite()
                folder.demand()
                write_checkpoint(accelerator, checkpoints, step.number, num_kept=runtime.num_checkpoints_kept)
                clock.restart()
            if must_stop:
                raise SystemExit(f"SIGTERM at step {step.number} of {num_steps}; {remedy(checkpoints)}")
            if must_evaluate:
                evaluate_at(step.number, network)
        trunk.checks_values = True
        trained, lines = whole_model(accelerator, network, model), log.lines()
        # What wraps the model goes before the group of its processes. As the last to hold that, DDP's destructor would
        # wait for a thread with Python's lock kept, which the thread may need to free what it last received.
        del network
        accelerator.free_memory()
    return trained, lines


def take_step(
    accelerator: Accelerator,
    network: nn.Module,
    weights: Optimizer,
    step: Step,
    *,
    scales: dict[str, float],
    learning_rate: float,
    max_gradient_norm: float,
) -> tuple[Batch, Tensor]:
    """One step of the optimizer on the micro-batches of all processes.

    Args:
        scales: by the names of the losses, what an item's weighs.
    Returns: this process's losses, by name, each the sum over the items of the step; the norm of the gradient before it
        was clipped.
    """
    losses: Batch = {}
    for number, (batch, counts) in enumerate(zip(step.batches, step.counts, strict=True), start=1):
        with accelerator.no_sync(network) if number < len(step.batches) else nullcontext():
            with accelerator.autocast():
                output = network(**batch)
            sums = {name: loss * counts[name] for name, loss in losses_of(output).items()}
            loss = torch.stack([scales[name] * value for name, value in sums.items()]).sum()
            accelerator.backward(loss * accelerator.num_processes)  # DDP takes the mean over the processes
        losses = added(losses, {name: value.detach() for name, value in sums.items()})
    gradient_norm = whole_tensor(accelerator.clip_grad_norm_(network.parameters(), max_gradient_norm))
    for group in weights.param_groups:
        group["lr"] = learning_rate
    weights.step()
    weights.zero_grad()
    return losses, gradient_norm


def loss_scales(
    loss_weights: dict[str, float], expected_items: dict[str, float], *, batch_size: int
) -> dict[str, float]:
    """What an item's loss weighs, by the names of the losses: the same in every step, however many items that has.

    A step holds texts of like length, so a mean over its own items would weigh the words of short texts more.
    """
    return {
        name: weight / (batch_size * expected_items[name]) if expected_items[name] else 0.0
        for name, weight in loss_weights.items()
    }


def losses_of(output: ModelOutput) -> Batch:
    """The losses of a model by name; 'loss' where it has but one."""
    losses = output.get("losses")
    return losses if losses is not None else {"loss": output["loss"]}


def make_optimizer(model: nn.Module, settings: OptimizerSettings) -> AdamW:
    """Matrices decay; biases and norms do not."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trained if parameter.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [parameter for parameter in trained if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=settings.learning_rate, betas=(0.9, settings.beta2), fused=True)


def learning_rate_at(step: int, num_steps: int, settings: OptimizerSettings) -> float:
    """From 0 at the first step linearly to the whole rate, then to nearly 0 at the last."""
    num_before, num_warmup = step - 1, round(settings.warmup_share * num_steps)
    if num_before < num_warmup:
        return settings.learning_rate * (num_before / num_warmup)
    return settings.learning_rate * ((num_steps - num_before) / max(1, num_steps - num_warmup))


def evaluate(
    accelerator: Accelerator, network: nn.Module, evaluator: Callable[[nn.Module], dict[str, float]]
) -> dict[str, float]:
    """The evaluator's metrics as `eval/<name>`, in the type of the training."""
    model = accelerator.unwrap_model(network)
    model.eval()
    with torch.no_grad(), uncompiled(), accelerator.autocast():
        metrics = evaluator(model)
    model.train()
    return {f"eval/{name}": value for name, value in metrics.items()}


def few_examples(dataset: Any, num_examples: int) -> Batch:
    """A batch to time types with."""
    return dataset.__getitems__([Draw(0, example) for example in range(min(NUM_TIMED, num_examples))])


def what_to_lower(num_at_once: int) -> str:
    """Where so many examples are too many for a device. Nothing of it changes what is learnt."""
    if num_at_once == 1:
        return "it does not hold one example; set runtime.gradient_checkpointing to true, or take a smaller model"
    return (
        f"it does not hold {num_at_once} examples at once; set runtime.micro_batch_size to {num_at_once // 2}, "
        "or runtime.gradient_checkpointing to true, and start the same command again"
    )


def remedy(checkpoints: Path) -> str:
    return f"its checkpoint is in {checkpoints}: start the same command again to go on"


def is_multiple(step: int, interval: int | None) -> bool:
    return interval is not None and step % interval == 0
