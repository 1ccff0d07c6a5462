"""Weights from a file, and nothing but weights."""

import pickle
import re
import struct
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

NESTED = ("model_state_dict", "state_dict", "model")  # where training scripts put the weights beside other things
RENAMED = {"gamma": "weight", "beta": "bias"}  # LayerNorm of the first BERT files
# What the readers let through for damaged bytes: some are named, the others are what their own lines ran into.
NAMED = (SafetensorError, RuntimeError, EOFError, OSError)
UNFORESEEN = (LookupError, ValueError, TypeError, AttributeError, AssertionError, struct.error)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors by their key, as the original named them: without wrappers' prefixes, gamma and beta renamed.

    Raises: FileNotFoundError; ValueError for a file of anything but tensors, or that cannot be read.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}: expected a .bin, .pth or .safetensors file")
    loaded = load_tensors(path)
    for name in NESTED:
        if isinstance(loaded.get(name), Mapping):
            loaded = loaded[name]
            break
    state = {own_key(str(key)): value for key, value in loaded.items()}
    for key, value in state.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"{path} holds a {type(value).__name__} as '{key}', expected tensors only")
    if not state:
        raise ValueError(f"{path} holds no tensor")
    if len(state) != len(loaded):
        raise ValueError(
            f"{path} holds {len(loaded)} keys that are {len(state)} without prefixes, expected one of each"
        )
    return state


def load_tensors(path: Path) -> Mapping:
    """The mapping in a file; code in a pickle is never run."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL (\S+)", str(error))  # the rest of torch's message tells how to run it all the same
        reason = f"it asks for {wanted[1]}" if wanted else "it holds something else"
        raise ValueError(f"{path} is no pickle of tensors alone, refused: {reason}") from error
    except (*NAMED, *UNFORESEEN) as error:
        raise ValueError(f"{path} cannot be read as a checkpoint: {first_line(error)}") from error
    if not isinstance(loaded, Mapping):
        raise ValueError(f"{path} holds a {type(loaded).__name__}, expected tensors by name")
    return loaded


def own_key(key: str) -> str:
    """The key as vilbert_beta writes it: without DataParallel's `module.`, MMF's `model.`, `bert.bert.`."""
    key = re.sub(r"^(module\.)*(model\.)?(bert\.(?=(bert|cls|classifier)\.))?", "", key)
    stem, _, last = key.rpartition(".")
    return f"{stem}.{RENAMED.get(last, last)}" if stem else key


def first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
