"""The command `vilbert`: what people type. Rules call the modules themselves, by `python -m`.

A subcommand is the `main` of its module, which is imported when it is called, so that `vilbert --help` is fast.
"""

from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand

from extract.command import errors_in_one_line


class Subcommand(NamedTuple):
    """A module whose `main` it is, what `vilbert --help` says of it, and what its own help ends with."""

    module: str
    summary: str
    examples: str  # a line each, of up to 78 letters: a line that is folded cannot be copied


SUBCOMMANDS = {
    "caption-csv": Subcommand(
        "extract.captions.csv_lists",
        "Make the lists of a run from a csv of captions and a folder of pictures.",
        "vilbert caption-csv captions.csv pictures my_lists --held-out 0.2",
    ),
    "import-features": Subcommand(
        "extract.published.import_features",
        "Make a feature store of features that others extracted.",
        "vilbert import-features lxmert_tsv train2014_obj36.tsv coco_train.lmdb",
    ),
    "inspect": Subcommand(
        "extract.regions.inspect",
        "Say what a feature store holds, and draw its boxes.",
        "vilbert inspect results/drawn/features/val/00000.lmdb\n"
        "vilbert inspect coco.lmdb 42 --images coco.tar --output boxes.png",
    ),
    "convert": Subcommand(
        "vilbert.conversion.convert",
        "Make a model directory of a published checkpoint.",
        "vilbert convert pytorch_model_9.bin my_model --config original.json\n"
        "vilbert convert pytorch_model_9.bin my_model --tokenizer bert-base-uncased",
    ),
    "export": Subcommand(
        "vilbert.conversion.export",
        "Write a model as one graph: ONNX, or torch.export's.",
        "vilbert export my_model my_model.onnx\nvilbert export my_model my_model.pt2",
    ),
    "learning-curves": Subcommand(
        "vilbert.training.learning_curves",
        "Draw the learning curves of a training, also while it runs.",
        "vilbert learning-curves results/drawn/pretrain/metrics.jsonl curves.svg",
    ),
    "report": Subcommand(
        "vilbert.report.page",
        "Make the page of a run, or put the numbers of two side by side.",
        "vilbert report results/drawn\nvilbert report results/drawn results/other",
    ),
    "predict": Subcommand(
        "vilbert.predict",
        "Ask a trained model about images.",
        'vilbert predict results/drawn/finetune/vqa/model pictures "how many ?"\n'
        'vilbert predict my_model a.jpg "a red circle" --detector weights.safetensors\n'
        'vilbert predict my_model pictures "a [MASK] circle" --what fill\n'
        'vilbert predict my_model features.lmdb "a red circle"',
    ),
    "demo": Subcommand(
        "vilbert.page",
        "Show a page in the browser where trained models are asked about a picture.",
        "vilbert demo results/drawn/finetune/vqa/model results/drawn/pretrain/model\n"
        "vilbert demo my_model --pictures my_pictures --port 8000",
    ),
    "index": Subcommand(
        "vilbert.search.folder",
        "Make an index of pictures, to be searched.",
        "vilbert index results/drawn/search/model pictures my_index",
    ),
    "search": Subcommand(
        "vilbert.search.query",
        "Find pictures in an index by a text or a picture.",
        'vilbert search my_index "a red circle" --rerank 16 --output found.png\n'
        "vilbert search my_index --image a.jpg\n"
        "vilbert search my_index --serve",
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the subcommand that was called."""
    with errors_in_one_line():
        app(arguments, prog_name="vilbert")


app = typer.Typer(add_completion=False, no_args_is_help=True)


def say_version(is_asked: bool) -> None:
    if is_asked:
        print(f"vilbert {version('vilbert')}")
        raise typer.Exit


@app.callback()
def vilbert(
    is_version_asked: Annotated[
        bool, typer.Option("--version", callback=say_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """ViLBERT: captions, regions and models by hand. The whole way is a Snakemake workflow."""


class ImportedWhenCalled(TyperCommand):
    """A name and a line of help, until the arguments are read."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        assert info_name is not None
        return command_of(SUBCOMMANDS[info_name]).make_context(info_name, args, parent, **extra)


def command_of(subcommand: Subcommand) -> TyperCommand:
    """The module's own `main` as a command."""
    alone = typer.Typer(add_completion=False)
    alone.command(epilog=f"Examples:\n{subcommand.examples}")(import_module(subcommand.module).main)
    command = typer.main.get_command(alone)
    assert isinstance(command, TyperCommand)
    return command


for _name, _subcommand in SUBCOMMANDS.items():
    app.command(_name, help=_subcommand.summary, cls=ImportedWhenCalled)(lambda: None)


if __name__ == "__main__":
    main()
