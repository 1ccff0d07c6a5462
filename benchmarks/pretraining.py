"""What pretraining costs at the paper's sizes.

The batches: pairs from the feature store, masked and padded, 36 regions of 2048 features and 1601 classes, against
pickled records that are masked one token and one region at a time and padded to 36 and 37, in float32. The step:
forward and backward of the base model, without the optimizer, on batches of like length with the logits that are asked
for, in float32 and, where the CPU multiplies it by itself, in bfloat16; against texts padded to 36 tokens, attention
whose weights are all written down and the logits of every position, in float32. The last of each is what the original
computes, written plainly. Caption lengths are those of Conceptual Captions.
"""

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
from transformers import BertTokenizer

from benchmarks.clock import Clock
from benchmarks.store import pack_original, read_original
from extract.regions.store import Regions, RegionStore, RegionStoreWriter
from vilbert.batches.sampling import Draw, StepSampler
from vilbert.batches.tokens import TokenTable, train_tokenizer
from vilbert.model.configuration_vilbert import VilbertConfig
from vilbert.model.inputs import Batch
from vilbert.model.modeling_vilbert import VilbertForPreTraining
from vilbert.pretraining.data import PretrainingDataset
from vilbert.settings import ObjectiveSettings

NUM_REGIONS, FEATURE_SIZE, NUM_CLASSES = 36, 2048, 1601
MAX_TOKENS, VOCABULARY = 36, 30_522
DATA_BATCH, STEP_BATCH, NUM_STEPS = 256, 8, 6
NUM_PICKLED, MASK_ID = 128, 4
SHALLOW = VilbertConfig(text_num_layers=2, visual_num_layers=1, text_co_layers=(1,), visual_co_layers=(0,))
OBJECTIVE = ObjectiveSettings(
    token_mask_probability=0.15,
    region_mask_probability=0.15,
    mask_overlap_iou=0.4,
    mismatch_probability=0.5,
    contrast_words=(),
    contrast_mask_probability=None,
    late=None,
    masked_losses_on="aligned",
    masked_token=1,
    masked_region=1,
    alignment=1,
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, quick) -> PretrainingDataset:
    """Random pairs whose captions are as long as real ones: 5 to 36 tokens, 12.8 on average."""
    folder, num_pairs = tmp_path_factory.mktemp("pretraining"), 17 if quick else 2_048
    make_pairs(folder, [f"train-{index:08d}" for index in range(num_pairs)], num_images=num_pairs)
    return PretrainingDataset(
        TokenTable(folder / "tokens.parquet", split="train"),
        RegionStore([folder / "00000.lmdb"]),
        make_tokenizer(),
        objective=OBJECTIVE,
        visual_target="classes",
        seed=0,
    )


def make_tokenizer() -> BertTokenizer:
    return train_tokenizer([f"word{number}" for number in range(VOCABULARY)], vocab_size=VOCABULARY)


def make_pairs(folder: Path, keys: list[str], *, num_images: int) -> None:
    """tokens.parquet and 00000.lmdb in a folder.

    Args:
        num_images: that are drawn; where there are more keys, several have the same.
    """
    generator = np.random.default_rng(0)
    images = [random_regions(generator) for _ in range(num_images)]
    writer = RegionStoreWriter(
        folder / "00000.lmdb",
        classes=tuple(f"class {index}" for index in range(NUM_CLASSES)),
        feature_size=FEATURE_SIZE,
        num_classes_kept=None,
        box_source="proposal",
        detector={},
        selection={},
    )
    with writer:
        for index, key in enumerate(keys):
            writer.put(key, images[index % num_images])
    lengths = np.clip(np.round(generator.gamma(5, 1.6, len(keys)) + 5), 5, MAX_TOKENS).astype(int)
    ids = [generator.integers(1000, VOCABULARY, length).astype(np.uint16) for length in lengths]
    columns = {"key": keys, "image_key": keys, "num_regions": [NUM_REGIONS] * len(keys)}
    pq.write_table(pa.table(columns | {"input_ids": pa.array(ids, pa.list_(pa.uint16()))}), folder / "tokens.parquet")


def random_regions(generator: np.random.Generator) -> Regions:
    corners = generator.random((NUM_REGIONS, 2), np.float32) * 300
    return Regions(
        boxes=np.concatenate([corners, corners + 1 + generator.random((NUM_REGIONS, 2), np.float32) * 150], axis=1),
        scores=generator.random(NUM_REGIONS, np.float32),
        features=generator.random((NUM_REGIONS, FEATURE_SIZE), np.float32).astype(np.float16),
        class_probs=generator.random((NUM_REGIONS, NUM_CLASSES), np.float32).astype(np.float16),
        image_size=(640, 480),
        num_confident=NUM_REGIONS,
        is_short=False,
    )


@pytest.fixture(scope="module")
def model(quick) -> VilbertForPreTraining:
    return VilbertForPreTraining(SHALLOW if quick else VilbertConfig())


@pytest.fixture(scope="module")
def batches(dataset, quick) -> list[Batch]:
    num_steps = 1 if quick else NUM_STEPS
    sampler = StepSampler(dataset.tokens.lengths(), batch_size=STEP_BATCH, num_steps=num_steps, seed=0)
    return [dataset.__getitems__(draws) for draws in sampler]


@dataclass(frozen=True)
class Pairs:
    """The first of the data set, in both formats."""

    dataset: PretrainingDataset
    records: list[bytes]


@pytest.fixture(scope="module")
def pairs(dataset) -> Pairs:
    images = [dataset.tokens.image_keys[index].as_py() for index in range(min(NUM_PICKLED, len(dataset)))]
    return Pairs(dataset, [pack_original(dataset.store[image]) for image in images])


def our_batches(pairs: Pairs) -> None:
    """Every pair of the data set as part of a batch."""
    for start in range(0, len(pairs.dataset), DATA_BATCH):
        examples = range(start, min(start + DATA_BATCH, len(pairs.dataset)))
        pairs.dataset.__getitems__([Draw(0, example) for example in examples])


def original_batch(pairs: Pairs) -> Batch:
    """The pairs that there are records of, as one."""
    draw = random.Random(0)
    made = [original_pair(record, pairs.dataset.tokens[row], draw) for row, record in enumerate(pairs.records)]
    return {name: torch.from_numpy(np.stack([pair[name] for pair in made])) for name in made[0]}


def original_pair(record: bytes, input_ids: np.ndarray, draw: random.Random) -> dict[str, np.ndarray]:
    """As vilbert_beta's data set does: one token and one region at a time, padded to the most that there may be."""
    features, boxes, class_probs = read_original(record)
    ids, labels = [], []
    for token in input_ids.tolist():
        is_masked, kind = draw.random() < 0.15, draw.random()
        labels.append(token if is_masked else -1)
        other = MASK_ID if kind < 0.8 else draw.randrange(VOCABULARY) if kind < 0.9 else token
        ids.append(other if is_masked else token)
    num_tokens, missing = len(ids), MAX_TOKENS - len(ids)
    visible = np.zeros((1 + NUM_REGIONS, FEATURE_SIZE), np.float32)
    visible[1:] = features
    asked = [-1]
    for region in range(1, 1 + NUM_REGIONS):
        is_masked = draw.random() < 0.15
        if is_masked and draw.random() < 0.9:
            visible[region] = 0
        asked.append(1 if is_masked else -1)
    visible[0] = visible[1:].sum(axis=0) / NUM_REGIONS
    places = np.zeros((1 + NUM_REGIONS, 5), np.float32)
    places[0] = (0, 0, 1, 1, 1)
    places[1:, :4] = boxes / (640, 480, 640, 480)
    places[1:, 4] = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / (640 * 480)
    targets = np.zeros((1 + NUM_REGIONS, NUM_CLASSES), np.float32)
    targets[1:] = class_probs
    return {
        "input_ids": np.array(ids + [0] * missing),
        "labels": np.array(labels + [-1] * missing),
        "attention_mask": np.array([1] * num_tokens + [0] * missing),
        "token_type_ids": np.zeros(MAX_TOKENS, np.int64),
        "visual_features": visible,
        "visual_boxes": places,
        "region_targets": targets,
        "region_labels": np.array(asked),
        "visual_attention_mask": np.ones(1 + NUM_REGIONS, np.int64),
    }


def step(model: VilbertForPreTraining, batch: Batch) -> None:
    model(**batch).loss.backward()


def half_step(model: VilbertForPreTraining, batch: Batch) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(**batch).loss
    loss.backward()


def original_step(model: VilbertForPreTraining, batch: Batch) -> None:
    """The same losses by the logits of every position of texts padded to the longest that there may be, in float32."""
    missing = MAX_TOKENS - batch["input_ids"].shape[1]
    text = {name: F.pad(batch[name], (0, missing)) for name in ("input_ids", "token_type_ids", "attention_mask")}
    labels = F.pad(batch["labels"], (0, missing), value=-100)
    visual = {name: batch[name] for name in ("visual_features", "visual_boxes", "visual_attention_mask")}
    output = model(**text, **visual, output_attentions=True)
    tokens = F.cross_entropy(output.token_logits.flatten(0, 1), labels.flatten(), reduction="sum")
    targets = torch.zeros_like(output.region_logits)
    targets[batch["region_target_mask"]] = batch["region_targets"].float()
    divergence = F.kl_div(output.region_logits.log_softmax(-1), targets, reduction="none").sum(-1)
    regions = (divergence * batch["region_target_mask"]).sum()
    alignment = F.cross_entropy(output.alignment_logits, batch["alignment_labels"])
    (tokens + regions + alignment).backward()


BATCHES = {"our store and batches": our_batches, "pickled, one by one": original_batch}
STEPS = {
    "logits that are asked for": step,
    **({"the same in bfloat16": half_step} if torch.cpu._is_amx_tile_supported() else {}),
    "every logit, padded to 36": original_step,
}


@pytest.mark.parametrize("way", BATCHES)
def bench_batches(clock: Clock, pairs, way):
    count = len(pairs.dataset if way == "our store and batches" else pairs.records)
    clock(lambda: BATCHES[way](pairs), what="pretraining batches", way=way, count=count, unit="pairs")


@pytest.mark.parametrize("way", STEPS)
def bench_step(clock: Clock, model, batches, way):
    clock(
        lambda: [STEPS[way](model, batch) for batch in batches],
        what=f"forward and backward, base model, batch {STEP_BATCH}",
        way=way,
        count=len(batches) * STEP_BATCH,
        unit="pairs",
    )
