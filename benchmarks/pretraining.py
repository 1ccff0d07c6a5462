"""What pretraining costs at the paper's sizes.

The batches: pairs from the feature store, masked and padded, 36 regions of 2048 features and 1601 classes. The step:
forward and backward of the base model in float32, without the optimizer, on batches of like length with the logits that
are asked for, against texts padded to 36 tokens with the logits of every position, which is what the original computes.
Caption lengths are those of Conceptual Captions.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
from transformers import BertTokenizer

from benchmarks.clock import Clock
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
DATA_BATCH, STEP_BATCH, NUM_STEPS = 256, 8, 3
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


def walk(dataset: PretrainingDataset) -> None:
    """Make every pair part of a batch."""
    for start in range(0, len(dataset), DATA_BATCH):
        examples = range(start, min(start + DATA_BATCH, len(dataset)))
        dataset.__getitems__([Draw(0, example) for example in examples])


def step(model: VilbertForPreTraining, batch: Batch) -> None:
    model(**batch).loss.backward()


def original_step(model: VilbertForPreTraining, batch: Batch) -> None:
    """The same losses by the logits of every position of texts padded to the longest that there may be."""
    missing = MAX_TOKENS - batch["input_ids"].shape[1]
    text = {name: F.pad(batch[name], (0, missing)) for name in ("input_ids", "token_type_ids", "attention_mask")}
    labels = F.pad(batch["labels"], (0, missing), value=-100)
    visual = {name: batch[name] for name in ("visual_features", "visual_boxes", "visual_attention_mask")}
    output = model(**text, **visual)
    tokens = F.cross_entropy(output.token_logits.flatten(0, 1), labels.flatten(), reduction="sum")
    targets = torch.zeros_like(output.region_logits)
    targets[batch["region_target_mask"]] = batch["region_targets"].float()
    divergence = F.kl_div(output.region_logits.log_softmax(-1), targets, reduction="none").sum(-1)
    regions = (divergence * batch["region_target_mask"]).sum()
    alignment = F.cross_entropy(output.alignment_logits, batch["alignment_labels"])
    (tokens + regions + alignment).backward()


WAYS = {"logits that are asked for": step, "every logit, padded to 36": original_step}


def bench_batches(clock: Clock, dataset):
    clock(lambda: walk(dataset), what="pretraining batches", count=len(dataset), unit="pairs")


@pytest.mark.parametrize("way", WAYS)
def bench_step(clock: Clock, model, batches, way):
    clock(
        lambda: [WAYS[way](model, batch) for batch in batches],
        what=f"forward and backward, base model, batch {STEP_BATCH}",
        way=way,
        count=len(batches) * STEP_BATCH,
        unit="pairs",
    )
