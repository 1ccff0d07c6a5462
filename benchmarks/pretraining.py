"""What pretraining costs on one core, at the paper's sizes: python benchmarks/pretraining.py.

The batches: pairs a second from the feature store, masked and padded, 36 regions of 2048 features and 1601 classes.
The step: forward and backward of the base model on batches of like length with the logits that are asked for, against
texts padded to 36 tokens with the logits of every position, which is what the original computes. Caption lengths are
those of Conceptual Captions. CPU seconds, so that other work on the machine counts little.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F

from extract.regions.store import Regions, RegionStore, RegionStoreWriter
from vilbert.batches.sampling import Draw, StepSampler
from vilbert.batches.tokens import TokenTable, train_tokenizer
from vilbert.model.configuration_vilbert import VilbertConfig
from vilbert.model.inputs import Batch
from vilbert.model.modeling_vilbert import VilbertForPreTraining
from vilbert.pretraining.data import PretrainingDataset
from vilbert.settings import ObjectiveSettings

NUM_PAIRS, NUM_REGIONS, FEATURE_SIZE, NUM_CLASSES = 2_048, 36, 2048, 1601
MAX_TOKENS, VOCABULARY = 36, 30_522
DATA_BATCH, STEP_BATCH, NUM_STEPS = 256, 8, 3
OBJECTIVE = ObjectiveSettings(
    token_mask_probability=0.15,
    region_mask_probability=0.15,
    mask_overlap_iou=0.4,
    mismatch_probability=0.5,
    masked_losses_on="aligned",
    masked_token=1,
    masked_region=1,
    alignment=1,
)


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        dataset = make_dataset(Path(name))
        seconds, num_pairs = cpu_seconds(lambda: sum(len(batch["input_ids"]) for batch in data_batches(dataset)))
        print(f"batches: {num_pairs / seconds:,.0f} pairs/CPU-s")
        model = VilbertForPreTraining(VilbertConfig())
        sampler = StepSampler(dataset.tokens.lengths(), batch_size=STEP_BATCH, num_steps=NUM_STEPS, seed=0)
        batches = [dataset.__getitems__(draws) for draws in sampler]
        step(model, batches[0])
        ours, _ = cpu_seconds(lambda: [step(model, batch) for batch in batches])
        theirs, _ = cpu_seconds(lambda: [original_step(model, batch) for batch in batches])
    pairs = NUM_STEPS * STEP_BATCH
    print(f"forward and backward: {pairs / ours:.2f} pairs/CPU-s, as the original {pairs / theirs:.2f}: ", end="")
    print(f"{theirs / ours:.2f} times, float32, batch {STEP_BATCH}, no optimizer step")


def make_dataset(folder: Path) -> PretrainingDataset:
    """Random pairs whose captions are as long as real ones: 5 to 36 tokens, 12.8 on average."""
    generator = np.random.default_rng(0)
    keys = [f"train-{index:08d}" for index in range(NUM_PAIRS)]
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
        for key in keys:
            writer.put(key, random_regions(generator))
    lengths = np.clip(np.round(generator.gamma(5, 1.6, NUM_PAIRS) + 5), 5, MAX_TOKENS).astype(int)
    ids = [generator.integers(1000, VOCABULARY, length).astype(np.uint16) for length in lengths]
    table = pa.table({"key": keys, "image_key": keys, "input_ids": pa.array(ids, pa.list_(pa.uint16()))})
    pq.write_table(table, folder / "tokens.parquet")
    return PretrainingDataset(
        TokenTable(folder / "tokens.parquet", split="train"),
        RegionStore([folder / "00000.lmdb"]),
        train_tokenizer(["a"], vocab_size=VOCABULARY),
        objective=OBJECTIVE,
        visual_target="classes",
        seed=0,
    )


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


def data_batches(dataset: PretrainingDataset):
    for start in range(0, NUM_PAIRS, DATA_BATCH):
        yield dataset.__getitems__([Draw(0, example) for example in range(start, start + DATA_BATCH)])


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


def cpu_seconds(work: Callable[[], object]) -> tuple[float, object]:
    """CPU time of all threads of this process, and what the work gives."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


if __name__ == "__main__":
    main()
