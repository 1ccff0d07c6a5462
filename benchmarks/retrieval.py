"""Retrieval's scores: ours against the original's fast mode, for the base model and the drawn world's.

Captions of 8 to 24 tokens, images of 36 regions and the whole image. In the fast mode each caption is padded to 30
tokens, runs alone to where it first meets an image, and then with all images in one batch, by attention whose weights
are all written down; both ways must rank alike.
"""

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.clock import Clock
from vilbert.model.configuration_vilbert import VilbertConfig
from vilbert.model.modeling_tasks import VilbertForImageTextRetrieval
from vilbert.retrieval.scoring import EncodedImage, score_pairs

PADDED_TOKENS, NUM_REGIONS = 30, 37
DRAWN = VilbertConfig(
    vocab_size=123,
    visual_feature_size=256,
    text_hidden_size=96,
    text_num_layers=4,
    text_num_heads=4,
    text_intermediate_size=384,
    visual_hidden_size=96,
    visual_num_layers=2,
    visual_num_heads=4,
    visual_intermediate_size=96,
    co_hidden_size=96,
    co_num_heads=4,
    text_co_layers=(2, 3),
    visual_co_layers=(0, 1),
)
SIDES = {"base": (VilbertConfig(), 8), "drawn world's": (DRAWN, 100)}  # and how many captions meet as many images


@dataclass(frozen=True)
class Pairs:
    name: str
    model: VilbertForImageTextRetrieval
    captions: list[Tensor]
    images: list[EncodedImage]
    expected: Tensor


@pytest.fixture(scope="module", params=SIDES)
def pairs(request, quick) -> Pairs:
    config, number = (DRAWN, 3) if quick else SIDES[request.param]
    torch.manual_seed(0)
    model = VilbertForImageTextRetrieval(config).eval()
    captions = [torch.randint(5, config.vocab_size, (length,)) for length in torch.randint(8, 25, (number,)).tolist()]
    size = config.visual_feature_size
    images = [EncodedImage(torch.rand(NUM_REGIONS, size), torch.rand(NUM_REGIONS, 5)) for _ in range(number)]
    return Pairs(request.param, model, captions, images, fast_mode(model, captions, images))


@torch.inference_mode()
def fast_mode(model: VilbertForImageTextRetrieval, captions: list[Tensor], images: list[EncodedImage]) -> Tensor:
    features = torch.stack([image.features for image in images])
    boxes = torch.stack([image.boxes for image in images])
    rows = []
    for ids in captions:
        padded = F.pad(ids, (0, PADDED_TOKENS - len(ids)))[None]
        mask = F.pad(torch.ones_like(ids), (0, PADDED_TOKENS - len(ids)))[None]
        rows.append(model(padded, features, boxes, attention_mask=mask, output_attentions=True).logits)
    return torch.stack(rows)


WAYS = {"exact scores": score_pairs, "the original's fast mode": fast_mode}


@pytest.mark.parametrize("way", WAYS)
def bench_scoring(clock: Clock, pairs, way):
    scores = clock(
        lambda: WAYS[way](pairs.model, pairs.captions, pairs.images),
        what=f"retrieval scores, {pairs.name} model",
        way=way,
        count=pairs.expected.numel(),
        unit="pairs",
    )
    torch.testing.assert_close(scores, pairs.expected, rtol=0, atol=1e-5)
    assert torch.equal(scores.argsort(dim=1), pairs.expected.argsort(dim=1))
