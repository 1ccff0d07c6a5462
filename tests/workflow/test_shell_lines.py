"""What a setting holds reaches the commands as it is, whatever a shell or Snakemake would make of it, or is refused."""

import copy
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import hypothesis
import pytest
import yaml
from hypothesis import strategies
from places import ROOT
from pydantic import BaseModel
from snakemake.io import contains_wildcard
from snakemake.pathvars import PATHVAR_REGEX
from snakemake.utils import format as snakemake_format
from snakemake.utils import update_config

from extract.section import demand_path
from workflow.settings import Settings, check

DRAWN = yaml.safe_load((ROOT / "config.yaml").read_text())
update_config(DRAWN, yaml.safe_load((ROOT / "tests/workflow/tiny.yaml").read_text()))

# Every setting that holds text: a path, any text at all, or text of a form that is checked.
PATHS = {
    "source.pictures",
    "detector.weights",
    *(f"detector.bottom_up.{name}" for name in ("class_names", "attribute_names")),
    *(f"finetuning.{name}" for name in ("start_from", "annotations", "images", "features", "probes")),
    *(f"finetuning.vqa.{split}.{file}" for split in ("validation", "test") for file in ("questions", "annotations")),
    *("finetuning.vqa.train.0.questions", "finetuning.vqa.train.0.annotations", "finetuning.vqa.answers"),
    *(f"finetuning.vcr.{name}" for name in ("train", "validation", "test", "metadata")),
    *(f"finetuning.refcoco.{name}" for name in ("refs", "instances", "detections")),
    *("finetuning.retrieval.captions", "finetuning.tasks.val.table", "comparison.text_inits.val"),
}
TEXTS = {
    *("captions.boilerplate.0", "download.contact", "download.mirror", "text.tokenizer", "model.text_init"),
    *("pretraining.objective.contrast_words.0.0", "pretraining.objective.late.contrast_words.0.0"),
    *("finetuning.refcoco.validation_splits.0", "finetuning.retrieval.validation_split"),
    "finetuning.tasks.val.separator",
}
CHECKED = {
    *("run", "source.splits.val.url", "source.splits.val.sha256"),
    *("detector.bottom_up.url", "detector.bottom_up.sha256"),
    *("pretraining.train_split", "pretraining.validation_split", "runtime.scratch"),
    "search.index",
    "comparison.finetunes.0",
    "finetuning.tasks.val.kind",
    *(f"finetuning.vqa.{split}.image_key" for split in ("train.0", "validation", "test")),
}
HOSTILE = 'it\'s "5$" $(touch RUN) `touch RUN` ;touch RUN & #*?[a-z]|\\ é'
BRACES = " {10} {or $6} {{x}} {input} <results>"
BOTTOM_UP: dict[str, Any] = dict.fromkeys(("url", "sha256", "class_names", "attribute_names"))
BOTTOM_UP |= {"shorter_side": 600, "longer_side": 1000, "num_proposals": 300, "box_source": "proposal"}


def keys_of_text(annotation: Any, path: str = "") -> Iterator[str]:
    """The keys below an annotation that hold text of the user's own; of a list and of the splits, one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, field in annotation.model_fields.items():
            yield from keys_of_text(field.annotation, f"{path}.{name}".strip("."))
    elif annotation is str:
        yield path
    elif get_origin(annotation) is dict:
        if is_text(get_args(annotation)[0]):
            yield from keys_of_text(get_args(annotation)[1], f"{path}.val")
    elif get_origin(annotation) is tuple:
        yield from keys_of_text(get_args(annotation)[0], f"{path}.0")
    elif get_origin(annotation) is not Literal:
        for part in get_args(annotation):
            yield from keys_of_text(part, path)


def is_text(annotation: Any) -> bool:
    return annotation is str or (get_origin(annotation) is Annotated and get_args(annotation)[0] is str)


def put(config: dict, key: str, value: Any) -> None:
    *sections, name = (int(part) if part.isdigit() else part for part in key.split("."))
    section: Any = config
    for part in sections:
        section = section[part]
    section[name] = value


def settings_of(kind: str) -> dict:
    """Whole settings of a source kind, with every section that holds text."""
    config = copy.deepcopy(DRAWN)
    config["detector"] |= {"weights": "weights.pth", "bottom_up": dict(BOTTOM_UP)}
    config["source"] |= {"kind": kind, "pictures": "pictures" if kind == "folder" else None}
    config["download"]["contact"] = "you@library.example"
    config["finetuning"]["tasks"] = {"val": {"kind": "vqa", "table": "table.csv"}}
    urls = {"urls": "file:///{name}.tsv", "webdataset": "file:///{{shard}}.tar", "folder": "{name}.csv", "drawn": None}
    for name, split in config["source"]["splits"].items():
        split["url"] = urls[kind] and urls[kind].format(name=name)
    return config


def test_every_setting_that_holds_text_has_a_row():
    assert sorted(PATHS | TEXTS | CHECKED) == sorted(keys_of_text(Settings))


@pytest.mark.parametrize("key", sorted(PATHS))
def test_a_path_that_snakemake_or_a_command_would_misread_is_refused_in_a_line(key):
    for value in ("", "-rf", "a\nb", "a\0b", "a{10}b", "<results>/b"):
        config = settings_of("folder")
        put(config, key, value)
        with pytest.raises(ValueError, match="is wrong") as raised:
            check(config)
        (line,) = str(raised.value).splitlines()[1:]
        assert line.startswith(f"  {key}: ")


@pytest.mark.parametrize("kind", ["urls", "webdataset", "folder"])
@pytest.mark.parametrize("key", sorted(CHECKED))
def test_text_of_another_form_is_refused_in_a_line(key, kind):
    for value in (HOSTILE, f"-{HOSTILE}", f"{HOSTILE}\n{HOSTILE}", "", BRACES):
        if (key, kind, value) == ("source.splits.val.url", "folder", HOSTILE):
            continue  # the path of a csv
        config = settings_of(kind)
        put(config, key, value)
        with pytest.raises(ValueError, match="is wrong") as raised:
            check(config)
        (line,) = str(raised.value).splitlines()[1:]
        assert key in line


@hypothesis.settings(deadline=None, max_examples=100, derandomize=True, database=None)
@hypothesis.given(strategies.text("{}<>-$`'\" \\\n\0ab10,/", max_size=12))
def test_a_path_that_is_taken_means_itself_to_snakemake_and_to_a_shell(path):
    try:
        demand_path(path)
    except ValueError:
        return
    assert not contains_wildcard(path)
    assert not PATHVAR_REGEX.search(path)
    assert shlex.split(snakemake_format("{path:q}", path=path)) == [path]
    assert not path.startswith("-")


def test_an_address_of_tars_names_each_of_them():
    for value in ("file:///a.tar", "file:///{0}.tar", "file:///{shard.real.x}.tar", "file:///{shard:z}.tar"):
        config = settings_of("webdataset")
        put(config, "source.splits.val.url", value)
        with pytest.raises(ValueError, match=r"source\.splits\.val\.url: "):
            check(config)


@pytest.mark.parametrize("package", ["extract", "vilbert", "workflow"])
def test_what_a_message_tells_to_type_has_its_paths_quoted(package):
    for path in (ROOT / package).rglob("*.py"):
        for command in re.findall(
            r"\b(?:snakemake|(?<!from )vilbert [a-z-]+|rm) .*?(?:`|\"\)?$)", path.read_text(), flags=re.MULTILINE
        ):
            for value in re.findall(r"(?<!\{)\{(\w[^{}]*)\}", command):
                is_safe = value.startswith(("quote(", "len(")) or value == "configs"
                assert is_safe, f"{path}: {{{value}}} in {command}"


def planned_commands(folder: Path, checkout: Path, config: dict, targets: list[str]) -> list[str]:
    """The shell lines of all jobs of a run in `folder`."""
    done = dry_run(folder, checkout, config, targets)
    assert done.returncode == 0, done.stdout + done.stderr
    commands = re.findall(r"^Shell command: (.*)$", done.stdout + done.stderr, flags=re.MULTILINE)
    return [command for command in commands if command != "None"]  # a rule that is a target alone


def dry_run(folder: Path, checkout: Path, config: dict, targets: list[str]) -> subprocess.CompletedProcess:
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    snakemake = [sys.executable, "-m", "snakemake", "--cores", "2", "--directory", str(folder)]
    snakemake += ["--dry-run", "--printshellcmds", "--snakefile", str(checkout / "Snakefile")]
    return subprocess.run(
        [*snakemake, "--configfile", str(folder / "config.yaml"), "--", *targets],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def arguments_of(command: str, folder: Path) -> list[str]:
    """What a shell hands to `python` in a command."""
    stand_in = folder / "bin/python"
    stand_in.parent.mkdir(exist_ok=True)
    stand_in.write_text('#!/bin/sh\nprintf \'%s\\0\' "$@" > "$RECORD"\n')
    stand_in.chmod(0o755)
    log = re.search(r"> (logs/\S+) 2>&1$", command)
    assert log, f"{command!r} has no log"
    (folder / log[1]).parent.mkdir(parents=True, exist_ok=True)
    record = folder / "record"
    environment = {"PATH": f"{stand_in.parent}:/usr/bin:/bin", "RECORD": str(record)}
    subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=folder, env=environment, check=True)
    arguments = record.read_text().split("\0")[:-1]
    record.unlink()
    return arguments


def texts_in(value: Any) -> Iterator[str]:
    """All strings of some arguments, those of JSON in them too."""
    if isinstance(value, str):
        yield value
        if value.startswith(("{", "[")) and not value.startswith("{image_id"):
            yield from texts_in(json.loads(value))
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from texts_in(part)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["drawn", "urls", "webdataset", "folder"])
def test_whatever_a_setting_holds_reaches_the_commands_as_it_is(tmp_path, kind):
    """A stand-in for Python writes down what it is called with; nothing that stands in a setting is run."""
    folder, checkout = tmp_path / f"run {HOSTILE}", tmp_path / f"checkout {HOSTILE}"
    folder.mkdir()
    checkout.symlink_to(ROOT)
    config = settings_of(kind)
    values = {key: f"{key} {HOSTILE}" for key in PATHS} | {key: f"-{key} {HOSTILE}\n{BRACES}" for key in TEXTS}
    values |= {"runtime.scratch": f"/{HOSTILE}{BRACES}", "finetuning.features": f"finetuning.features {HOSTILE}.lmdb"}
    if kind != "folder":
        del values["source.pictures"]
    if kind == "urls":  # with weights that a rule fetches, and features that are there already
        values["detector.bottom_up.url"] = f"file:///{HOSTILE}{BRACES}"
        values = {
            key: value for key, value in values.items() if not key.startswith(("finetuning.vcr", "finetuning.refcoco"))
        }
        config["finetuning"] |= {"vcr": None, "refcoco": None}
    else:
        del values["finetuning.features"]
    for split in ("train", "val"):
        key = f"source.splits.{split}.url"
        if kind == "urls":
            values[key] = f"https://library.example/{split} {HOSTILE}{BRACES}"
        elif kind == "folder":
            values[key] = f"{split} {HOSTILE}.csv"
            (folder / values[key]).write_text("file,caption\n" + "a.jpg,a picture\n" * 150)
        elif kind == "webdataset":
            put(config, key, f"https://library.example/{split} {HOSTILE}" + "{shard:07d}.tar")
    for key, value in values.items():
        put(config, key, value)
        if key in PATHS and not (kind == "urls" and key == "detector.weights"):
            is_below = key.startswith("finetuning") and (key.count(".") > 1 or key == "finetuning.probes")
            make(folder / values["finetuning.annotations"] / value if is_below else folder / value)
    sizes = dict.fromkeys(("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"), 12)
    (folder / values["comparison.text_inits.val"] / "config.json").write_text(json.dumps(sizes))

    targets = ["all", "finetune", "probe", "zero_shot_retrieval", "comparisons"]
    commands = planned_commands(folder, checkout, config, targets)
    assert len(commands) > 30
    called = [arguments_of(command, folder) for command in commands]
    assert {tuple(arguments[:1]) for arguments in called} == {("-m",)}
    texts = set(texts_in(called))
    lost = {key for key, value in values.items() if not any(value in text for text in texts)}
    assert lost == ({"download.contact", "download.mirror"} if kind in ("webdataset", "folder") else set())
    if kind == "webdataset":
        assert f"https://library.example/val {HOSTILE}0000000.tar" in texts
    assert not list(tmp_path.rglob("RUN"))


@pytest.mark.slow
def test_a_checkout_where_snakemake_cannot_work_is_refused_in_a_line(tmp_path):
    checkout = tmp_path / "checkout {10}"
    checkout.symlink_to(ROOT)
    refused = dry_run(tmp_path, checkout, DRAWN, ["list_stale"])
    assert refused.returncode != 0
    line = f"{str(checkout)!r} has '{{' in it, which Snakemake cannot have in a path; rename it"
    assert line in refused.stdout + refused.stderr


def make(path: Path) -> None:
    """Let there be something at a path: a store, the file beside it; else a folder, in which any files may stand."""
    path.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".lmdb":
        path.with_suffix(".json").touch()
