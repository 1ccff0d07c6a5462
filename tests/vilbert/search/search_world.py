"""A teacher, captions and features in miniature, for the tests of searching."""

import json
from pathlib import Path
from typing import NamedTuple

import torch
from pretraining_world import RUNTIME, World, make_world, merged, model_settings
from transformers import AutoTokenizer, PreTrainedModel

from extract.regions.store import RegionStore
from vilbert.model.directory import write_model
from vilbert.model.origin import origin_of
from vilbert.model.processing_vilbert import VilbertProcessor
from vilbert.pretraining.building import build_pretraining_model
from vilbert.search.distil import main as distil
from vilbert.settings import RuntimeSettings, SearchSettings

SEARCH = {
    "seed": 3,
    "teacher": "pretrained",
    "embedding_size": 13,
    "temperature": 0.07,
    "num_mined": 7,
    "num_hard": 5,
    "num_distilled": 3,
    "contrastive": 1,
    "distillation": 1,
    "optimizer": {
        "batch_size": 31,
        "num_epochs": 2,
        "learning_rate": 0.003,
        "warmup_share": 0.1,
        "weight_decay": 0.01,
        "beta2": 0.98,
        "max_gradient_norm": 1,
    },
    "index": "Flat",
    "num_images": 17,
    "num_queries": 19,
    "reranked": [1, 3],
}


class SearchWorld(NamedTuple):
    """What a dual encoder learns from."""

    world: World
    pairs: Path
    teacher: Path
    store: RegionStore

    def distil(self, out: Path, **changed) -> Path:
        """Train; gives the model."""
        settings = {name: value for name, value in changed.items() if name != "runtime"}
        distil(
            self.pairs,
            self.teacher,
            self.world.stores,
            out / "model",
            out / "metrics.jsonl",
            checkpoints=out / "checkpoints",
            earlier=out / "earlier",
            scores=out / "scores",
            train_split="train",
            validation_split="val",
            settings=search_settings(**settings),
            runtime=RuntimeSettings.model_validate(
                RUNTIME | {"micro_batch_size": 31, "num_checkpoints_kept": 9} | changed.get("runtime", {})
            ),
        )
        return out / "model"

    def command(self, out: Path, *, settings: dict, runtime: dict) -> list[str]:
        """Arguments of `python -m vilbert.search.distil`."""
        arguments = [self.pairs, self.teacher, *self.world.stores, out / "model", out / "metrics.jsonl"]
        for name in ("checkpoints", "earlier", "scores"):
            arguments += [f"--{name}", out / name]
        arguments += ["--train-split", "train", "--validation-split", "val"]
        sections = {"settings": merged(SEARCH, settings), "runtime": merged(RUNTIME, runtime)}
        for name, section in sections.items():
            arguments += [f"--{name}", json.dumps(section)]
        return ["-m", "vilbert.search.distil", *map(str, arguments)]


def search_settings(**changed) -> SearchSettings:
    return SearchSettings.model_validate(merged(SEARCH, changed))


def make_search_world(folder: Path) -> SearchWorld:
    """An untrained teacher of the world of pretraining."""
    world = make_world(folder)
    store = RegionStore(world.stores)
    torch.manual_seed(1)
    tokenizer = AutoTokenizer.from_pretrained(world.tokenizer)
    teacher = build_pretraining_model(model_settings(), tokenizer, num_classes=len(store.classes))
    searched = SearchWorld(world, folder / "pairs.parquet", folder / "teacher", store)
    write_teacher(teacher, searched)
    return searched


def write_teacher(model: PreTrainedModel, searched: SearchWorld) -> None:
    """A model that has learnt of the world's regions, where the world has its teacher."""
    write_model(
        model,
        VilbertProcessor(AutoTokenizer.from_pretrained(searched.world.tokenizer)),
        searched.teacher,
        classes=searched.store.classes,
        provenance={"regions": origin_of(searched.store)},
        card="",
    )
