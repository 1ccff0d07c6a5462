"""Pretraining as a command.

python -m vilbert.pretraining.pretrain TOKENS TOKENIZER STORE... MODEL METRICS CURVES BASELINES
"""

import functools
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from transformers import AutoTokenizer, set_seed

from extract.command import run
from extract.regions.store import RegionStore, read_manifest
from extract.tables import naming, reading
from extract.terminal import plain_table
from vilbert.baselines.rows import write_rows
from vilbert.batches.sampling import epoch_generator, shuffled_blocks
from vilbert.batches.tokens import TokenTable
from vilbert.model.card import model_card
from vilbert.model.directory import sha256_below, sha256_of, write_model
from vilbert.model.origin import origin_of
from vilbert.model.processing_vilbert import VilbertProcessor
from vilbert.pretraining.baselines import pretraining_rows
from vilbert.pretraining.building import build_pretraining_model
from vilbert.pretraining.data import PretrainingDataset
from vilbert.pretraining.data_share import in_as_many_steps
from vilbert.pretraining.evaluation import PretrainingEvaluator, count_flops, count_items
from vilbert.settings import ModelSettings, PretrainingSettings, RuntimeSettings, pretraining_made_of
from vilbert.training.devices import compiles, is_first_process
from vilbert.training.folder import TrainingFolder
from vilbert.training.learning_curves import OBJECTIVES, draw_learning_curves
from vilbert.training.loop import train
from vilbert.training.machine import machine_of_training
from vilbert.training.metrics_file import last_evaluation
from vilbert.training.scratch import on_scratch


def main(
    tokens: Path,
    tokenizer: Path,
    stores: list[Path],
    model_output: Path,
    metrics_output: Path,
    curves_output: Path,
    baselines_output: Path,
    checkpoints: Annotated[Path, typer.Option(help="folder that outlives a killed run")],
    earlier: Annotated[Path, typer.Option(help="folder that ended trainings are set aside in when another begins")],
    model: Annotated[ModelSettings, typer.Option(parser=ModelSettings.model_validate_json)],
    settings: Annotated[PretrainingSettings, typer.Option(parser=PretrainingSettings.model_validate_json)],
    runtime: Annotated[RuntimeSettings, typer.Option(parser=RuntimeSettings.model_validate_json)],
    share: Annotated[float, typer.Option(help="of the training images that it learns of, in as many steps")] = 1,
) -> None:
    """Pretrain on the pairs in TOKENS and the features in the STOREs; go on where an earlier run was killed.

    What does not fit ends the command with what it is; the last good checkpoint stays. The results of a training that
    has ended are given again.
    """
    outputs = [model_output, metrics_output, curves_output, baselines_output]
    store = RegionStore(stores)
    identity = pretraining_made_of(model, settings, share=share) | {
        "inputs": digests(tokens, tokenizer, stores, text_init=model.text_init),
        "regions": origin_of(store),
    }
    folder = TrainingFolder(checkpoints, identity, earlier=earlier)
    if folder.has_ended:
        if is_first_process():
            folder.give(outputs)
        return
    set_seed(settings.seed)
    with reading(tokenizer):
        words = AutoTokenizer.from_pretrained(tokenizer)
    demand_features(store, width=model.visual_feature_size, needs_classes=model.visual_target == "classes")

    learnt = TokenTable(tokens, split=settings.train_split, share=share)
    if share < 1:
        settings = in_as_many_steps(settings, num_pairs=learnt.num_pairs_of_split, num_kept=len(learnt))

    def dataset(pairs: TokenTable, *, seed: int, has_few_widths: bool) -> PretrainingDataset:
        return PretrainingDataset(
            pairs,
            store,
            words,
            objective=settings.objective,
            visual_target=model.visual_target,
            seed=seed,
            has_few_widths=has_few_widths,
        )

    training = dataset(learnt, seed=settings.seed, has_few_widths=compiles(runtime))
    network = build_pretraining_model(model, words, num_classes=len(store.classes))
    evaluator = PretrainingEvaluator(
        dataset(TokenTable(tokens, split=settings.validation_split), seed=settings.seed + 1, has_few_widths=False),
        num_pairs=settings.evaluation.num_pairs,
        # scoring reaches into layers whose weights FSDP spreads
        num_retrieval_images=0 if runtime.fsdp else settings.evaluation.num_retrieval_images,
    )
    with on_scratch([store], runtime.scratch, first=first_images(training.tokens, settings.seed)):
        trained, metrics = train(
            network,
            training,
            lengths=training.tokens.sizes(),
            optimizer=settings.optimizer,
            runtime=runtime,
            seed=settings.seed,
            folder=folder,
            loss_weights={name: getattr(settings.objective, name) for name in OBJECTIVES},
            count_items=count_items,
            expected_items=training.expected_items(),
            count_flops=functools.partial(count_flops, network.config),
            evaluator=evaluator,
            evaluation_steps=settings.evaluation.every_steps,
        )
    if is_first_process():
        with naming(model_output.parent):
            last = last_evaluation(checkpoints / "metrics.jsonl")
            rows = pretraining_rows(evaluator, words, split=settings.validation_split, measured=last)
            card = model_card(
                "ViLBERT, pretrained",
                trained,
                rows,
                data=f"{len(training):,} pairs of caption and image of the split '{settings.train_split}'",
                made_of=folder.provenance,
            )
            write_model(
                trained,
                VilbertProcessor(words),
                model_output,
                classes=store.classes,
                provenance=folder.provenance | {"detector": store.manifest.detector, "machine": machine_of_training()},
                card=card,
            )
            write_rows(baselines_output, rows)
            shutil.copyfile(checkpoints / "metrics.jsonl", metrics_output)
            draw_learning_curves(metrics, curves_output, rows=rows)
            folder.end(outputs)
        print(plain_table(rows))


def digests(tokens: Path, tokenizer: Path, stores: Sequence[Path], *, text_init: str | None) -> dict[str, Any]:
    """Of everything that is read, the sha256; of a model on a hub, its name."""
    known = {
        "tokens": sha256_of(tokens),
        "tokenizer": sha256_below(tokenizer),
        "stores": [read_manifest(path).sha256 for path in stores],
    }
    if text_init is not None:
        bert = Path(text_init)
        known["text_init"] = sha256_below(bert) if bert.exists() else text_init
    return known


def first_images(tokens: TokenTable, seed: int) -> list[str]:
    """An image of each block of examples, in the order in which the first epoch reads them."""
    blocks = shuffled_blocks(len(tokens), epoch_generator(seed, 0))
    return [tokens.image_keys[int(block[0])].as_py() for block in blocks]


def demand_features(store: RegionStore, *, width: int, needs_classes: bool) -> None:
    """Raises: ValueError if the features are of another width than the model takes, or have no classes to learn."""
    if store.feature_size != width:
        raise ValueError(
            f"the stores hold features of {store.feature_size} numbers, model.visual_feature_size is {width}; "
            f"set it to {store.feature_size}, or extract with another detector"
        )
    if needs_classes and not store.classes:
        raise ValueError(
            "the stores were imported without classes, model.visual_target is 'classes'; "
            "set it to features or contrastive, or extract with a detector"
        )


if __name__ == "__main__":
    run(main)
