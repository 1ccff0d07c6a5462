"""What both ways of pretraining are measured on: random pairs and the settings of the paper's run."""

from pathlib import Path
from typing import Any

import yaml

from benchmarks.gpu.machine import Machine
from benchmarks.pretraining import make_pairs, make_tokenizer
from vilbert.settings import ModelSettings, PretrainingSettings, RuntimeSettings

CONFIG = Path(__file__).parents[2] / "workflow/configs/conceptual_captions.yaml"
NUM_PAIRS = {"train": 8_192, "val": 512}
SMALL_BATCH, SMALL_NUM_PAIRS = 8, {"train": 64, "val": 16}
SMALL_MODEL = {
    "text_hidden_size": 64,
    "text_num_layers": 2,
    "text_num_heads": 2,
    "text_intermediate_size": 64,
    "visual_hidden_size": 64,
    "visual_num_layers": 1,
    "visual_num_heads": 2,
    "visual_intermediate_size": 64,
    "co_hidden_size": 64,
    "co_num_heads": 2,
    "text_co_layers": [1],
    "visual_co_layers": [0],
}


def settings(machine: Machine) -> tuple[ModelSettings, PretrainingSettings, RuntimeSettings]:
    """The paper's run, from random weights, without evaluations or checkpoints on the way."""
    sections: dict[str, Any] = yaml.safe_load(CONFIG.read_text())
    model, pretraining, runtime = (sections[name] for name in ("model", "pretraining", "runtime"))
    model |= {"text_init": None} | (SMALL_MODEL if machine.quick else {})
    pretraining["optimizer"] |= {"num_epochs": 1_000} | ({"batch_size": SMALL_BATCH} if machine.quick else {})
    pretraining["evaluation"] = {"every_steps": 1_000_000, "num_pairs": 16, "num_retrieval_images": 2}
    runtime |= {"trackers": [], "log_every_steps": 10, "checkpoint_minutes": None}
    return (
        ModelSettings.model_validate(model),
        PretrainingSettings.model_validate(pretraining),
        RuntimeSettings.model_validate(runtime),
    )


def files(machine: Machine) -> tuple[Path, Path, Path]:
    """Tokens, tokenizer and feature store; made once."""
    tokens, tokenizer, store = (machine.folder / name for name in ("tokens.parquet", "tokenizer", "00000.lmdb"))
    if not tokens.exists():
        sizes = SMALL_NUM_PAIRS if machine.quick else NUM_PAIRS
        keys = [f"{split}-{index:08d}" for split, size in sizes.items() for index in range(size)]
        make_pairs(machine.folder, keys, num_images=16 if machine.quick else 256)
        make_tokenizer().save_pretrained(tokenizer)
    return tokens, tokenizer, store
