"""Attention by the kernel that is fastest for the shapes: the one for short rows, or PyTorch's choice.

The one for short rows stands in compiled layers alone: these launch it without passing through Python.

Dimension key:
    B: batch   Q: queries   K: keys and values   H: heads   D: width of a head
"""

import torch
import torch.nn.functional as F
from torch import Tensor

LONGEST = 64  # queries, and keys, that a block holds
WIDTHS = (32, 64, 128)
DTYPES = (torch.bfloat16, torch.float16)  # of float32 a program's registers hold too little

# On an H100 it takes a fourth of the time, and its launches more than that: a step was slower with it. `python -m
# benchmarks gpu` measures both.
has_short_kernel = False


def attend(query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None, dropout_p: float) -> Tensor:
    """Softmax-weighted means of values.

    Args:
        query: [B, H, Q, D]; key, value: [B, H, K, D].
        mask: bool [B or 1, 1, 1, K], True where there is something to attend to; None: everywhere.
        dropout_p: share of the weights that are dropped.
    Returns: [B, H, Q, D].
    """
    if mask is not None and has_short_kernel and torch.compiler.is_compiling() and is_short(query, key):
        from vilbert.model.short_attention import attend_short  # Triton is there where there is a GPU

        return attend_short(query, key, value, mask=mask, dropout_p=dropout_p)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout_p)


def is_short(query: Tensor, key: Tensor) -> bool:
    """Whether the kernel for short rows takes them."""
    return (
        query.is_cuda
        and query.dtype in DTYPES
        and len(query) == len(key)
        and max(query.shape[-2], key.shape[-2]) <= LONGEST
        and query.shape[-1] in WIDTHS
    )
