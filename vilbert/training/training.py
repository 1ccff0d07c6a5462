"""One training from settings: which batches, which optimizer, what is logged, where it goes on after a kill."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.tensorboard import SummaryWriter
from transformers import PreTrainedModel, ProgressCallback, TrainerCallback, TrainingArguments
from transformers.integrations import TensorBoardCallback

from vilbert.batches.sampling import StepSampler
from vilbert.model.inputs import Batch
from vilbert.settings import OptimizerSettings, RuntimeSettings
from vilbert.training.checkpoints import STAGING, checkpoints_in, claim, discard_staged, step_of
from vilbert.training.command import is_first_process
from vilbert.training.trainer import MetricsFile, Schedule, VilbertTrainer, read_metrics


def train(
    model: PreTrainedModel,
    dataset: Dataset,
    *,
    lengths: np.ndarray,
    optimizer: OptimizerSettings,
    runtime: RuntimeSettings,
    seed: int,
    checkpoints: Path,
    identity: dict,
    loss_weights: dict[str, float],
    count_items: Callable[[Batch], Batch],
    count_flops: Callable[[Batch], Tensor] | None,
    evaluator: Callable[[nn.Module], dict[str, float]],
    evaluation_steps: int | None,
    has_unused_parameters: bool = False,
) -> tuple[PreTrainedModel, list[dict]]:
    """Train to the end, from the last checkpoint if there is one; gives the model and the lines of its metrics.

    Args:
        dataset: its `__getitems__` takes the draws of a batch and gives the batch.
        lengths: [N], of its examples, by which batches are bucketed.
        identity: what the training is made of; checkpoints of another one are refused.
        has_unused_parameters: some weights get no gradient, which DDP has to look for.
    Raises: ValueError for checkpoints of another training, batches that do not divide, or FSDP without a GPU;
        FloatingPointError for a loss that is not finite; OSError where a checkpoint cannot be written. The last good
        checkpoint stays.
    """
    if runtime.fsdp and not torch.cuda.is_available():
        raise ValueError("runtime.fsdp is true, but there is no GPU to spread the weights over; set it to false")
    if runtime.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    if is_first_process():
        claim(checkpoints, identity)
        discard_staged(checkpoints)
    earlier = checkpoints_in(checkpoints)
    sampler = make_sampler(lengths, optimizer=optimizer, runtime=runtime, seed=seed)
    schedule = Schedule(
        evaluation_steps=evaluation_steps,
        checkpoint_steps=runtime.checkpoint_steps,
        checkpoint_minutes=runtime.checkpoint_minutes,
        clock_steps=runtime.log_every_steps,
    )
    callbacks: list[TrainerCallback] = [schedule, MetricsFile(checkpoints / "metrics.jsonl")]
    if is_first_process():
        purge_step = step_of(earlier[-1]) + 1 if earlier else 0
        callbacks.append(TensorBoardCallback(SummaryWriter(str(checkpoints / "tensorboard"), purge_step=purge_step)))
    arguments = make_arguments(sampler, optimizer=optimizer, runtime=runtime, seed=seed, checkpoints=checkpoints)
    arguments.ddp_find_unused_parameters = has_unused_parameters
    trainer = VilbertTrainer(
        model,
        arguments,
        loader=make_loader(dataset, sampler, num_workers=runtime.num_workers),
        loss_weights=loss_weights,
        count_items=count_items,
        count_flops=count_flops,
        peak_tflops=runtime.peak_tflops,
        evaluator=evaluator,
        checkpoints=checkpoints,
        num_checkpoints_kept=runtime.num_checkpoints_kept,
        callbacks=callbacks,
    )
    try:
        trainer.train(resume_from_checkpoint=str(earlier[-1]) if earlier else None)
    finally:
        close_progress_bar(trainer)
    trainer.accelerator.wait_for_everyone()
    return trainer.accelerator.unwrap_model(trainer.model), read_metrics(checkpoints / "metrics.jsonl")


def close_progress_bar(trainer: VilbertTrainer) -> None:
    """Of a training that failed; else its last line would come after the error's."""
    callback: Any = trainer.pop_callback(ProgressCallback)
    if callback is not None and callback.training_bar is not None:
        callback.training_bar.close()


def make_sampler(
    lengths: np.ndarray, *, optimizer: OptimizerSettings, runtime: RuntimeSettings, seed: int
) -> StepSampler:
    """This process's micro-batches of the whole training. The global batch is the setting, whatever the devices."""
    num_processes = int(os.environ.get("WORLD_SIZE", "1"))
    return StepSampler(
        lengths,
        batch_size=optimizer.batch_size,
        num_steps=max(1, round(optimizer.num_epochs * (len(lengths) // optimizer.batch_size))),
        seed=seed,
        num_processes=num_processes,
        process=int(os.environ.get("RANK", "0")),
        accumulation=math.ceil(optimizer.batch_size / (runtime.micro_batch_size * num_processes)),
    )


def make_loader(dataset: Dataset, sampler: StepSampler, *, num_workers: int) -> DataLoader:
    """The batches of a dataset that makes them whole."""
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        collate_fn=as_it_is,
        num_workers=num_workers,
        pin_memory=torch.cuda.is_available(),
        prefetch_factor=4 if num_workers else None,
        persistent_workers=num_workers > 0,
    )


def make_arguments(
    sampler: StepSampler, *, optimizer: OptimizerSettings, runtime: RuntimeSettings, seed: int, checkpoints: Path
) -> TrainingArguments:
    """What Trainer has to know."""
    has_gpu = torch.cuda.is_available()
    is_half = runtime.dtype == "bfloat16" or (
        runtime.dtype == "auto" and has_gpu and torch.cuda.is_bf16_supported(including_emulation=False)
    )
    return TrainingArguments(
        output_dir=str(checkpoints / STAGING),
        seed=seed,
        max_steps=sampler.num_steps,
        per_device_train_batch_size=optimizer.batch_size // (sampler.num_processes * sampler.accumulation),
        gradient_accumulation_steps=sampler.accumulation,
        learning_rate=optimizer.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=round(optimizer.warmup_share * sampler.num_steps),
        weight_decay=optimizer.weight_decay,
        adam_beta2=optimizer.beta2,
        max_grad_norm=optimizer.max_gradient_norm,
        optim="adamw_torch_fused",
        bf16=is_half,
        fsdp="full_shard auto_wrap" if runtime.fsdp else "",
        eval_strategy="no",  # Schedule asks for evaluations and checkpoints
        save_strategy="no",
        logging_steps=runtime.log_every_steps,
        use_cpu=not has_gpu,
        report_to="none",
        remove_unused_columns=False,
    )


def as_it_is(batch: Any) -> Batch:
    """The loader's `collate_fn`: the dataset has made a batch already."""
    return batch
