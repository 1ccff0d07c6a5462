"""Pretraining as a command: python -m vilbert.pretrain TOKENS TOKENIZER OUT_MODEL OUT_METRICS STORE..."""

import hashlib
import json
import math
import os
import shutil
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch.utils.data import DataLoader
from transformers import AutoTokenizer, TrainingArguments, set_seed

from extract.store import RegionStore, read_manifest
from vilbert.building import build_pretraining_model
from vilbert.checkpoints import checkpoints_in, claim
from vilbert.pretraining_data import PretrainingDataset, collate
from vilbert.pretraining_evaluation import PretrainingEvaluator, count_items
from vilbert.processing_vilbert import VilbertProcessor
from vilbert.sampling import StepSampler
from vilbert.settings import ModelSettings, PretrainingSettings, RuntimeSettings
from vilbert.tokens import TokenTable
from vilbert.trainer import CheckpointEveryMinutes, MetricsFile, VilbertTrainer


def main(
    tokens: Path,
    tokenizer: Path,
    model_output: Path,
    metrics_output: Path,
    stores: list[Path],
    checkpoints: Annotated[Path, typer.Option(help="folder that outlives a killed run")],
    model: Annotated[ModelSettings, typer.Option(parser=ModelSettings.model_validate_json)],
    settings: Annotated[PretrainingSettings, typer.Option(parser=PretrainingSettings.model_validate_json)],
    runtime: Annotated[RuntimeSettings, typer.Option(parser=RuntimeSettings.model_validate_json)],
) -> None:
    """Pretrain on the pairs in `tokens` and the features in `stores`; go on where an earlier run was killed."""
    try:
        pretrain(
            tokens,
            tokenizer,
            model_output,
            metrics_output,
            stores,
            checkpoints=checkpoints,
            model_settings=model,
            settings=settings,
            runtime=runtime,
        )
    except (ValueError, OSError, FloatingPointError) as error:
        raise SystemExit(f"error: {error}") from error


def pretrain(
    tokens: Path,
    tokenizer_path: Path,
    model_output: Path,
    metrics_output: Path,
    stores: list[Path],
    *,
    checkpoints: Path,
    model_settings: ModelSettings,
    settings: PretrainingSettings,
    runtime: RuntimeSettings,
) -> dict[str, float]:
    """Train, write the model directory and the metrics, and give the last evaluation.

    Raises: ValueError where captions, features, model and checkpoints do not fit; FloatingPointError where the loss is
        not finite; OSError where a checkpoint cannot be written. The last good checkpoint stays.
    """
    set_seed(settings.seed)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_path)
    store = RegionStore(stores)
    parts = {}
    for split, seed in ((settings.train_split, settings.seed), (settings.validation_split, settings.seed + 1)):
        table = TokenTable(tokens, split=split)
        parts[split] = PretrainingDataset(table, store, tokenizer, objective=settings.objective, seed=seed)
    train, validation = parts[settings.train_split], parts[settings.validation_split]
    identity = {
        "pretraining": settings.model_dump(mode="json"),
        "model": model_settings.model_dump(mode="json"),
        "inputs": {"tokens": sha256_of(tokens)}
        | {path.name + "@" + path.parent.name: read_manifest(path).sha256 for path in stores},
    }
    if os.environ.get("RANK", "0") == "0":
        claim(checkpoints, identity)
    model = build_pretraining_model(
        model_settings, tokenizer=tokenizer, feature_size=store.feature_size, num_classes=len(store.classes)
    )
    arguments, loader = plan(train, settings=settings, runtime=runtime, checkpoints=checkpoints)
    objective = settings.objective
    evaluator = PretrainingEvaluator(
        validation,
        num_pairs=settings.evaluation.num_pairs,
        num_retrieval_images=settings.evaluation.num_retrieval_images,
        pad_token_id=tokenizer.pad_token_id,
    )
    trainer = VilbertTrainer(
        model,
        arguments,
        loader=loader,
        loss_weights={name: getattr(objective, name) for name in ("masked_token", "masked_region", "alignment")},
        count_items=count_items,
        evaluator=evaluator,
        num_checkpoints_kept=runtime.num_checkpoints_kept,
        callbacks=[
            CheckpointEveryMinutes(runtime.checkpoint_minutes),
            MetricsFile(checkpoints / "metrics.jsonl"),
            *tensorboard(checkpoints / "tensorboard"),
        ],
    )
    earlier = checkpoints_in(checkpoints)
    trainer.train(resume_from_checkpoint=str(earlier[-1]) if earlier else None)
    metrics = trainer.evaluate()
    if trainer.is_world_process_zero():
        processor = VilbertProcessor(tokenizer=tokenizer)
        write_model(trainer.accelerator.unwrap_model(trainer.model), processor, model_output, store.classes, identity)
        shutil.copyfile(checkpoints / "metrics.jsonl", metrics_output)
    return metrics


def plan(
    train: PretrainingDataset, *, settings: PretrainingSettings, runtime: RuntimeSettings, checkpoints: Path
) -> tuple[TrainingArguments, DataLoader]:
    """Trainer's arguments, and this process's micro-batches of the whole training."""
    optimizer = settings.optimizer
    num_processes = int(os.environ.get("WORLD_SIZE", "1"))
    accumulation = math.ceil(optimizer.batch_size / (runtime.micro_batch_size * num_processes))
    num_steps = max(1, round(optimizer.num_epochs * (len(train) // optimizer.batch_size)))
    sampler = StepSampler(
        train.tokens.lengths(),
        batch_size=optimizer.batch_size,
        num_steps=num_steps,
        seed=settings.seed,
        num_processes=num_processes,
        process=int(os.environ.get("RANK", "0")),
        accumulation=accumulation,
    )
    has_gpu = torch.cuda.is_available()
    loader = DataLoader(
        train,
        batch_sampler=sampler,
        collate_fn=collate(train.pad_token_id),
        num_workers=runtime.num_workers,
        pin_memory=has_gpu,
        persistent_workers=runtime.num_workers > 0,
    )
    arguments = TrainingArguments(
        output_dir=str(checkpoints),
        seed=settings.seed,
        max_steps=num_steps,
        per_device_train_batch_size=optimizer.batch_size // (num_processes * accumulation),
        gradient_accumulation_steps=accumulation,
        learning_rate=optimizer.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=round(optimizer.warmup_share * num_steps),
        weight_decay=optimizer.weight_decay,
        adam_beta2=optimizer.beta2,
        max_grad_norm=optimizer.max_gradient_norm,
        optim="adamw_torch_fused",
        bf16=runtime.dtype == "bfloat16",
        gradient_checkpointing=runtime.gradient_checkpointing,
        fsdp="full_shard auto_wrap" if runtime.fsdp else "",
        eval_strategy="steps",
        eval_steps=settings.evaluation.every_steps,
        logging_steps=runtime.log_every_steps,
        save_strategy="no",  # CheckpointEveryMinutes asks for them
        use_cpu=not has_gpu,
        report_to="none",
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
    )
    return arguments, loader


def tensorboard(folder: Path) -> list:
    """The callback that writes TensorBoard's files, on the first process."""
    from torch.utils.tensorboard import SummaryWriter
    from transformers.integrations import TensorBoardCallback

    return [TensorBoardCallback(SummaryWriter(str(folder)))] if os.environ.get("RANK", "0") == "0" else []


def write_model(model, processor: VilbertProcessor, output: Path, classes: tuple[str, ...], identity: dict) -> None:
    """A model directory that says what it was made of; whole or not there."""
    partial = output.with_name(f".{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    processor.save_pretrained(partial)
    (partial / "classes.json").write_text(json.dumps(list(classes), indent=0))
    (partial / "provenance.json").write_text(json.dumps(identity, indent=1, sort_keys=True))
    shutil.rmtree(output, ignore_errors=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    partial.rename(output)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    typer.run(main)
