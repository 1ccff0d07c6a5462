"""A published checkpoint in small, as `write_reference.py` wrote it."""

import json

from places import REFERENCE
from safetensors.torch import load_file
from torch import Tensor


def checkpoint(name: str = "two_stream") -> tuple[dict[str, Tensor], dict]:
    """The tensors of a published file in small, and its json."""
    tensors = load_file(REFERENCE / f"{name}.safetensors")
    state = {key.removeprefix("param/"): value for key, value in tensors.items() if key.startswith("param/")}
    return state, json.loads((REFERENCE / f"{name}.json").read_text())["config"]
