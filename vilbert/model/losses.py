"""Pretraining losses, each the mean over what was masked; 0, never NaN, where nothing was.

They are computed in float32, also of logits in bfloat16 and under autocast.

Dimension key:
    N: masked tokens or regions   B: batch   V: vocabulary   C: region classes   D: region feature
    K: candidates
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor


def masked_token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of [N, V] against int64 [N]."""
    return F.cross_entropy(at_least_float32(logits), labels, reduction="sum") / max(len(labels), 1)


def masked_region_loss(
    logits: Tensor, targets: Tensor, *, target: Literal["classes", "features", "contrastive"]
) -> Tensor:
    """How far predictions [N, C or D] of masked regions are from the detector's [N, C], [N, D] or [N, K, D].

    classes: KL divergence to the detector's distribution, in nats.
    features: squared error, mean over the elements.
    contrastive: cross entropy of finding the own feature, which is the first of K, by the dot product.
    Source: Lu et al. 2019, section 3.2; the code of Lu et al. 2020 for the contrastive one.
    """
    count = max(len(logits), 1)
    logits = at_least_float32(logits)
    targets = targets.to(logits.dtype)
    if target == "classes":
        return F.kl_div(logits.log_softmax(-1), targets, reduction="sum") / count
    if target == "features":
        return F.mse_loss(logits, targets, reduction="sum") / (count * logits.shape[-1])
    with torch.autocast(logits.device.type, enabled=False):
        similarity = torch.einsum("nd,nkd->nk", logits, targets)
    return -similarity.log_softmax(-1)[:, 0].sum() / count


def alignment_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of [B, 2] against int64 [B], 1 where the caption belongs to the image."""
    return F.cross_entropy(at_least_float32(logits), labels)


def at_least_float32(logits: Tensor) -> Tensor:
    """float64 stays what it is."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
