"""Pretraining as a command: python -m vilbert.pretrain TOKENS TOKENIZER STORE... MODEL METRICS CURVES."""

import functools
import os
import shutil
from pathlib import Path
from typing import Annotated

import typer
from transformers import AutoTokenizer, set_seed

from extract.store import RegionStore, read_manifest
from vilbert.building import build_pretraining_model
from vilbert.learning_curves import draw_learning_curves
from vilbert.model_directory import sha256_of, write_model
from vilbert.pretraining_data import PretrainingDataset
from vilbert.pretraining_evaluation import PretrainingEvaluator, count_flops, count_items
from vilbert.processing_vilbert import VilbertProcessor
from vilbert.settings import ModelSettings, PretrainingSettings, RuntimeSettings
from vilbert.tokens import TokenTable
from vilbert.training import train


def main(
    tokens: Path,
    tokenizer: Path,
    stores: list[Path],
    model_output: Path,
    metrics_output: Path,
    curves_output: Path,
    checkpoints: Annotated[Path, typer.Option(help="folder that outlives a killed run")],
    model: Annotated[ModelSettings, typer.Option(parser=ModelSettings.model_validate_json)],
    settings: Annotated[PretrainingSettings, typer.Option(parser=PretrainingSettings.model_validate_json)],
    runtime: Annotated[RuntimeSettings, typer.Option(parser=RuntimeSettings.model_validate_json)],
) -> None:
    """Pretrain on the pairs in TOKENS and the features in the STOREs; go on where an earlier run was killed."""
    try:
        pretrain(
            tokens,
            tokenizer,
            stores,
            model_output=model_output,
            metrics_output=metrics_output,
            curves_output=curves_output,
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
    stores: list[Path],
    *,
    model_output: Path,
    metrics_output: Path,
    curves_output: Path,
    checkpoints: Path,
    model_settings: ModelSettings,
    settings: PretrainingSettings,
    runtime: RuntimeSettings,
) -> list[dict]:
    """Train, write the model directory, its metrics and their curves, and give the lines of the metrics.

    Raises: ValueError where captions, features, model and checkpoints do not fit; FloatingPointError where the loss is
        not finite; OSError where a checkpoint cannot be written. The last good checkpoint stays.
    """
    set_seed(settings.seed)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_path)
    store = RegionStore(stores)
    if store.feature_size != model_settings.visual_feature_size:
        raise ValueError(
            f"the stores hold features of {store.feature_size} numbers, model.visual_feature_size is "
            f"{model_settings.visual_feature_size}; set it to {store.feature_size}, or extract with another detector"
        )
    train_pairs, validation_pairs = (
        PretrainingDataset(
            TokenTable(tokens, split=split),
            store,
            tokenizer,
            objective=settings.objective,
            visual_target=model_settings.visual_target,
            seed=seed,
        )
        for split, seed in ((settings.train_split, settings.seed), (settings.validation_split, settings.seed + 1))
    )
    model = build_pretraining_model(model_settings, tokenizer, num_classes=len(store.classes))
    identity = {
        "pretraining": settings.model_dump(mode="json"),
        "model": model_settings.model_dump(mode="json"),
        "inputs": {"tokens": sha256_of(tokens)} | {str(path): read_manifest(path).sha256 for path in stores},
    }
    objective, evaluation = settings.objective, settings.evaluation
    trained, metrics = train(
        model,
        train_pairs,
        lengths=train_pairs.tokens.lengths(),
        optimizer=settings.optimizer,
        runtime=runtime,
        seed=settings.seed,
        checkpoints=checkpoints,
        identity=identity,
        loss_weights={name: getattr(objective, name) for name in ("masked_token", "masked_region", "alignment")},
        count_items=count_items,
        count_flops=functools.partial(count_flops, model.config),
        evaluator=PretrainingEvaluator(
            validation_pairs,
            num_pairs=evaluation.num_pairs,
            # scoring reaches into layers whose weights FSDP spreads
            num_retrieval_images=0 if runtime.fsdp else evaluation.num_retrieval_images,
        ),
        evaluation_steps=evaluation.every_steps,
    )
    if os.environ.get("RANK", "0") == "0":
        write_model(trained, VilbertProcessor(tokenizer), model_output, classes=store.classes, identity=identity)
        shutil.copyfile(checkpoints / "metrics.jsonl", metrics_output)
        draw_learning_curves(metrics, curves_output)
    return metrics


if __name__ == "__main__":
    typer.run(main)
