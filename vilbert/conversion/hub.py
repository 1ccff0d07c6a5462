"""What a hub has under a name, as a folder: python -m vilbert.conversion.hub KIND OUT_DIR --settings JSON."""

import json
import shutil
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from transformers import AutoTokenizer

from extract.command import run
from vilbert.conversion.text_init import CONFIGS, WEIGHTS, file_of


class Kind(StrEnum):
    """By the settings that name it."""

    TOKENIZER = "tokenizer"
    TEXT_INIT = "text_init"


def main(
    kind: Kind,
    output: Path,
    settings: Annotated[dict, typer.Option(parser=json.loads, help="the section that names it")],
) -> None:
    """Write a tokenizer, or the weights and sizes of a BERT, to a folder that takes the place of its name."""
    name = settings[kind]
    output.mkdir(parents=True, exist_ok=True)
    if kind is Kind.TOKENIZER:
        AutoTokenizer.from_pretrained(name).save_pretrained(output)
        return
    for names in (WEIGHTS, CONFIGS):
        file = file_of(name, names)
        shutil.copyfile(file, output / file.name)


if __name__ == "__main__":
    run(main)
