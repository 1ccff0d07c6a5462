"""The text stream from BERT: embeddings, layers and token head of a `bert-base-uncased` style checkpoint."""

import json
from pathlib import Path

import torch
from transformers.utils import cached_file

from vilbert.conversion.convert import translate
from vilbert.conversion.state_dicts import read_state_dict
from vilbert.model.modeling_vilbert import VilbertModel, VilbertPreTrainedModel

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
WORD, TOKEN_BIAS = "bert.embeddings.word_embeddings.weight", "cls.predictions.bias"
CONFIGS = ("config.json", "bert_config.json")


def text_init(model: VilbertPreTrainedModel, source: str | Path) -> list[str]:
    """Fill `model` in place; gives the names of the tensors that were filled.

    Two streams keep their own poolers and co-attention, as in the original: BERT has none. The single stream takes
    BERT's pooler and next-sentence head too. A model without these heads goes without.

    Args:
        source: folder or hub name.
    Raises: ValueError if it is no BERT, or its sizes are not those of the model's text stream; FileNotFoundError.
    Source: Lu et al. 2019, section 3.2.
    """
    state = read_state_dict(file_of(source, WEIGHTS))
    demand_bert(source, num_heads=model.config.text_num_heads)
    if not any(key.startswith("bert.") for key in state):  # saved without a head
        state = {f"bert.{key}": tensor for key, tensor in state.items()}
    is_two_stream = isinstance(model.base_model, VilbertModel)
    if is_two_stream:  # its alignment head reads both streams
        state = {key: tensor for key, tensor in state.items() if not key.startswith("cls.seq_relationship.")}
    if {TOKEN_BIAS, WORD} <= state.keys():  # tied in BERT, so that most files leave the decoder out
        state.setdefault("cls.predictions.decoder.weight", state[WORD])
    tensors = translate(state, is_two_stream=is_two_stream, task="pretraining").tensors
    if model.base_model is model:
        tensors = {name.removeprefix("vilbert."): tensor for name, tensor in tensors.items()}
    expected = model.state_dict()
    filled = {name: tensor for name, tensor in tensors.items() if name in expected}
    text = [name for name in expected if is_text(name, is_two_stream=is_two_stream)]
    if lacking := [name for name in text if name not in filled]:
        raise ValueError(f"{source} has no tensor for '{lacking[0]}', expected BERT with as many layers as the model")
    if more := [name for name in tensors if name not in expected and is_text(name, is_two_stream=is_two_stream)]:
        raise ValueError(f"{source} has '{more[0]}', which is more layers than the model's text stream has")
    for name, tensor in filled.items():
        if tensor.shape != expected[name].shape:
            raise ValueError(f"{source}: {name} is {list(tensor.shape)}, expected {list(expected[name].shape)}")
    with torch.no_grad():
        for name, tensor in filled.items():
            expected[name].copy_(tensor)
    return sorted(filled)


def is_text(name: str, *, is_two_stream: bool) -> bool:
    """Whether BERT has to have a tensor."""
    parts = ("text_embeddings.", "text_layers." if is_two_stream else "layers.")
    return name.removeprefix("vilbert.").startswith(parts) and not name.endswith("text_embeddings.task.weight")


def demand_bert(source: str | Path, *, num_heads: int) -> None:
    """Raises: ValueError for what the tensors do not tell, and would make another model of them."""
    stated = json.loads(file_of(source, CONFIGS).read_text())
    for name, expected in (("model_type", "bert"), ("hidden_act", "gelu"), ("num_attention_heads", num_heads)):
        if stated.get(name, expected) != expected:
            raise ValueError(f"{source}: {name} is {stated[name]}, expected {expected}")


def file_of(source: str | Path, names: tuple[str, ...]) -> Path:
    """The first of these files in a folder, or of a hub name; the hub's cache is read first.

    Raises: FileNotFoundError.
    """
    reason: Exception | None = None
    for name in names:
        path = Path(source) / name
        if path.is_file():
            return path
        if not Path(source).is_dir():
            try:
                found = cached_file(str(source), name)
            except OSError as error:
                reason = error
            else:
                return Path(str(found))
    raise FileNotFoundError(f"no {' or '.join(names)} in {source}: expected a BERT folder or hub name") from reason
