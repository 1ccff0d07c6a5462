"""A published checkpoint as a model directory.

vilbert convert CHECKPOINT OUT_DIR [--config original.json]
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor
from transformers import AutoTokenizer

from extract.command import run
from vilbert.conversion.checkpoint_keys import HEADS, IGNORED, SINGLE_STREAM, TEXT_EMBEDDINGS, TWO_STREAM, UNKNOWN, Task
from vilbert.conversion.original_config import config_of, read_original, unread
from vilbert.conversion.state_dicts import read_state_dict
from vilbert.model.configuration_vilbert import TextAndRegionsConfig, VilbertConfig
from vilbert.model.modeling_single_stream import (
    VilbertSingleStreamForImageTextRetrieval,
    VilbertSingleStreamForMultipleChoice,
    VilbertSingleStreamForPreTraining,
    VilbertSingleStreamForQuestionAnswering,
    VilbertSingleStreamForRegionGrounding,
)
from vilbert.model.modeling_tasks import (
    VilbertForImageTextRetrieval,
    VilbertForMultipleChoice,
    VilbertForQuestionAnswering,
    VilbertForRegionGrounding,
)
from vilbert.model.modeling_vilbert import VilbertForPreTraining, VilbertPreTrainedModel
from vilbert.model.processing_vilbert import VilbertProcessor

MODELS: dict[Task, tuple[type[VilbertPreTrainedModel], type[VilbertPreTrainedModel]]] = {
    "pretraining": (VilbertForPreTraining, VilbertSingleStreamForPreTraining),
    "vqa": (VilbertForQuestionAnswering, VilbertSingleStreamForQuestionAnswering),
    "vcr": (VilbertForMultipleChoice, VilbertSingleStreamForMultipleChoice),
    "refcoco": (VilbertForRegionGrounding, VilbertSingleStreamForRegionGrounding),
    "retrieval": (VilbertForImageTextRetrieval, VilbertSingleStreamForImageTextRetrieval),
}
SEED = 0  # of weights that the checkpoint lacks


@dataclass(frozen=True)
class Conversion:
    """A checkpoint under our names, and what became of each of its keys."""

    tensors: dict[str, Tensor]  # by our names
    mapped: dict[str, str]  # key -> our name
    ignored: dict[str, str]  # key -> why


def main(
    checkpoint: Annotated[Path, typer.Argument(help=".bin, .pth or .safetensors of the original")],
    out_dir: Annotated[Path, typer.Argument(help="what from_pretrained loads")],
    config: Annotated[Path | None, typer.Option(help="the original's json")] = None,
    task: Annotated[Task | None, typer.Option(help="which head; what the file holds by default")] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(help="folder or hub name, bert-base-uncased for the published ones; writes a processor"),
    ] = None,
) -> None:
    """Convert a checkpoint of vilbert_beta, vilbert-multi-task or MMF, and say what became of each tensor."""
    print("\n".join(convert(checkpoint, out_dir, config_path=config, task=task, tokenizer=tokenizer)))


def convert(
    checkpoint: Path, out_dir: Path, *, config_path: Path | None, task: Task | None, tokenizer: str | None = None
) -> list[str]:
    """Write the model directory, with a processor where a tokenizer is named.

    Returns: a line for each key that was mapped, ignored or missing.
    Raises: ValueError for a checkpoint that is not ViLBERT's, or does not fit its config; FileNotFoundError;
        FileExistsError.
    """
    if out_dir.is_file():
        raise FileExistsError(f"{out_dir} is a file, expected a folder to write")
    state = read_state_dict(checkpoint)
    original = read_original(config_path) if config_path else None
    config = config_of(state, original)
    task = task or task_of(state)
    model, conversion = build(state, config, task)
    missing = model.load_state_dict(conversion.tensors, strict=False).missing_keys
    model.save_pretrained(out_dir)
    lines = [
        f"mapped   {in_file(key, state)} -> {ours} {list(conversion.tensors[ours].shape)}"
        for key, ours in conversion.mapped.items()
    ]
    lines += [f"ignored  {in_file(key, state)}: {reason}" for key, reason in conversion.ignored.items()]
    lines += [f"missing  {name}: new, drawn from seed {SEED}" for name in untied(missing, config)]
    lines += [f"ignored  {name} of the config: no effect on the model" for name in unread(original or {})]
    lines.append(f"{type(model).__name__} in {out_dir}: {model.num_parameters():,} parameters")
    has_whole_image = not any(key.endswith(".position_ids") for key in state)
    if tokenizer is not None:
        VilbertProcessor(AutoTokenizer.from_pretrained(tokenizer), has_whole_image).save_pretrained(out_dir)
    elif not has_whole_image:
        lines.append("MMF gives its models no whole-image region: use VilbertProcessor(has_whole_image=False)")
    return lines


def build(
    state: dict[str, Tensor], config: TextAndRegionsConfig, task: Task
) -> tuple[VilbertPreTrainedModel, Conversion]:
    """The model that the tensors belong in, with new weights, and the tensors under its names.

    Raises: ValueError for tensors that are missing or of other shapes.
    """
    is_two_stream = isinstance(config, VilbertConfig)
    conversion = translate(state, is_two_stream=is_two_stream, task=task)
    decoder = conversion.tensors.get("token_head.decoder.weight")
    if decoder is not None:
        word = conversion.tensors["vilbert.text_embeddings.word.weight"]
        config.tie_word_embeddings = torch.equal(decoder, word)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model: Any = MODELS[task][0 if is_two_stream else 1](config)
    dtype = conversion.tensors["vilbert.text_embeddings.word.weight"].dtype
    model.to(dtype)  # half or double too
    expected = model.state_dict()
    for name in [name for name in conversion.tensors if name not in expected]:
        key = next(key for key, ours in conversion.mapped.items() if ours == name)
        del conversion.tensors[name], conversion.mapped[key]
        conversion.ignored[key] = "no place in this configuration"
    lacking = [name for name in untied(expected, config) if name not in conversion.tensors]
    trunk_lacking = [name for name in lacking if name.startswith("vilbert.")]
    if trunk_lacking:
        raise ValueError(
            f"{len(trunk_lacking)} of the trunk's tensors are missing, '{trunk_lacking[0]}' first: "
            "this is no ViLBERT checkpoint, or not a whole one"
        )
    if not any(not name.startswith("vilbert.") for name in conversion.tensors):
        raise ValueError(
            f"the checkpoint holds no head for {task}, but for {', '.join(tasks_in(state))}; convert "
            f"that, and {type(model).__name__}.from_pretrained of the result makes a new head"
        )
    for name, tensor in conversion.tensors.items():
        if tensor.shape != expected[name].shape:
            raise ValueError(f"{name} has the shape {list(tensor.shape)}, expected {list(expected[name].shape)}")
    return model, conversion


def translate(state: dict[str, Tensor], *, is_two_stream: bool, task: Task) -> Conversion:
    """Each tensor of the original under our name, or the reason why it has none.

    Raises: ValueError for what cannot be a weight.
    """
    trunk = TEXT_EMBEDDINGS | (TWO_STREAM if is_two_stream else SINGLE_STREAM)
    table = trunk | HEADS[task]
    others = {module: other for other, modules in HEADS.items() if other != task for module in modules}
    conversion = Conversion(tensors={}, mapped={}, ignored={})
    for key, tensor in folded(state).items():
        module, _, kind = key.rpartition(".")
        number = re.search(r"(?<=layer\.)\d+", module)
        ours = table.get(re.sub(r"(?<=layer\.)\d+", "N", module), "")
        reason = next((why for pattern, why in IGNORED.items() if re.fullmatch(pattern, key)), None)
        if reason or not ours:
            other = others.get(module)
            conversion.ignored[key] = reason or (f"of the head for {other}" if other else UNKNOWN)
            continue
        if not tensor.is_floating_point():
            raise ValueError(f"'{key}' is of {tensor.dtype}, expected floating point numbers")
        name = ours.replace(".N.", f".{number[0]}.") if number else ours
        if name.endswith(".segment"):
            if tensor.ndim != 2 or len(tensor) != 2:
                raise ValueError(f"'{key}' has the shape {list(tensor.shape)}, expected a row for each of 2 segments")
            tensor = tensor[1]  # regions always have segment 1
        else:
            name = f"{name}.{kind}"
        if name.startswith("alignment_head."):
            tensor = tensor.flip(0)  # the original's 0 means aligned
        conversion.tensors[name] = tensor.clone().contiguous()
        conversion.mapped[key] = name
    return conversion


def folded(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors, each weight_g and weight_v as the weight they stand for: g v / |v| over the whole matrix."""
    plain = {key: tensor for key, tensor in state.items() if not key.endswith((".weight_g", ".weight_v"))}
    for key, direction in state.items():
        if key.endswith(".weight_v"):
            length = state.get(key.removesuffix("v") + "g")
            if length is None:
                raise ValueError(f"'{key}' has no weight_g beside it, expected both of weight normalisation")
            if length.numel() != 1:  # one a row would spread without an error, and give other weights
                raise ValueError(f"'{key[:-1]}g' has the shape {list(length.shape)}, expected one length of the matrix")
            norm = direction.double().norm()
            plain[key.removesuffix("_v")] = (length.double() * direction.double() / norm).to(direction.dtype)
    return plain


def in_file(key: str, state: dict[str, Tensor]) -> str:
    """What `folded` made a key of."""
    return key if key in state else f"{key}_g and {key}_v"


def task_of(state: dict[str, Tensor]) -> Task:
    """The task whose head was trained: a head's biases start at 0, and stay there if no task reads it.

    Raises: ValueError if none or more than one was.
    """
    tasks = tasks_in(state)
    if len(tasks) > 1:
        raise ValueError(f"the checkpoint holds heads for {', '.join(tasks)}: choose one with --task")
    return tasks[0]


def tasks_in(state: dict[str, Tensor]) -> list[Task]:
    """Tasks with a trained head; pretraining if there is none but its own.

    Raises: ValueError if there is none at all.
    """
    found: list[Task] = []
    for task, modules in HEADS.items():
        biases = [state[f"{module}.bias"] for module in modules if f"{module}.bias" in state]
        if task != "pretraining" and any(bias.any() for bias in biases):
            found.append(task)
    if found:
        return found
    if any(key.startswith("cls.") for key in state):
        return ["pretraining"]
    raise ValueError("the checkpoint holds no trained head, expected that of a task or those of pretraining")


def untied(names: Iterable[str], config: TextAndRegionsConfig) -> list[str]:
    """Without the decoder that is the word embedding."""
    return [name for name in names if not (config.tie_word_embeddings and name == "token_head.decoder.weight")]


if __name__ == "__main__":
    run(main)
