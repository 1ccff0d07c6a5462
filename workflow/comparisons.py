"""What is trained to be compared, as in tables 1 to 3 of Lu et al. 2019: cells, their models, and where they lie.

Cells of two tables that are the same training have one name, so it runs once; one that the run trains anyway is taken
from there.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from vilbert.settings import ModelSettings
from workflow.inputs import Inputs, Named
from workflow.settings import Settings

OWN = ""  # what model.text_init names; no name of a user's
ARCHITECTURES = {"two_stream": "two streams", "single_stream": "single stream"}
BERT_CONFIGS = ("config.json", "bert_config.json")
BERT_SIZES = {  # of ModelSettings, by BERT's names
    "hidden_size": "text_hidden_size",
    "num_hidden_layers": "text_num_layers",
    "num_attention_heads": "text_num_heads",
    "intermediate_size": "text_intermediate_size",
}


class Cell(NamedTuple):
    """What is trained once with each seed."""

    architecture: str = "two_stream"
    depth: int | None = None  # None: the model's own
    share: float = 1  # of the training images; 0: no pretraining
    text_init: str = OWN

    @property
    def name(self) -> str:
        """Of its folder, without what is the run's own."""
        parts = [self.architecture, f"data_{100 * self.share:g}"]
        if self.depth is not None:
            parts.append(f"depth_{self.depth}")
        if self.text_init != OWN:
            parts.append(f"text_{self.text_init}")
        return "-".join(parts)


class Comparisons:
    """Of one run."""

    def __init__(self, settings: Settings, inputs: Inputs, *, results: str) -> None:
        """Raises: ValueError for a depth that the text stream has too few layers for, or a folder that is no BERT."""
        self.settings, self.inputs, self.results = settings, inputs, results
        self.asked = settings.comparison
        self.tables = self._tables()
        self.cells = {cell.name: cell for table in self.tables.values() for cell in table.values()}
        self._models = {name: self._model(cell) for name, cell in self.cells.items()}
        # Now, as what a folder holds is written down: Snakemake takes stock of the files before it asks for inputs.
        self._text_inits = {name: inputs.compared_text_init(name) for name in self.asked.text_inits}

    def _tables(self) -> dict[str, dict[str, Cell]]:
        """Cells by table and label."""
        asked, own = self.asked, self.settings.model
        pretrained = {1.0: "", 0.0: ", not pretrained"} if 0 in asked.data_shares else {1.0: ""}
        tables = {
            "architecture": {
                ARCHITECTURES[architecture] + label: Cell(architecture, share=share)
                for architecture in asked.architectures
                for share, label in pretrained.items()
            },
            "depth": {
                f"depth {depth}": Cell(depth=None if depth == own.visual_num_layers else depth)
                for depth in sorted(asked.depths)
            },
            "data": {f"{100 * share:g} % of the images": Cell(share=share) for share in sorted(asked.data_shares)},
            "text_init": {
                name: Cell(text_init=OWN if folder == own.text_init else name)
                for name, folder in asked.text_inits.items()
            },
        }
        return {table: cells for table, cells in tables.items() if cells}

    def _model(self, cell: Cell) -> ModelSettings:
        model = self.settings.model.model_copy(update={"architecture": cell.architecture})
        if cell.text_init != OWN:
            model = with_text_init(model, self.asked.text_inits[cell.text_init], name=cell.text_init)
        return model if cell.depth is None else at_depth(model, cell.depth)

    @property
    def pretrained(self) -> list[str]:
        """Names of the cells that are pretrained."""
        return [name for name, cell in self.cells.items() if cell.share]

    @property
    def untrained(self) -> list[str]:
        """Names of the cells that are not."""
        return [name for name, cell in self.cells.items() if not cell.share]

    def tasks(self) -> list[str]:
        """By which cells are measured.

        Raises: ValueError if there are none, or one of them has no files.
        """
        finetuning = self.settings.finetuning
        tasks = finetuning.given() if self.asked.finetunes is None else list(self.asked.finetunes)
        for task in tasks:
            finetuning.section(task)  # which it demands
        if not tasks:
            raise ValueError("no task has files to compare trainings by: name those of one or more in finetuning")
        return tasks

    def text_init(self, name: str) -> Named:
        """BERT weights of a cell."""
        label = self.cells[name].text_init
        if label == OWN:
            return self.inputs.text_init
        return self._text_inits[label]

    def made_of_pretraining(self, name: str, seed: int) -> str:
        """What makes the pretraining of a cell what it is."""
        return self.settings.made_of_pretraining(model=self._models[name], seed=seed, share=self.cells[name].share)

    def made_of_start(self, name: str, seed: int) -> str:
        """The same of the model that a cell without pretraining begins with."""
        return json.dumps({"model": self._models[name].model_copy(update={"text_init": None}).made_of(), "seed": seed})

    def model_json(self, name: str) -> str:
        """The model settings of a cell, with the path of its BERT."""
        model = self._models[name].model_copy(update={"text_init": self.text_init(name).path})
        return model.model_dump_json()

    def start(self, name: str, seed: int) -> str:
        """The model directory that the fine-tunes of a cell start from."""
        return f"{self.folder(name, seed, 'pretraining' if self.cells[name].share else 'untrained')}/model"

    def folder(self, name: str, seed: int, what: str) -> str:
        """Where a training of a cell, or its retrieval without training, leaves its results: as in a run of its own."""
        below = {"pretraining": "pretrain", "untrained": "untrained", "zero_shot_retrieval": "zero_shot_retrieval"}
        is_own = self.is_runs_own(name, seed, what)
        base = self.results if is_own else f"{self.results}/comparisons/{name}/{seed}"
        return f"{base}/{below.get(what, f'finetune/{what}')}"

    def is_runs_own(self, name: str, seed: int, what: str) -> bool:
        """Whether the run itself trains or measures this."""
        pretraining, finetuning = self.settings.pretraining, self.settings.finetuning
        is_own = self._models[name] == self.settings.model and self.cells[name].share == 1 and seed == pretraining.seed
        if what == "pretraining":
            return is_own
        is_start = is_own and finetuning.start_from is None
        return is_start and (what == "zero_shot_retrieval" or finetuning.seed == seed)

    def whats(self, cell: Cell) -> list[str]:
        """What of a cell is measured: its pretraining, its fine-tunes, retrieval without training if that has files.

        Raises: ValueError as `tasks` does.
        """
        zero_shot = ["zero_shot_retrieval"] if self.settings.finetuning.retrieval is not None else []
        return [*(["pretraining"] if cell.share else []), *self.tasks(), *zero_shot]

    def files(self) -> list[str]:
        """All that has to be there before it is compared.

        Raises: ValueError if there is nothing to compare, or nothing to compare it by.
        """
        if len(self.cells) < 2:
            raise ValueError(
                "comparison has less than two trainings to compare: give architectures, depths, data_shares or "
                "text_inits, as docs/settings.md says"
            )
        left_by = {"zero_shot_retrieval": ["baselines.json"]}
        return [
            f"{self.folder(name, seed, what)}/{file}"
            for name, cell in self.cells.items()
            for seed in self.asked.seeds
            for what in self.whats(cell)
            for file in left_by.get(what, ["baselines.json", "metrics.jsonl", "model"])
        ]

    def plan(self) -> str:
        """What `vilbert.comparisons.compare` takes: the cells of all tables, and where their trainings lie."""
        cells: list[dict[str, Any]] = []
        for table, of_table in self.tables.items():
            for label, cell in of_table.items():
                folders = {
                    what: {str(seed): self.folder(cell.name, seed, what) for seed in self.asked.seeds}
                    for what in self.whats(cell)
                }
                depth = self.settings.model.visual_num_layers if cell.depth is None else cell.depth
                shown = {"table": table, "label": label, "name": cell.name, "architecture": cell.architecture}
                cells.append(shown | {"depth": depth, "share": cell.share, "folders": folders})
        return json.dumps({"own_depth": self.settings.model.visual_num_layers, "cells": cells})


def any_of(names: Iterable[str]) -> str:
    """A wildcard's constraint to these names; to nothing that a path could hold where there are none."""
    return "|".join(map(re.escape, names)) or "-"


def at_depth(model: ModelSettings, depth: int) -> ModelSettings:
    """A model of so many visual layers, each behind a co-attention layer; the text stream stays.

    Raises: ValueError if the text stream has fewer layers.
    Source: Lu et al. 2019, table 2; vilbert_beta's configurations of 2 to 8 layers.
    """
    if depth > model.text_num_layers:
        raise ValueError(
            f"comparison.depths has {depth}, model.text_num_layers is {model.text_num_layers}: expected no more, as "
            "each co-attention layer comes before a text layer of its own"
        )
    first = model.text_num_layers - depth
    places = {"text_co_layers": tuple(range(first, first + depth)), "visual_co_layers": tuple(range(depth))}
    return model.model_copy(update={"visual_num_layers": depth, **places})


def with_text_init(model: ModelSettings, folder: str | None, *, name: str) -> ModelSettings:
    """A model whose text stream is a BERT's, or as it was but new. Co-attention stays as far from the last text layer.

    Raises: ValueError if there is no BERT in the folder.
    """
    if folder is None:
        return model.model_copy(update={"text_init": None})
    stated = bert_config(folder, name=name)
    sizes = {ours: stated[theirs] for theirs, ours in BERT_SIZES.items()}
    more = sizes["text_num_layers"] - model.text_num_layers
    places = tuple(place + more for place in model.text_co_layers)
    if any(place < 0 for place in places):
        raise ValueError(
            f"comparison.text_inits.{name}: the BERT in {folder} has {sizes['text_num_layers']} layers, expected no "
            f"fewer than co-attention layers, {len(places)}"
        )
    return model.model_copy(update={**sizes, "text_co_layers": places, "text_init": folder})


def bert_config(folder: str, *, name: str) -> dict[str, Any]:
    """What the configuration in a folder states.

    Raises: ValueError if it is no BERT's.
    """
    path = next((path for config in BERT_CONFIGS if (path := Path(folder, config)).is_file()), None)
    try:
        stated = {} if path is None else json.loads(path.read_text())
        is_bert = stated.get("model_type", "bert") == "bert" and all(isinstance(stated[key], int) for key in BERT_SIZES)
    except (ValueError, AttributeError, KeyError):
        is_bert = False
    if not is_bert:
        raise ValueError(
            f"comparison.text_inits.{name}: no BERT in {folder}, expected a folder with its weights and a config.json "
            f"that states {', '.join(BERT_SIZES)}"
        )
    return stated
