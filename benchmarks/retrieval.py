"""Retrieval evaluation on one core: ours against a forward pass a pair: python benchmarks/retrieval.py.

CPU seconds, the base model and the drawn world's; captions of 8 to 24 tokens, images of 36 regions and the whole image.
Pair by pair, each caption is padded to 30 tokens and meets all images in one batch, as in the original.
"""

import time
from collections.abc import Callable

import torch
from torch import Tensor

from vilbert.model.configuration_vilbert import VilbertConfig
from vilbert.model.modeling_tasks import VilbertForImageTextRetrieval
from vilbert.retrieval.scoring import EncodedImage, score_pairs

PADDED_TOKENS, NUM_REGIONS = 30, 37
SMALL = VilbertConfig(
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


def main() -> None:
    torch.set_num_threads(1)
    print("base:", compare(VilbertConfig(), num_captions=8, num_images=8))
    print("drawn world:", compare(SMALL, num_captions=100, num_images=100))


def compare(config: VilbertConfig, *, num_captions: int, num_images: int) -> str:
    """Both ways on the same pairs."""
    torch.manual_seed(0)
    model = VilbertForImageTextRetrieval(config).eval()
    captions, images = make_pairs(config, num_captions, num_images)
    score_pairs(model, captions[:1], images[:1])
    ours, scores = cpu_seconds(lambda: score_pairs(model, captions, images))
    theirs, expected = cpu_seconds(lambda: pair_by_pair(model, captions, images))
    num_pairs = num_captions * num_images
    is_same = torch.equal(scores.argsort(dim=1), expected.argsort(dim=1))
    return (
        f"{num_pairs / ours:,.1f} pairs/CPU-s, through forward {num_pairs / theirs:,.1f}: {theirs / ours:.2f} times; "
        f"largest difference {(scores - expected).abs().max():.1e}, "
        f"{'the same ranking' if is_same else 'ANOTHER RANKING'}"
    )


def make_pairs(config: VilbertConfig, num_captions: int, num_images: int) -> tuple[list[Tensor], list[EncodedImage]]:
    lengths = torch.randint(8, 25, (num_captions,)).tolist()
    captions = [torch.randint(5, config.vocab_size, (length,)) for length in lengths]
    size = config.visual_feature_size
    return captions, [
        EncodedImage(torch.rand(NUM_REGIONS, size), torch.rand(NUM_REGIONS, 5)) for _ in range(num_images)
    ]


@torch.inference_mode()
def pair_by_pair(model: VilbertForImageTextRetrieval, captions: list[Tensor], images: list[EncodedImage]) -> Tensor:
    features = torch.stack([image.features for image in images])
    boxes = torch.stack([image.boxes for image in images])
    rows = []
    for ids in captions:
        padded = torch.zeros(len(images), PADDED_TOKENS, dtype=torch.long)
        padded[:, : len(ids)] = ids
        mask = torch.zeros_like(padded)
        mask[:, : len(ids)] = 1
        rows.append(model(padded, features, boxes, attention_mask=mask).logits)
    return torch.stack(rows)


def cpu_seconds(work: Callable[[], Tensor]) -> tuple[float, Tensor]:
    """CPU time of all threads of this process, and what the work gives."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


if __name__ == "__main__":
    main()
