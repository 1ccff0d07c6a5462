"""Retrieval scores of the base model: every caption against every image."""

from collections.abc import Iterator

import torch

from benchmarks.gpu.machine import Machine, Row, waits_for_the_gpu
from benchmarks.retrieval import DRAWN, NUM_REGIONS
from vilbert.model.configuration_vilbert import VilbertConfig
from vilbert.model.modeling_tasks import VilbertForImageTextRetrieval
from vilbert.retrieval.scoring import EncodedImage, score_pairs
from vilbert.training.precision import Dtype, multiplied_in

DTYPES: tuple[Dtype, ...] = ("float32", "bfloat16")


def measure_scores(machine: Machine) -> Iterator[Row]:
    config, num_captions, num_images = (DRAWN, 2, 3) if machine.quick else (VilbertConfig(), 40, 1000)
    torch.manual_seed(0)
    model = VilbertForImageTextRetrieval(config).eval().to(machine.device)
    lengths = torch.randint(8, 25, (num_captions,)).tolist()
    captions = [torch.randint(5, config.vocab_size, (length,)) for length in lengths]
    size = config.visual_feature_size
    images = [EncodedImage(torch.rand(NUM_REGIONS, size), torch.rand(NUM_REGIONS, 5)) for _ in range(num_images)]
    found = {}
    for dtype in DTYPES:
        with multiplied_in(dtype, machine.device.type):
            score_pairs(model, captions[:2], images)
            seconds = machine.seconds(lambda: found.update({dtype: score_pairs(model, captions, images)}), times=1)  # noqa: B023
            yield Row("retrieval scores, base model", dtype, f"{num_captions * num_images / seconds:,.0f} pairs/s")
            if machine.device.type == "cuda":
                num_waits = waits_for_the_gpu(lambda: score_pairs(model, captions[:9], images[:99]))
                yield Row(
                    "retrieval scores, base model", dtype, f"waits for the GPU {num_waits} time(s): 1 reads them back"
                )
    apart = (found["bfloat16"] - found["float32"]).abs().max() / found["float32"].std()
    yield Row(
        "retrieval scores, base model", "bfloat16", f"at most {apart:.3f} of their deviation from those in float32"
    )
