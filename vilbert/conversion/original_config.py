"""The configuration of a published checkpoint: sizes from its tensors, the rest from its json or from what is usual."""

import json
import re
from pathlib import Path

from torch import Tensor

from vilbert.model.configuration_vilbert import TextAndRegionsConfig, VilbertConfig, VilbertSingleStreamConfig

# Of the original json, what tensors give as well: its name, ours.
SIZES = {
    "vocab_size": "vocab_size",
    "max_position_embeddings": "max_position_embeddings",
    "type_vocab_size": "type_vocab_size",
    "hidden_size": "text_hidden_size",
    "num_hidden_layers": "text_num_layers",
    "intermediate_size": "text_intermediate_size",
    "v_feature_size": "visual_feature_size",
    "v_hidden_size": "visual_hidden_size",
    "v_num_hidden_layers": "visual_num_layers",
    "v_intermediate_size": "visual_intermediate_size",
    "bi_hidden_size": "co_hidden_size",
}
CHOICES = {  # what no tensor tells
    "num_attention_heads": "text_num_heads",
    "v_num_attention_heads": "visual_num_heads",
    "bi_num_attention_heads": "co_num_heads",
    "v_biattention_id": "visual_co_layers",
    "t_biattention_id": "text_co_layers",
    "fusion_method": "fusion",
    "hidden_dropout_prob": "dropout",
    "initializer_range": "initializer_range",
}
REFUSED = {  # what makes another model of it, and the only value that does not
    "hidden_act": "gelu",
    "v_hidden_act": "gelu",
    "dynamic_attention": False,
    "in_batch_pairs": False,
    "model": "bert",
}
READ = {*SIZES, *CHOICES, *REFUSED, "with_coattention", "visual_target", "predict_feature", "v_target_size"}
REGION_DECODER = "cls.imagePredictions.decoder.weight"
TASK_TOKENS = "bert.embeddings.task_embeddings.weight"
VISUAL_TARGETS = {0: "classes", 1: "features", 2: "contrastive"}  # of vilbert-multi-task


def read_original(path: Path) -> dict:
    """The json of a published model. Raises: ValueError for a file of something else; FileNotFoundError."""
    try:
        original = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is no json: {error}") from error
    if not isinstance(original, dict):
        raise ValueError(f"{path} holds a {type(original).__name__}, expected names and values")
    return original


def config_of(state: dict[str, Tensor], original: dict | None) -> TextAndRegionsConfig:
    """The configuration that a checkpoint's tensors, and its json where there is one, ask for.

    Args:
        state: tensors under the original's keys.
        original: the json of the published model.
    Raises: ValueError where tensors are missing, or the json does not fit them.
    """
    is_single = "bert.image_embeddings.image_embeddings.weight" in state
    sizes = single_stream_sizes(state) if is_single else two_stream_sizes(state)
    original = original or {}
    for name, only in REFUSED.items():
        if original.get(name, only) != only:
            raise ValueError(f"the config's {name} is {original[name]}, expected {only}: no other is ViLBERT")
    for theirs, ours in SIZES.items():
        if ours in sizes and original.get(theirs, sizes[ours]) != sizes[ours]:
            raise ValueError(f"the config's {theirs} is {original[theirs]}, but the tensors' is {sizes[ours]}")
    config_class = VilbertSingleStreamConfig if is_single else VilbertConfig
    usual = {"text_num_heads": max(1, sizes["text_hidden_size"] // 64)}
    if not is_single:
        usual |= usual_layout(sizes, original)
    stated = {ours: original[theirs] for theirs, ours in CHOICES.items() if theirs in original}
    if is_single:
        stated = {ours: value for ours, value in stated.items() if hasattr(VilbertSingleStreamConfig, ours)}
    elif not original.get("with_coattention", True):
        stated |= {"text_co_layers": (), "visual_co_layers": ()}
    values = sizes | usual | stated | prediction_sizes(state, sizes, original)
    num_bridges = values.pop("num_bridges", 0)
    try:
        config = config_class(**values)
    except TypeError as error:
        raise ValueError(f"the config has a value of the wrong kind: {error}") from error
    if isinstance(config, VilbertConfig) and len(config.text_co_layers) not in (0, num_bridges):
        raise ValueError(
            f"the config's t_biattention_id are {config.text_co_layers}, but the tensors have {num_bridges} "
            "co-attention layers"
        )
    return config


def unread(original: dict) -> list[str]:
    """Names in an original json that no model here depends on: flags of training, all dropouts but one."""
    return sorted(set(original) - READ)


def two_stream_sizes(state: dict[str, Tensor]) -> dict:
    """Sizes that the tensors of the two streams tell."""
    co_hidden, visual_hidden = size_of(state, "bert.v_pooler.dense.weight", 2)
    return text_sizes(state) | {
        "visual_feature_size": size_of(state, "bert.v_embeddings.image_embeddings.weight", 2)[1],
        "visual_hidden_size": visual_hidden,
        "visual_num_layers": count(state, "bert.encoder.v_layer"),
        "visual_intermediate_size": size_of(state, "bert.encoder.v_layer.0.intermediate.dense.weight", 2)[0],
        "co_hidden_size": co_hidden,
        "num_bridges": count(state, "bert.encoder.c_layer"),
        "num_task_tokens": size_of(state, TASK_TOKENS, 2)[0] if TASK_TOKENS in state else 0,
    }


def single_stream_sizes(state: dict[str, Tensor]) -> dict:
    """Sizes that the tensors of the single stream tell."""
    features = size_of(state, "bert.image_embeddings.image_embeddings.weight", 2)[1]
    return text_sizes(state) | {"visual_feature_size": features}


def text_sizes(state: dict[str, Tensor]) -> dict:
    vocab_size, hidden = size_of(state, "bert.embeddings.word_embeddings.weight", 2)
    return {
        "vocab_size": vocab_size,
        "max_position_embeddings": size_of(state, "bert.embeddings.position_embeddings.weight", 2)[0],
        "type_vocab_size": size_of(state, "bert.embeddings.token_type_embeddings.weight", 2)[0],
        "text_hidden_size": hidden,
        "text_num_layers": count(state, "bert.encoder.layer"),
        "text_intermediate_size": size_of(state, "bert.encoder.layer.0.intermediate.dense.weight", 2)[0],
    }


def usual_layout(sizes: dict, original: dict) -> dict:
    """Heads and places of co-attention as in every published configuration, for a checkpoint without one."""
    bridges, layers = sizes["num_bridges"], sizes["text_num_layers"]
    if "t_biattention_id" not in original and not bridges == sizes["visual_num_layers"] <= layers:
        raise ValueError(
            f"{bridges} co-attention layers between {layers} text and {sizes['visual_num_layers']} visual layers are "
            "no published layout: give the original json with --config"
        )
    return {
        "visual_num_heads": max(1, sizes["visual_hidden_size"] // 128),
        "co_num_heads": max(1, sizes["co_hidden_size"] // 128),
        "text_co_layers": tuple(range(layers - bridges, layers)),
        "visual_co_layers": tuple(range(bridges)),
    }


def prediction_sizes(state: dict[str, Tensor], sizes: dict, original: dict) -> dict:
    """What the heads predict: regions' classes or features, answers, and by which kind of head."""
    found: dict = {}
    number = original.get("visual_target", 0)
    if number not in list(VISUAL_TARGETS):  # a list, as what cannot be hashed is no number either
        raise ValueError(f"the config's visual_target is {number}, expected one of {list(VISUAL_TARGETS)}")
    target = VISUAL_TARGETS[number]
    if REGION_DECODER in state:
        width = size_of(state, REGION_DECODER, 2)[0]
        if original.get("predict_feature") or (not original and width == sizes["visual_feature_size"]):
            target = "features"
        if original.get("v_target_size", width) != width:
            raise ValueError(f"the config's v_target_size is {original['v_target_size']}, but the tensors' is {width}")
        if target == "classes":
            found["visual_num_classes"] = width
    found["visual_target"] = target
    for dense, decoder, kind in (
        ("vil_prediction.main.0.weight_v", "vil_prediction.main.3.weight_v", "relu"),
        ("vil_prediction.logit_fc.0.weight", "vil_prediction.logit_fc.3.weight", "gelu_norm"),
        ("classifier.0.dense.weight", "classifier.1.weight", "gelu_norm"),
    ):
        if dense in state and decoder in state:
            num_answers, inner = size_of(state, decoder, 2)[0], size_of(state, dense, 2)[0]
            return found | {"num_labels": num_answers, "answer_hidden_size": inner, "answer_head": kind}
    return found


def size_of(state: dict[str, Tensor], key: str, num_dims: int) -> tuple[int, ...]:
    """Raises: ValueError if the tensor is missing or has other dimensions."""
    if key not in state:
        raise ValueError(f"no '{key}' among {len(state)} tensors ('{min(state)}', ...): this is no ViLBERT checkpoint")
    if state[key].ndim != num_dims:
        raise ValueError(f"'{key}' has the shape {list(state[key].shape)}, expected {num_dims} dimensions")
    return tuple(state[key].shape)


def count(state: dict[str, Tensor], prefix: str) -> int:
    """How many layers there are under `prefix`."""
    found = [match for key in state if (match := re.match(re.escape(prefix) + r"\.(\d+)\.", key))]
    return 1 + max((int(match[1]) for match in found), default=-1)
