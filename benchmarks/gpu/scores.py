"""Retrieval scores of the base model: every caption against every image."""

from collections.abc import Iterator

import torch

from benchmarks.gpu.machine import Machine, Row
from benchmarks.retrieval import DRAWN, NUM_REGIONS
from vilbert.model.configuration_vilbert import VilbertConfig
from vilbert.model.modeling_tasks import VilbertForImageTextRetrieval
from vilbert.retrieval.scoring import EncodedImage, score_pairs


def measure_scores(machine: Machine) -> Iterator[Row]:
    config, num_captions, num_images = (DRAWN, 2, 3) if machine.quick else (VilbertConfig(), 40, 1000)
    torch.manual_seed(0)
    model = VilbertForImageTextRetrieval(config).eval().to(machine.device)
    lengths = torch.randint(8, 25, (num_captions,)).tolist()
    captions = [torch.randint(5, config.vocab_size, (length,)) for length in lengths]
    size = config.visual_feature_size
    images = [EncodedImage(torch.rand(NUM_REGIONS, size), torch.rand(NUM_REGIONS, 5)) for _ in range(num_images)]
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        model.to(dtype)
        score_pairs(model, captions[:2], images)
        seconds = machine.seconds(lambda: score_pairs(model, captions, images), times=1)
        yield Row("retrieval scores, base model", name, f"{num_captions * num_images / seconds:,.0f} pairs/s")
