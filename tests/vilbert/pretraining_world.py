"""Pairs, features and settings in miniature, for the tests of pretraining."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from extract.regions.store import Regions, RegionStore, RegionStoreWriter
from vilbert.batches.tokens import TokenTable
from vilbert.batches.tokens import main as write_tokens
from vilbert.pretraining.data import PretrainingDataset
from vilbert.settings import ModelSettings, ObjectiveSettings, PretrainingSettings, RuntimeSettings, TextSettings

CLASSES = ("background", "circle", "square", "triangle", "ring", "bar", "cross")
COLOURS = ("red", "blue", "green", "black", "white")
FEATURE_SIZE = 17
CAPTIONS_AN_IMAGE = 3
NUM_IMAGES = {"train": 31, "val": 11}

MODEL = {
    "architecture": "two_stream",
    "text_init": None,
    "visual_feature_size": FEATURE_SIZE,
    "visual_target": "classes",
    "text_hidden_size": 12,
    "text_num_layers": 2,
    "text_num_heads": 3,
    "text_intermediate_size": 19,
    "visual_hidden_size": 10,
    "visual_num_layers": 1,
    "visual_num_heads": 5,
    "visual_intermediate_size": 11,
    "co_hidden_size": 8,
    "co_num_heads": 2,
    "text_co_layers": (1,),
    "visual_co_layers": (0,),
    "visual_embedding_norm": "apart",
    "fusion": "mul",
    "dropout": 0.1,
    "initializer_range": 0.02,
}
OBJECTIVE = {
    "token_mask_probability": 0.3,
    "region_mask_probability": 0.3,
    "mask_overlap_iou": 0.4,
    "mismatch_probability": 0.5,
    "contrast_words": [COLOURS, CLASSES[1:]],
    "contrast_mask_probability": None,
    "late": None,
    "masked_losses_on": "aligned",
    "masked_token": 1,
    "masked_region": 1,
    "alignment": 1,
}
PRETRAINING = {
    "seed": 3,
    "train_split": "train",
    "validation_split": "val",
    "objective": OBJECTIVE,
    "optimizer": {
        "batch_size": 12,
        "num_epochs": 3,
        "learning_rate": 0.003,
        "warmup_share": 0.1,
        "weight_decay": 0.01,
        "beta2": 0.98,
        "max_gradient_norm": 1,
    },
    "evaluation": {"every_steps": 7, "num_pairs": 13, "num_retrieval_images": 5},
}
RUNTIME = {
    "micro_batch_size": 12,
    "dtype": "float32",
    "num_workers": 0,
    "compile": False,
    "gradient_checkpointing": False,
    "fsdp": False,
    "peak_tflops": None,
    "trackers": ["tensorboard"],
    "log_every_steps": 1,
    "checkpoint_minutes": None,
    "checkpoint_steps": 2,
    "num_checkpoints_kept": 2,
    "num_earlier_kept": 2,
    "scratch": None,
}


class World(NamedTuple):
    """Where the inputs of a pretraining lie."""

    tokens: Path
    tokenizer: Path
    stores: list[Path]

    def command(self, out: Path, **changed: dict) -> list[str]:
        """Arguments of `python -m vilbert.pretraining.pretrain` with some settings changed."""
        sections = {"model": MODEL, "settings": PRETRAINING, "runtime": RUNTIME}
        outputs = [out / name for name in ("model", "metrics.jsonl", "curves.svg", "baselines.json")]
        arguments = [self.tokens, self.tokenizer, *self.stores, *outputs, "--checkpoints", out / "checkpoints"]
        arguments += ["--earlier", out.parent / f"{out.name}-earlier"]
        for name, section in sections.items():
            arguments += [f"--{name}", json.dumps(merged(section, changed.get(name, {})))]
        return ["-m", "vilbert.pretraining.pretrain", *map(str, arguments)]


def merged(tree: dict, changed: dict) -> dict:
    """A copy with some leaves replaced."""
    return tree | {
        name: merged(tree[name], value) if isinstance(value, dict) else value for name, value in changed.items()
    }


def model_settings(**changed) -> ModelSettings:
    return ModelSettings.model_validate(MODEL | changed)


def pretraining_settings(**changed) -> PretrainingSettings:
    return PretrainingSettings.model_validate(merged(PRETRAINING, changed))


def runtime_settings(**changed) -> RuntimeSettings:
    return RuntimeSettings.model_validate(RUNTIME | changed)


def make_world(folder: Path) -> World:
    """Images of two to four regions in a row, each with captions that name a class and a colour."""
    generator = np.random.default_rng(5)
    rows, stores = [], []
    for split, num_images in NUM_IMAGES.items():
        path = folder / f"{split}.lmdb"
        writer = RegionStoreWriter(
            path,
            classes=CLASSES,
            feature_size=FEATURE_SIZE,
            num_classes_kept=None,
            box_source="proposal",
            detector={"sha256": "0"},
            selection={},
        )
        with writer:
            for image in range(num_images):
                kinds = generator.integers(1, len(CLASSES), generator.integers(2, 5))
                key = f"{split}-{image * CAPTIONS_AN_IMAGE:08d}"
                writer.put(key, regions_of(kinds, generator))
                for number in range(CAPTIONS_AN_IMAGE):
                    words = " and ".join(f"a {generator.choice(COLOURS)} {CLASSES[kind]}" for kind in kinds)
                    caption = f"{words} {'there ' * int(generator.integers(0, 4))}".strip()
                    rows.append(
                        {
                            "key": f"{split}-{image * CAPTIONS_AN_IMAGE + number:08d}",
                            "image_key": key,
                            "caption": caption,
                            "num_regions": len(kinds),
                        }
                    )
        stores.append(path)
    pairs = folder / "pairs.parquet"
    pq.write_table(pa.Table.from_pylist(rows), pairs)
    world = World(folder / "tokens.parquet", folder / "tokenizer", stores)
    write_tokens(pairs, world.tokens, world.tokenizer, TextSettings(tokenizer=None, vocab_size=101, max_tokens=29))
    return world


def regions_of(kinds: np.ndarray, generator: np.random.Generator) -> Regions:
    count = len(kinds)
    left = np.arange(count) * 10.0
    features = generator.random((count, FEATURE_SIZE)) + np.eye(FEATURE_SIZE)[kinds] * 3
    probs = np.full((count, len(CLASSES)), 0.02) + np.eye(len(CLASSES))[kinds] * 0.86
    return Regions(
        boxes=np.stack([left, np.zeros(count), left + 9, np.full(count, 13.0)], axis=1).astype(np.float32),
        scores=np.full(count, 0.88, np.float32),
        features=features.astype(np.float16),
        class_probs=probs.astype(np.float16),
        image_size=(53, 13),
        num_confident=count,
        is_short=False,
    )


def make_dataset(
    world: World,
    *,
    split: str = "train",
    visual_target: str = "classes",
    has_few_widths: bool = False,
    **objective,
):
    """A dataset of the world with some of the objective's settings changed."""
    from transformers import AutoTokenizer

    return PretrainingDataset(
        TokenTable(world.tokens, split=split),
        RegionStore(world.stores),
        AutoTokenizer.from_pretrained(world.tokenizer),
        objective=ObjectiveSettings.model_validate(OBJECTIVE | objective),
        visual_target=visual_target,
        seed=3,
        has_few_widths=has_few_widths,
    )
