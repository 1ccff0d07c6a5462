"""A model as one graph that runs without its code: vilbert export MODEL OUT.onnx, or OUT.pt2.

In: what VilbertProcessor gives, by its names. Out: `logits`, or the three of pretraining. Batch, tokens, regions and,
for VCR, choices are free.

Dimension key:
    B: batch   M: choices   T: text tokens   R: regions
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from transformers import AutoConfig

from extract.command import run
from vilbert.model import modeling_single_stream, modeling_tasks, modeling_vilbert
from vilbert.model.directory import demand_model
from vilbert.model.modeling_vilbert import VilbertPreTrainedModel

LARGEST_ONNX = 2**31  # bytes of a protobuf
EXAMPLE = {"B": 2, "M": 3, "T": 5, "R": 7}  # of what is free, any but 0 and 1, which a graph would hold for constants
OPSET = 20


class Graph(nn.Module):
    """A model as a graph has it: tensors by name in, tensors by name out."""

    def __init__(self, model: VilbertPreTrainedModel, names: list[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(
        self,
        input_ids: Tensor,
        token_type_ids: Tensor,
        attention_mask: Tensor,
        visual_features: Tensor,
        visual_boxes: Tensor,
        visual_attention_mask: Tensor,
        task_ids: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The inputs of docs/model.md, all of them; `task_ids` for a model with task tokens."""
        output = self.model(
            input_ids=input_ids,
            token_type_ids=token_type_ids,
            attention_mask=attention_mask,
            visual_features=visual_features,
            visual_boxes=visual_boxes,
            visual_attention_mask=visual_attention_mask,
            task_ids=task_ids,
            output_attentions=False,
            output_hidden_states=False,
            return_dict=True,
        )
        return {name: output[name] for name in self.names}


def main(
    model: Annotated[Path, typer.Argument(help="folder of a trained model, or of a converted one")],
    output: Annotated[Path, typer.Argument(help="OUT.onnx for onnxruntime, or OUT.pt2 for torch.export.load")],
) -> None:
    """Write MODEL as one graph in float32, with free numbers of pairs, tokens and regions, and print its tensors."""
    print("\n".join(export(model, output)))


def export(folder: Path, output: Path) -> list[str]:
    """Write the graph of a model directory.

    Returns: a line for each input and output, with its sizes.
    Raises: FileNotFoundError for what is no model directory; ValueError for another suffix, a model without a head, or
        one that is too large for ONNX.
    """
    if output.suffix not in (".onnx", ".pt2"):
        raise ValueError(f"{output} ends with '{output.suffix}', expected .onnx or .pt2")
    graph = Graph(*read_model(folder))
    inputs, sizes = example_of(graph.model)
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f".{output.name}.partial{output.suffix}")
    try:
        if output.suffix == ".pt2":
            torch.export.save(traced(graph, inputs, sizes), partial)
        else:
            write_onnx(graph, inputs, sizes, partial)
        partial.rename(output)
    finally:
        partial.unlink(missing_ok=True)
    described = [f"{name} [{', '.join(map(str, sizes[name]))}]" for name in inputs]
    return [*described, *(f"-> {name}" for name in graph.names)]


def read_model(folder: Path) -> tuple[VilbertPreTrainedModel, list[str]]:
    """A model directory by the class that it was saved from, in float32, and the names of what its heads give.

    Raises: FileNotFoundError for what is none; ValueError for one without a head.
    """
    demand_model(folder)
    name = (AutoConfig.from_pretrained(folder).architectures or ["none"])[0]
    for module in (modeling_tasks, modeling_single_stream, modeling_vilbert):
        if (kind := getattr(module, name, None)) is not None and "For" in name:
            model = kind.from_pretrained(folder, dtype=torch.float32).eval()
            is_pretrained = isinstance(model, modeling_vilbert.VilbertForPreTraining)
            return model, ["token_logits", "region_logits", "alignment_logits"] if is_pretrained else ["logits"]
    raise ValueError(f"{folder} holds a {name}, expected one with a head, such as VilbertForPreTraining")


def example_of(model: VilbertPreTrainedModel) -> tuple[dict[str, Tensor], dict[str, tuple[str | int, ...]]]:
    """Inputs to trace the model with, and the sizes of each: a letter for what is free."""
    config = model.config
    is_choice = isinstance(model, modeling_tasks.VilbertForMultipleChoice)
    is_choice = is_choice and not isinstance(model, modeling_tasks.VilbertForImageTextRetrieval)
    text: tuple[str | int, ...] = ("B", "M", "T") if is_choice else ("B", "T")
    sizes: dict[str, tuple[str | int, ...]] = dict.fromkeys(("input_ids", "token_type_ids", "attention_mask"), text)
    sizes |= {
        "visual_features": ("B", "R", config.visual_feature_size),
        "visual_boxes": ("B", "R", 5),
        "visual_attention_mask": ("B", "R"),
    }
    if getattr(config, "num_task_tokens", 0):
        sizes["task_ids"] = ("B",)
    inputs = {}
    for name, of_input in sizes.items():
        shape = [size if isinstance(size, int) else EXAMPLE[size] for size in of_input]
        kind = torch.float32 if name in ("visual_features", "visual_boxes") else torch.int64
        inputs[name] = torch.ones(shape, dtype=kind) if "mask" in name else torch.zeros(shape, dtype=kind)
    return inputs, sizes


def free_sizes(sizes: dict[str, tuple[str | int, ...]], max_tokens: int) -> dict[str, Any]:
    """The same as torch.export reads them."""
    least = 3 if "task_ids" in sizes else 2  # [CLS], [SEP]; a task's token in between must not be beside a single one
    of_letter = {
        "B": Dim("batch"),
        "M": Dim("choices"),
        "T": Dim("tokens", min=least, max=max_tokens),
        "R": Dim("regions"),
    }
    return {
        name: {place: of_letter[size] for place, size in enumerate(of_input) if isinstance(size, str)}
        for name, of_input in sizes.items()
    }


def traced(graph: Graph, inputs: dict[str, Tensor], sizes: dict[str, tuple[str | int, ...]]) -> ExportedProgram:
    """The graph of any sizes."""
    free = free_sizes(sizes, graph.model.config.max_position_embeddings)
    return torch.export.export(graph, (), inputs, dynamic_shapes=free)


def write_onnx(graph: Graph, inputs: dict[str, Tensor], sizes: dict[str, Any], output: Path) -> None:
    """Raises: ModuleNotFoundError without the extra; ValueError for weights beyond what one file holds."""
    num_bytes = sum(one.numel() * one.element_size() for one in graph.parameters())
    if num_bytes >= LARGEST_ONNX:
        raise ValueError(f"the weights are {num_bytes:,} bytes, expected less than {LARGEST_ONNX:,}; write a .pt2")
    try:
        import onnxscript  # noqa: F401  # what torch writes ONNX with
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error}, which ONNX asks for; pip install 'vilbert[onnx]'") from error
    with quietly():
        torch.onnx.export(
            traced(graph, inputs, sizes),
            f=output,
            input_names=list(inputs),
            output_names=graph.names,
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Without what the exporter says of itself."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logger.setLevel(level)


if __name__ == "__main__":
    run(main)
