"""A dual encoder from a ViLBERT that scores pairs.

python -m vilbert.search.distil PAIRS TEACHER STORE... MODEL METRICS

Source: the contrastive loss of ALBEF (Li et al. 2021) on the teacher's own weights, cut as in VLDeformer (Zhang et al.
2021), and the teacher's distribution over what is hard.
"""

import math
import os
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer
from transformers import set_seed

from extract.command import run
from extract.devices import best_device
from extract.regions.store import RegionStore, read_manifest
from extract.tables import naming
from vilbert.model.card import model_card
from vilbert.model.directory import WEIGHTS, sha256_beside_weights, sha256_of, write_model
from vilbert.model.modeling_dual_encoder import dual_encoder_of
from vilbert.model.origin import demand_same_regions, origin_of
from vilbert.model.processing_vilbert import VilbertProcessor
from vilbert.pipelines import load
from vilbert.search.baselines import search_baselines
from vilbert.search.captions import Captions, read_captions
from vilbert.search.distillation import BetweenEpochs, DistillationDataset, count_items
from vilbert.search.teacher import Teacher, kept_path
from vilbert.settings import RuntimeSettings, SearchSettings, distillation_made_of
from vilbert.tasks.metrics import right_pairs
from vilbert.training.devices import is_first_process
from vilbert.training.folder import TrainingFolder
from vilbert.training.loop import train
from vilbert.training.machine import machine_of_training
from vilbert.training.metrics_file import last_evaluation
from vilbert.training.scratch import on_scratch


def main(
    pairs: Path,
    teacher: Path,
    stores: list[Path],
    model_output: Path,
    metrics_output: Path,
    checkpoints: Annotated[Path, typer.Option(help="folder that outlives a killed run")],
    earlier: Annotated[Path, typer.Option(help="folder that ended trainings are set aside in when another begins")],
    scores: Annotated[Path, typer.Option(help="folder for what the teacher has said, for this training and others")],
    train_split: Annotated[str, typer.Option()],
    validation_split: Annotated[str, typer.Option()],
    settings: Annotated[SearchSettings, typer.Option(parser=SearchSettings.model_validate_json)],
    runtime: Annotated[RuntimeSettings, typer.Option(parser=RuntimeSettings.model_validate_json)],
) -> None:
    """Train a dual encoder on the pairs, and on what TEACHER says of hard ones; go on where an earlier run was killed.

    TEACHER: a pretrained model, or one fine-tuned on retrieval.
    """
    outputs = [model_output, metrics_output]
    store = RegionStore(stores)
    demand_same_regions(teacher, store)
    network, processor = load_teacher(teacher)
    weights, beside_weights = sha256_of(teacher / WEIGHTS), sha256_beside_weights(teacher)
    digests = [read_manifest(path).sha256 for path in stores]
    identity = distillation_made_of(settings, splits=(train_split, validation_split)) | {
        "inputs": {"pairs": sha256_of(pairs), "teacher": weights, "stores": digests, "beside_weights": beside_weights},
        "regions": origin_of(store),
    }
    folder = TrainingFolder(checkpoints, identity, earlier=earlier)
    if folder.has_ended:
        if is_first_process():
            folder.give(outputs)
        return
    demand_whole_batches(settings, runtime)
    set_seed(settings.seed)
    student = dual_encoder_of(network, embedding_size=settings.embedding_size, temperature=settings.temperature)

    def captions_of(split: str) -> Captions:
        longest = network.config.max_position_embeddings
        return read_captions(pairs, split=split, tokenizer=processor.tokenizer, max_tokens=longest)

    held_out = captions_of(validation_split)
    network.to(best_device())
    dataset = DistillationDataset(
        captions_of(train_split),
        store,
        processor,
        Teacher(network, processor, store, kept_in=kept_path(scores, [weights, beside_weights, *digests])),
        settings=settings,
        checkpoints=checkpoints,
    )
    steps_an_epoch = max(1, len(dataset) // settings.optimizer.batch_size)
    between = BetweenEpochs(dataset, held_out, steps_an_epoch=steps_an_epoch)
    dataset.mined[0] = between.mine(student.eval())
    with on_scratch([store], runtime.scratch):
        trained, _ = train(
            student.train(),
            dataset,
            lengths=dataset.captions.lengths,
            optimizer=settings.optimizer,
            # what an epoch reads is mined meanwhile, by this process
            runtime=runtime.model_copy(update={"num_workers": 0, "compile": False}),
            seed=settings.seed,
            folder=folder,
            loss_weights={"contrastive": settings.contrastive, "distillation": settings.distillation},
            count_items=count_items,
            expected_items={"contrastive": 1, "distillation": 1 / dataset.stride},
            count_flops=None,
            evaluator=between,
            evaluation_steps=steps_an_epoch,
        )
    if is_first_process():
        with naming(model_output.parent):
            measured = last_evaluation(checkpoints / "metrics.jsonl")
            is_right = right_pairs(held_out.image_of.tolist(), held_out.texts, num_images=len(held_out.image_keys))
            counted = search_baselines(held_out.texts, held_out.image_keys, is_right, store)
            rows = counted.rows(validation_split, measured)
            told: dict[str, Any] = {"detector": store.manifest.detector, "teacher": os.path.abspath(teacher)}  # noqa: PTH100
            write_model(
                trained,
                processor,
                model_output,
                classes=store.classes,
                provenance=folder.provenance | told | {"machine": machine_of_training()},
                card=model_card(
                    "ViLBERT as a dual encoder",
                    trained,
                    rows,
                    data=f"{len(dataset):,} pairs of caption and image of the split '{train_split}'",
                    made_of=folder.provenance,
                ),
            )
            shutil.copyfile(checkpoints / "metrics.jsonl", metrics_output)
            folder.end(outputs)


def load_teacher(path: Path) -> tuple[Any, VilbertProcessor]:
    """A model that says how well a text and an image fit, on the CPU.

    Raises: FileNotFoundError; ValueError for a model that does not, or a new head, which would say it at random.
    """
    network: Any
    network, processor = load(path)
    if not (hasattr(network, "alignment_head") or hasattr(network, "score_head")):
        raise ValueError(
            f"{path} holds a {type(network).__name__}, expected a teacher that scores pairs: a pretrained "
            "model, or one fine-tuned on retrieval"
        )
    return network, processor


def num_processes() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def demand_whole_batches(settings: SearchSettings, runtime: RuntimeSettings) -> None:
    """Raises: ValueError for a step that would be cut: each example is told apart from all others of it."""
    least = math.ceil(settings.optimizer.batch_size / num_processes())
    if runtime.micro_batch_size < least:
        raise ValueError(
            f"runtime.micro_batch_size is {runtime.micro_batch_size}, but a dual encoder tells all examples of a step "
            f"apart at once; set it to {least} or more, or lower search.optimizer.batch_size"
        )
    if runtime.fsdp:
        raise ValueError("runtime.fsdp is true, but a dual encoder is asked by layers whose weights it spreads")


if __name__ == "__main__":
    run(main)
