"""The kernels of short attention beside PyTorch's attention, in Triton's interpreter, for a test.

A process of its own: Triton asks once, when it is imported, whether to interpret.
"""

import json
import sys

import torch
import torch.nn.functional as F

torch.library.wrap_triton = lambda kernel: kernel  # of interpreted kernels it would say that they are none

from vilbert.model.short_attention import short_attention  # noqa: E402


def main(heads: int, queries: int, keys: int, width: int, dtype: torch.dtype, dropout_p: float) -> dict[str, float]:
    """How far the result and the gradients are from PyTorch's at most; the share of the weights that are dropped."""
    generator = torch.Generator().manual_seed(7)
    shapes = {"query": queries, "key": keys, "value": keys}
    inputs = {
        name: torch.randn(3, length, heads, width, generator=generator).to(dtype).requires_grad_()
        for name, length in shapes.items()
    }
    is_there = torch.rand(3, keys, generator=generator) > 0.3
    is_there[:, 0] = True
    seed, given = torch.tensor([11]), torch.randn(3, queries, heads, width, generator=generator).to(dtype)

    def attend(values: torch.Tensor) -> torch.Tensor:
        return short_attention(inputs["query"], inputs["key"], values, is_there.to(torch.uint8), seed, dropout_p)

    # The weights themselves: what comes of values of which each has a one in a column of its own.
    columns = torch.eye(keys, width)[:, None].expand(3, -1, heads, -1).to(dtype).contiguous()
    is_kept = attend(columns).detach()[..., :keys].transpose(1, 2) != 0
    query, key, value = (tensor.detach().float().transpose(1, 2).requires_grad_() for tensor in inputs.values())
    scores = (query @ key.transpose(-1, -2) / width**0.5).masked_fill(~is_there[:, None, None], -torch.inf)
    expected = scores.softmax(-1) * is_kept / (1 - dropout_p) @ value
    if not dropout_p:
        torch.testing.assert_close(
            expected, F.scaled_dot_product_attention(query, key, value, attn_mask=is_there[:, None, None])
        )
    mixed = attend(inputs["value"])
    mixed.backward(given)
    expected.backward(given.float().transpose(1, 2))
    pairs = {"result": (mixed.detach(), expected.detach())}
    pairs |= {name: (inputs[name].grad, one.grad) for name, one in zip(inputs, (query, key, value), strict=True)}
    errors = {
        name: float((ours.float().transpose(1, 2) - theirs).abs().max()) for name, (ours, theirs) in pairs.items()
    }
    is_asked = is_there[:, None, None].expand_as(is_kept)
    return errors | {"dropped": float((~is_kept & is_asked).sum() / is_asked.sum())}


if __name__ == "__main__":
    heads, queries, keys, width = map(int, sys.argv[1:5])
    print(json.dumps(main(heads, queries, keys, width, getattr(torch, sys.argv[5]), float(sys.argv[6]))))
