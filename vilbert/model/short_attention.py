"""Attention over rows so short that one block holds a whole one: a Triton kernel each way, for GPUs.

A program has all queries and all keys of one head of one pair, so softmax needs no second pass and the backward pass
makes the weights anew, from what the forward pass was given. Triton comes with torch where there is a GPU; nothing else
imports this module.

Dimension key:
    B: batch   Q: queries   K: keys and values   H: heads   D: width of a head
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.library import triton_op, wrap_triton

SMALLEST_BLOCK = 16  # rows that a matrix product of Triton's takes
SMALL_BLOCK = 32 * 32  # weights, for which two warps do
NUM_SEEDS = 2**31 - 1


def attend_short(query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor, dropout_p: float) -> Tensor:
    """What `F.scaled_dot_product_attention` gives, but for which weights are dropped.

    Args:
        query: [B, H, Q, D]; key, value: [B, H, K, D]; Q, K and D as `attention.is_short` has them.
        mask: bool [B or 1, 1, 1, K], True where there is something to attend to, which each row needs.
    Returns: [B, H, Q, D], in memory as [B, Q, H, D].
    """
    seed = torch.randint(NUM_SEEDS, (1,), device=query.device)
    rows = (tensor.transpose(1, 2).contiguous() for tensor in (query, key, value))
    is_there = mask[:, 0, 0].expand(len(query), -1).to(torch.uint8)
    return short_attention(*rows, is_there, seed, dropout_p).transpose(1, 2)


@triton_op("vilbert::short_attention", mutates_args={})
def short_attention(
    query: Tensor, key: Tensor, value: Tensor, is_there: Tensor, seed: Tensor, dropout_p: float
) -> Tensor:
    """Attention of [B, Q, H, D] over [B, K, H, D] -> [B, Q, H, D], all contiguous.

    Args:
        is_there: uint8 [B, K], 0 where there is nothing to attend to.
        seed: int64 [1], that says which weights are dropped.
    """
    mixed = torch.empty_like(query)
    num_pairs, num_queries, num_heads, width = query.shape
    wrap_triton(forward_kernel)[(num_pairs * num_heads,)](
        query,
        key,
        value,
        is_there,
        seed,
        mixed,
        dropout_p,
        width**-0.5,
        NUM_HEADS=num_heads,
        NUM_QUERIES=num_queries,
        NUM_KEYS=key.shape[1],
        WIDTH=width,
        BLOCK_Q=block_size(num_queries),
        BLOCK_K=block_size(key.shape[1]),
        DROPS=dropout_p > 0,
        num_warps=num_warps(num_queries, key.shape[1]),
    )
    return mixed


@triton_op("vilbert::short_attention_backward", mutates_args={})
def short_attention_backward(
    query: Tensor, key: Tensor, value: Tensor, is_there: Tensor, seed: Tensor, dropout_p: float, of_mixed: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of query, key and value from that of the result; all contiguous, shapes as in `short_attention`."""
    of_query, of_key, of_value = torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)
    num_pairs, num_queries, num_heads, width = query.shape
    wrap_triton(backward_kernel)[(num_pairs * num_heads,)](
        query,
        key,
        value,
        is_there,
        seed,
        of_mixed,
        of_query,
        of_key,
        of_value,
        dropout_p,
        width**-0.5,
        NUM_HEADS=num_heads,
        NUM_QUERIES=num_queries,
        NUM_KEYS=key.shape[1],
        WIDTH=width,
        BLOCK_Q=block_size(num_queries),
        BLOCK_K=block_size(key.shape[1]),
        DROPS=dropout_p > 0,
        num_warps=num_warps(num_queries, key.shape[1]),
    )
    return of_query, of_key, of_value


def keep_inputs(ctx, inputs: tuple, output: Tensor) -> None:
    *tensors, ctx.dropout_p = inputs
    ctx.save_for_backward(*tensors)


def backward(ctx, of_mixed: Tensor) -> tuple[Tensor | None, ...]:
    gradients = short_attention_backward(*ctx.saved_tensors, ctx.dropout_p, of_mixed.contiguous())
    return *gradients, None, None, None


short_attention.register_autograd(backward, setup_context=keep_inputs)


def block_size(length: int) -> int:
    """Of a block that holds so many rows."""
    return max(SMALLEST_BLOCK, triton.next_power_of_2(length))


def num_warps(num_queries: int, num_keys: int) -> int:
    return 2 if block_size(num_queries) * block_size(num_keys) <= SMALL_BLOCK else 4


@triton.jit
def places(pair, head, NUM_HEADS: tl.constexpr, LENGTH: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr):  # noqa: N803
    """Of the rows of one head in [B, LENGTH, H, D], [BLOCK, D], and which of them there are, [BLOCK, 1]."""
    row = tl.arange(0, BLOCK)
    start = (pair.to(tl.int64) * LENGTH * NUM_HEADS + head) * WIDTH
    return start + row[:, None] * (NUM_HEADS * WIDTH) + tl.arange(0, WIDTH)[None, :], row[:, None] < LENGTH


@triton.jit
def weights_of(
    query,
    key,
    is_there_start,
    scale,
    NUM_KEYS: tl.constexpr,  # noqa: N803
    BLOCK_K: tl.constexpr,  # noqa: N803
):
    """Softmax of the products of queries and keys, float32 [BLOCK_Q, BLOCK_K]; 0 where there is no key."""
    column = tl.arange(0, BLOCK_K)
    is_there = tl.load(is_there_start + column, mask=column < NUM_KEYS, other=0) != 0
    scores = tl.dot(query, tl.trans(key), input_precision="ieee") * scale
    scores = tl.where(is_there[None, :], scores, -float("inf"))
    weights = tl.exp(scores - tl.max(scores, axis=1)[:, None])
    return weights / tl.sum(weights, axis=1)[:, None]


@triton.jit
def factors(seed_at, dropout_p, program, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr):  # noqa: N803
    """What each weight is multiplied by, float32 [BLOCK_Q, BLOCK_K]: 0, or what makes up for those that are dropped.

    Its place and the seed are hashed, in a fifth of the instructions of Triton's `rand`, which cost as much as the
    reading of queries, keys and values.
    """
    place = tl.arange(0, BLOCK_Q)[:, None] * BLOCK_K + tl.arange(0, BLOCK_K)[None, :]
    place = place.to(tl.uint32) + program.to(tl.uint32) * (BLOCK_Q * BLOCK_K)
    drawn = mixed_bits(mixed_bits(place) ^ tl.load(seed_at).to(tl.uint32))
    uniform = (drawn >> 8).to(tl.float32) * (1.0 / (1 << 24))
    return tl.where(uniform >= dropout_p, 1 / (1 - dropout_p), 0.0)


@triton.jit
def mixed_bits(bits):
    """uint32 that depend on all of the 32 bits. Source: the finaliser of MurmurHash3."""
    bits = (bits ^ (bits >> 16)) * 0x85EBCA6B
    bits = (bits ^ (bits >> 13)) * 0xC2B2AE35
    return bits ^ (bits >> 16)


@triton.jit
def forward_kernel(
    query_at,
    key_at,
    value_at,
    is_there_at,
    seed_at,
    mixed_at,
    dropout_p,
    scale,
    NUM_HEADS: tl.constexpr,  # noqa: N803
    NUM_QUERIES: tl.constexpr,  # noqa: N803
    NUM_KEYS: tl.constexpr,  # noqa: N803
    WIDTH: tl.constexpr,  # noqa: N803
    BLOCK_Q: tl.constexpr,  # noqa: N803
    BLOCK_K: tl.constexpr,  # noqa: N803
    DROPS: tl.constexpr,  # noqa: N803
):
    program = tl.program_id(0)
    pair, head = program // NUM_HEADS, program % NUM_HEADS
    of_query, is_query = places(pair, head, NUM_HEADS, NUM_QUERIES, WIDTH, BLOCK_Q)
    of_key, is_key = places(pair, head, NUM_HEADS, NUM_KEYS, WIDTH, BLOCK_K)
    query = tl.load(query_at + of_query, mask=is_query, other=0.0)
    key = tl.load(key_at + of_key, mask=is_key, other=0.0)
    value = tl.load(value_at + of_key, mask=is_key, other=0.0)
    weights = weights_of(query, key, is_there_at + pair * NUM_KEYS, scale, NUM_KEYS, BLOCK_K)
    if DROPS:
        weights *= factors(seed_at, dropout_p, program, BLOCK_Q, BLOCK_K)
    mixed = tl.dot(weights.to(value.dtype), value, input_precision="ieee")
    tl.store(mixed_at + of_query, mixed.to(value.dtype), mask=is_query)


@triton.jit
def backward_kernel(
    query_at,
    key_at,
    value_at,
    is_there_at,
    seed_at,
    of_mixed_at,
    of_query_at,
    of_key_at,
    of_value_at,
    dropout_p,
    scale,
    NUM_HEADS: tl.constexpr,  # noqa: N803
    NUM_QUERIES: tl.constexpr,  # noqa: N803
    NUM_KEYS: tl.constexpr,  # noqa: N803
    WIDTH: tl.constexpr,  # noqa: N803
    BLOCK_Q: tl.constexpr,  # noqa: N803
    BLOCK_K: tl.constexpr,  # noqa: N803
    DROPS: tl.constexpr,  # noqa: N803
):
    program = tl.program_id(0)
    pair, head = program // NUM_HEADS, program % NUM_HEADS
    of_query, is_query = places(pair, head, NUM_HEADS, NUM_QUERIES, WIDTH, BLOCK_Q)
    of_key, is_key = places(pair, head, NUM_HEADS, NUM_KEYS, WIDTH, BLOCK_K)
    query = tl.load(query_at + of_query, mask=is_query, other=0.0)
    key = tl.load(key_at + of_key, mask=is_key, other=0.0)
    value = tl.load(value_at + of_key, mask=is_key, other=0.0)
    of_mixed = tl.load(of_mixed_at + of_query, mask=is_query, other=0.0)  # 0 for what is no query: it changes nothing
    weights = weights_of(query, key, is_there_at + pair * NUM_KEYS, scale, NUM_KEYS, BLOCK_K)
    of_weights = tl.dot(of_mixed, tl.trans(value), input_precision="ieee")
    kept = weights
    if DROPS:
        factor = factors(seed_at, dropout_p, program, BLOCK_Q, BLOCK_K)
        kept, of_weights = weights * factor, of_weights * factor
    of_value = tl.dot(tl.trans(kept.to(value.dtype)), of_mixed, input_precision="ieee")
    tl.store(of_value_at + of_key, of_value.to(value.dtype), mask=is_key)
    of_scores = weights * (of_weights - tl.sum(weights * of_weights, axis=1)[:, None])
    of_scores = (of_scores * scale).to(value.dtype)
    of_query_values = tl.dot(of_scores, key, input_precision="ieee")
    tl.store(of_query_at + of_query, of_query_values.to(value.dtype), mask=is_query)
    of_key_values = tl.dot(tl.trans(of_scores), query, input_precision="ieee")
    tl.store(of_key_at + of_key, of_key_values.to(value.dtype), mask=is_key)
