"""config.yaml as one checked object: a typo fails while Snakemake parses, before the first job.

Imported by the Snakefile, so nothing heavy is imported here.
"""

import difflib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, ValidationError, model_validator

from extract.section import demand_address, demand_path, demand_pattern
from extract.settings import ExtractSettings, SplitSettings
from vilbert.settings import (
    PUBLISHED_TASKS,
    ModelSettings,
    VilbertSettings,
    distillation_made_of,
    finetuning_made_of,
    pretraining_made_of,
)


class Settings(ExtractSettings, VilbertSettings):
    """Everything that a run is made of."""

    run: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$", description="results/<run>/ holds what the run makes")]
    gpus_per_job: Annotated[int, Field(ge=0, le=1, description="that a job of the detector asks for; 0: none")]
    gpus_per_training: Annotated[
        int, Field(ge=0, description="that a training asks for, on all its nodes together; more than 1: torchrun")
    ]
    processes_per_training: Annotated[
        int,
        Field(ge=1, description="of a training without a GPU, each with its part of every batch and of the threads"),
    ]
    nodes_per_training: Annotated[
        int,
        Field(ge=1, description="of Slurm, that share its GPUs or processes evenly; more than 1: each starts torchrun"),
    ]

    @model_validator(mode="after")
    def _sections_fit_together(self) -> Self:
        source = self.source
        if (self.gpus_per_training or self.processes_per_training) % self.nodes_per_training:
            raise ValueError(
                f"nodes_per_training is {self.nodes_per_training}: expected a divisor of "
                + ("gpus_per_training" if self.gpus_per_training else "processes_per_training")
                + f", {self.gpus_per_training or self.processes_per_training}"
            )
        if source.kind == "drawn" and self.world is None:
            raise ValueError("source.kind 'drawn' needs the section world")
        for name, split in source.splits.items():
            demand_source(source.kind, name, split)
        if (source.kind == "folder") != (source.pictures is not None):
            raise ValueError(
                f"source.pictures is {source.pictures or 'null'}: source.kind 'folder' needs the folder of the "
                f"pictures, no other kind has one, got '{source.kind}'"
            )
        if self.detector.weights is None and (source.kind != "drawn" or self.detector_training is None):
            raise ValueError(
                "detector.weights is null: give a path, or source.kind 'drawn' and detector_training to train it"
            )
        if self.detector.bottom_up is not None and self.detector.weights is None:
            raise ValueError("detector.weights is null: detector.bottom_up needs the path of its weights")
        if self.detector.backend == "detectron2" and self.detector.bottom_up is None:
            raise ValueError(
                "detector.bottom_up is null: detector.backend 'detectron2' runs weights of its family alone"
            )
        for name in ("train_split", "validation_split"):
            if (split := getattr(self.pretraining, name)) not in source.splits:
                raise ValueError(f"pretraining.{name} is {split!r}, expected one of {', '.join(source.splits)}")
        for task in ("vcr", "refcoco"):
            if self.finetuning.features is not None and getattr(self.finetuning, task) is not None:
                raise ValueError(
                    f"finetuning.features is set, and {task} needs features of given boxes by the same detector; "
                    f"set finetuning.{task} to null"
                )
        known = [*PUBLISHED_TASKS, *self.finetuning.tasks]
        for number, task in enumerate(self.comparison.finetunes or ()):
            if task not in known:
                raise ValueError(f"comparison.finetunes.{number} is {task!r}, expected one of {', '.join(known)}")
        if source.kind == "urls" and not (self.download.contact or self.download.mirror):
            raise ValueError(
                "download.contact is null: give a url or an e-mail address, the servers' owners want to know who asks"
            )
        return self

    def json(self, section: str, **changed: Any) -> str:
        """One section, as the commands take it in `--settings`, with some values changed."""
        return getattr(self, section).model_copy(update=changed).model_dump_json()

    def finetuning_json(self, task: str, **changed: Any) -> str:
        """The settings of one fine-tune alone, with some values changed."""
        return self.finetuning.of(task).model_copy(update=changed).model_dump_json()

    def made_of(self, *sections: str, without: tuple[str, ...] = ()) -> str:
        """What of some sections a job's results are made of: a job with this parameter re-runs when it changes.

        Args:
            without: fields of the sections that the job does not read.
        """
        read = {section: getattr(self, section).made_of() for section in sections}
        return json.dumps({name: {key: kept[key] for key in kept if key not in without} for name, kept in read.items()})

    def made_of_pretraining(
        self, *, model: ModelSettings | None = None, seed: int | None = None, share: float = 1
    ) -> str:
        """The same of a pretraining, with some values changed; null: those of the settings."""
        settings = self.pretraining.model_copy(update={} if seed is None else {"seed": seed})
        return json.dumps(pretraining_made_of(model or self.model, settings, share=share))

    def made_of_finetuning(self, task: str, *, seed: int | None = None) -> str:
        """The same of a fine-tune."""
        settings = self.finetuning.model_copy(update={} if seed is None else {"seed": seed})
        return json.dumps(finetuning_made_of(task, settings))

    def made_of_distillation(self) -> str:
        """The same of a dual encoder."""
        splits = self.pretraining.train_split, self.pretraining.validation_split
        return json.dumps(distillation_made_of(self.search, splits=splits))

    def made_of_searched(self, *more: str) -> str:
        """What is searched by what when a search is measured.

        Args:
            more: fields of `search` that the job reads as well.
        """
        names = ("num_images", "num_queries", *more)
        return json.dumps({name: getattr(self.search, name) for name in names})

    def made_of_text(self) -> str:
        """The same of the tokens."""
        text = self.text.model_copy(update={"tokenizer": None})  # which is an input
        return json.dumps(text.made_of())

    def made_of_zero_shot(self) -> str:
        """The same of retrieval without training, which reads no schedule."""
        settings = self.finetuning.of("retrieval")
        assert settings.retrieval is not None
        read = settings.retrieval.made_of() | {"seed": settings.seed}
        return json.dumps({name: read[name] for name in read if name != "optimizer"})

    def rows_of(self, split: str, shard: str) -> str:
        """The options that say which rows a shard has: with more rows behind them, these stay.

        Raises: ValueError if there is no such split, or no row of it in the shard.
        """
        if split not in self.source.splits:
            raise ValueError(f"split '{split}' is not in source.splits, which has {sorted(self.source.splits)}")
        num_rows = self.source.splits[split].num_rows
        first = int(shard) * self.source.rows_per_shard
        if first >= num_rows:
            raise ValueError(
                f"shard {shard} of {split} begins at row {first}, but source.splits.{split} has {num_rows}"
            )
        return f"--first-row {first} --num-rows {min(self.source.rows_per_shard, num_rows - first)}"

    def image_limits(self) -> str:
        """The options that say which images are taken from a folder or a tar, and how large."""
        max_side = self.download.max_side
        return f"--max-pixels {self.download.max_pixels}" + (f" --max-side {max_side}" if max_side else "")

    def annotation_files(self, task: str) -> list[str]:
        """The files that a task reads, below the annotations' folder."""
        settings = self.finetuning.of(task)
        files: list[str | None] = [own.table for own in settings.tasks.values()]
        if settings.vqa is not None:
            splits = [*settings.vqa.train, settings.vqa.validation, settings.vqa.test]
            files = [file for split in splits if split for file in (split.questions, split.annotations)]
            files.append(settings.vqa.answers)
        elif settings.vcr is not None:
            files = [settings.vcr.train, settings.vcr.validation, settings.vcr.test]
        elif settings.refcoco is not None:
            files = [settings.refcoco.refs, settings.refcoco.instances]
        elif settings.retrieval is not None:
            files = [settings.retrieval.captions]
        return list(dict.fromkeys(file for file in files if file is not None))

    def box_files(self, boxes: str) -> list[str]:
        """The files that name boxes of this kind, and the images of those boxes, below the annotations' folder."""
        files = [self.box_file(boxes)]
        if boxes.endswith("_detections"):
            files.append(self.finetuning.of("refcoco").refcoco.instances)
        return files

    def chooses_among_detections(self, task: str) -> bool:
        """Whether a file names the boxes that the task chooses among."""
        settings = self.finetuning.of(task).refcoco
        return settings is not None and settings.detections is not None

    def box_file(self, boxes: str) -> str:
        """The file that names boxes of this kind, below the annotations' folder."""
        settings = self.finetuning.of(boxes.removesuffix("_detections"))
        if settings.vcr is not None:
            return settings.vcr.metadata
        return settings.refcoco.detections if boxes.endswith("_detections") else settings.refcoco.instances

    def box_names(self, boxes: str, annotations: str) -> list[str]:
        """The option that names the images of detections, which number them."""
        if not boxes.endswith("_detections"):
            return []
        return ["--instances", str(Path(annotations, self.finetuning.of("refcoco").refcoco.instances))]

    @property
    def fetches_detector(self) -> bool:
        """Whether the detector's weights come from an address."""
        return self.detector.bottom_up is not None and self.detector.bottom_up.url is not None

    def shards(self, split: str) -> list[str]:
        """Names of a split's shards, in order. The number of rows is known, so nothing waits for a checkpoint."""
        num_shards = math.ceil(self.source.splits[split].num_rows / self.source.rows_per_shard)
        return [f"{shard:05d}" for shard in range(num_shards)]

    def splits_by_priority(self) -> list[str]:
        """The splits, evaluation first: of two equal pictures the training split loses its own."""
        return sorted(self.source.splits, key=lambda split: (split == self.pretraining.train_split, split))


def demand_source(kind: str, name: str, split: SplitSettings) -> None:
    """Raises: ValueError if what a split comes from is not named as its kind of source needs it."""
    if kind == "drawn":
        return
    if split.url is None:
        raise ValueError(f"source.splits.{name}.url is null: source.kind '{kind}' needs the address")
    try:
        if kind == "folder":
            demand_path(split.url)
        else:
            demand_address(split.url)
        if kind == "webdataset":
            demand_pattern(split.url, "shard")
    except ValueError as error:
        raise ValueError(f"source.splits.{name}.url: {error}") from error


def check(config: dict[str, Any]) -> Settings:
    """The settings that `config` holds.

    Raises: ValueError that names every wrong key and, of an unknown one, the nearest that exists.
    """
    try:
        return Settings.model_validate(config)
    except ValidationError as error:
        problems = [
            _describe(problem["loc"], problem["msg"], problem["type"], problem["input"]) for problem in error.errors()
        ]
    raise ValueError("config.yaml or an overlay of it is wrong:\n" + "\n".join(f"  {line}" for line in problems))


def compared(text: str) -> Callable[[Any], str]:
    """A parameter that re-runs its job when it changes. A plain string would be searched for wildcards: the {10} of a
    regular expression."""

    def of_job(wildcards: Any) -> str:
        return text

    return of_job


def told(text: str) -> Callable[[Any, Any], str]:
    """A parameter that a command is told and that re-runs nothing: Snakemake compares no parameter that may depend on
    the resources of a job."""

    def of_job(wildcards: Any, resources: Any) -> str:
        return text

    return of_job


def digest_option(sha256: str | None) -> str:
    """What a command is told of the sha256 that a published file must have: nothing where none is known."""
    return "" if sha256 is None else f"--sha256 {sha256}"


def scaled(amount: int, *, most: int = 3) -> Callable[[Any, int], int]:
    """A resource that a job gets `amount` of, and as much again at every further attempt, up to `most` times."""

    def of_attempt(wildcards: Any, attempt: int) -> int:
        return amount * min(attempt, most)

    return of_attempt


def _describe(location: tuple[int | str, ...], message: str, kind: str, value: Any) -> str:
    path = ".".join(map(str, location))
    if kind == "missing":
        return f"{path}: missing, as in a file of an older version; docs/settings.md says what it is"
    if kind == "model_type":
        return f"{path}: got {value!r}, expected a section of keys"
    if kind != "extra_forbidden":
        return (f"{path}: " if path else "") + message.removeprefix("Value error, ")
    known = _known_keys(Settings, location[:-1])
    nearest = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0)
    return f"{path}: unknown key" + (f", did you mean '{nearest[0]}'?" if nearest else "")


def _known_keys(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Names of the fields of the section at `location`, below `model`."""
    for part in location:
        field = model.model_fields.get(str(part))
        if field is None:
            continue  # the name of a split: its model was reached with the field before
        sections = [kind for kind in _types_in(field.annotation) if issubclass(kind, BaseModel)]
        if not sections:
            return []
        model = sections[0]
    return list(model.model_fields)


def _types_in(annotation: Any) -> list[type]:
    inner = getattr(annotation, "__args__", ())
    if inner:
        return [kind for part in inner for kind in _types_in(part)]
    return [annotation] if isinstance(annotation, type) else []


def _print_reference(model: type[BaseModel], prefix: str = "") -> None:
    """Every key below `prefix` as rows of a Markdown table."""
    for name, field in model.model_fields.items():
        sections = [kind for kind in _types_in(field.annotation) if issubclass(kind, BaseModel)]
        path = f"{prefix}{name}" + {"splits": ".<split>", "tasks": ".<task>"}.get(name, "")
        default = "" if field.is_required() else f" ({json.dumps(field.default, default=BaseModel.model_dump)})"
        if sections:
            print(f"| **`{path}`** | {(sections[0].__doc__ or '').splitlines()[0]}{default} |")
            _print_reference(sections[0], f"{path}.")
        else:
            print(f"| `{path}` | {field.description or ''}{default} |")


if __name__ == "__main__":
    print("# Settings\n")
    print("Every key of `config.yaml`. An unknown one is an error. This page: `python -m workflow.settings`.\n")
    print("What stands in brackets behind a key of a task of your own holds where you leave it out.\n")
    print("A path may have blanks, quotes and `$` in it, not `{` `}` `<` `>`: Snakemake reads these as its own.\n")
    print("| key | what it is |\n|---|---|")
    _print_reference(Settings)
