"""The published configs, as far as a dry run goes: nothing is fetched."""

import hashlib
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from PIL import Image
from places import ROOT
from snakemake.utils import update_config

from extract.tables import IMAGES, read_rows
from vilbert.settings import FinetuningSettings
from workflow.settings import Settings, check

REAL = (ROOT / "workflow/configs/conceptual_captions.yaml", ROOT / "tests/workflow/real.yaml")
WEBDATASET = (REAL[0], ROOT / "workflow/configs/cc3m_webdataset.yaml", REAL[1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("configfiles", "counts"),
    [
        ((ROOT / "config.yaml",), {"download": 5, "extract_regions": 5, "train_detector": 1, "pretrain": 1}),
        ((ROOT / "workflow/configs/drawn_large.yaml",), {"download": 41, "train_detector": 1, "pretrain": 1}),
        (REAL, {"fetch_detector": 1, "fetch_caption_list": 2, "download": 334, "extract_regions": 334, "pretrain": 1}),
        (WEBDATASET, {"fetch_tar": 592, "import_webdataset": 592, "extract_regions": 592, "count_captions": 2}),
    ],
    ids=["drawn", "drawn_large", "conceptual_captions", "cc3m_webdataset"],
)
def test_a_config_plans_so_many_jobs(tmp_path, configfiles, counts):
    plan = ["--dry-run", "--quiet", "rules", "--directory", str(tmp_path), "--snakefile", str(ROOT / "Snakefile")]
    printed = subprocess.check_output(
        [sys.executable, "-m", "snakemake", *plan, "--configfile", *map(str, configfiles), "--", "all"],
        text=True,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    planned = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", printed, flags=re.MULTILINE)}
    assert {name: planned.get(name) for name in counts} == counts


def test_conceptual_12m_has_a_shard_a_published_tar():
    config: dict = {}
    for name in ("conceptual_captions", "cc12m"):
        update_config(config, yaml.safe_load((ROOT / f"workflow/configs/{name}.yaml").read_text()))
    settings = check(config)
    assert {split: len(settings.shards(split)) for split in settings.source.splits} == {"train": 2176, "val": 16}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "targets"),
    [
        ("vqa", ["finetune_vqa"]),
        ("vcr", ["finetune_vcr"]),
        ("refcoco", ["finetune_refcoco"]),
        ("flickr30k", ["finetune_retrieval", "zero_shot_retrieval"]),
    ],
)
def test_the_papers_settings_of_a_task_plan_it_from_its_published_files(tmp_path, name, targets):
    overlay = ROOT / f"workflow/configs/paper_{name}.yaml"
    finetuning = yaml.safe_load(overlay.read_text())["finetuning"]
    task = targets[0].removeprefix("finetune_")
    whole = yaml.safe_load(REAL[0].read_text())["finetuning"]
    settings = FinetuningSettings.model_validate(whole | finetuning)
    detections = [settings.refcoco.detections] if settings.refcoco else []
    for file in [*Settings.annotation_files(SimpleNamespace(finetuning=settings), task), *detections]:
        write_empty(tmp_path / finetuning["annotations"] / file)
    (tmp_path / finetuning["annotations"] / "vcr1images").mkdir(parents=True, exist_ok=True)
    (tmp_path / finetuning["images"]).mkdir(parents=True, exist_ok=True)
    plan = ["--dry-run", "--quiet", "rules", "--directory", str(tmp_path), "--snakefile", str(ROOT / "Snakefile")]
    start = tmp_path / "start.yaml"
    (tmp_path / "my_model").mkdir()
    start.write_text("finetuning: {start_from: my_model}")
    configs = [str(path) for path in (REAL[0], overlay, REAL[1], start)]
    printed = subprocess.check_output(
        [sys.executable, "-m", "snakemake", *plan, "--configfile", *configs, "--", *targets],
        text=True,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    planned = dict(re.findall(r"^(\w+) +(\d+)$", printed, flags=re.MULTILINE))
    assert planned["finetune_task"] == "1"
    assert planned.get("extract_task_regions") == (None if name == "refcoco" else "1")  # it has detections
    assert planned.get("extract_given_boxes") == {"vcr": "1", "refcoco": "2"}.get(name)


@pytest.mark.slow
def test_any_split_may_be_the_one_to_learn_from(tmp_path):
    """The evaluation split keeps its copy of a picture, and the detector is measured on it."""
    overlay = tmp_path / "swapped.yaml"
    overlay.write_text("pretraining: {train_split: val, validation_split: train}")
    plan = ["--dry-run", "--printshellcmds", "--directory", str(tmp_path), "--snakefile", str(ROOT / "Snakefile")]
    printed = subprocess.check_output(
        [sys.executable, "-m", "snakemake", *plan, "--configfile", str(overlay), "--", "features"],
        text=True,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert "--train-split val " in printed
    (detector,) = re.findall(r" extract.detection.train (.*)", printed)
    assert re.findall(r"boxes/(\w+).json", detector) == ["val", "train"]
    (duplicates,) = re.findall(r"python -m extract.images.duplicates (.*)", printed)
    assert re.findall(r"\b(train|val)/\d+", duplicates) == ["train"] * 4 + ["val"]


def write_empty(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


@pytest.mark.slow
def test_features_that_are_there_are_not_extracted(tmp_path):
    overlay = tmp_path / "mine.yaml"
    overlay.with_suffix(".json").touch()  # the manifest of a store
    annotations = tmp_path / "annotations"
    for name in ("train_questions", "val_questions", "test_questions"):
        write_empty(annotations / f"vqa/v2_OpenEnded_drawn_{name}.json")
    for name in ("vqa/v2_drawn_train_annotations.json", "vqa/v2_drawn_val_annotations.json"):
        write_empty(annotations / name)
    write_empty(annotations / "karpathy/dataset_drawn.json")
    owned = {"features": str(overlay), "start_from": str(overlay), "annotations": str(annotations), "vcr": None}
    overlay.write_text(yaml.safe_dump({"finetuning": {**owned, "refcoco": None}}))
    plan = ["--dry-run", "--quiet", "rules", "--directory", str(tmp_path), "--snakefile", str(ROOT / "Snakefile")]
    targets = ["finetune", "zero_shot_retrieval"]
    printed = subprocess.check_output(
        [sys.executable, "-m", "snakemake", *plan, "--configfile", str(overlay), "--", *targets],
        text=True,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    planned = dict(re.findall(r"^(\w+) +(\d+)$", printed, flags=re.MULTILINE))
    tasks = {"finetune_task": "2", "describe_finetuning": "1", "finetune": "1", "zero_shot_retrieval": "1"}
    assert planned == {**tasks, "make_page": "1", "total": "6"}


@pytest.mark.slow
def test_a_folder_of_pictures_and_a_csv_make_a_run(tmp_path):
    (tmp_path / "pictures").mkdir()
    for number in range(11):
        Image.new("RGB", (83, 97), (20 * number, 7, 7)).save(tmp_path / f"pictures/{number}.jpg")
    captions = "".join(f"{number}.jpg,picture {number}\n" for number in range(11))
    (tmp_path / "captions.csv").write_text(f"file,caption\n{captions}")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    make_lists = [sys.executable, "-m", "vilbert.cli", "caption-csv", "captions.csv", "pictures", "lists"]
    printed = subprocess.check_output(make_lists, text=True, cwd=tmp_path, env=environment)
    assert "train: 10 pictures, 10 captions" in printed
    (tmp_path / "workflow").symlink_to(ROOT / "workflow")
    (_, command) = printed.splitlines()[-1].split("next: snakemake ")
    snakemake = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    printed = subprocess.check_output(
        [*snakemake, "--dry-run", "--quiet", "rules", *command.split()],
        text=True,
        stderr=subprocess.STDOUT,
        cwd=tmp_path,
        env=environment,
    )
    planned = dict(re.findall(r"^(\w+) +(\d+)$", printed, flags=re.MULTILINE))

    def plan_of(arguments: list[str]) -> str:
        dry_run = [*snakemake, "--dry-run", "--quiet", "rules", *arguments]
        return subprocess.check_output(dry_run, text=True, stderr=subprocess.STDOUT, cwd=tmp_path, env=environment)

    import_validation = [*command.removesuffix("all").split(), "results/own/images/val/00000.tar"]
    subprocess.run([*snakemake, "--cores", "1", *import_validation], check=True, cwd=tmp_path, env=environment)
    (row,) = read_rows(tmp_path / "results/own/images/val/00000.parquet", IMAGES)
    assert (row["key"], row["status"], row["width"], row["height"]) == ("val-00000000", "success", 83, 97)
    assert row["caption"] == f"picture {row['url'].removesuffix('.jpg')}"
    assert "Nothing to be done" in plan_of(import_validation)
    os.utime(tmp_path / "pictures" / row["url"])
    os.utime(tmp_path / "lists/val.csv")
    assert "Nothing to be done" in plan_of(import_validation)
    other = min(path for path in (tmp_path / "pictures").iterdir() if path.name != row["url"])
    Image.new("RGB", (83, 97), (9, 9, 9)).save(other)
    assert "Nothing to be done" in plan_of(import_validation)  # it is of another shard
    Image.new("RGB", (83, 97), (9, 9, 9)).save(tmp_path / "pictures" / row["url"])
    assert "import_folder" in plan_of(import_validation)
    wanted = {"import_folder": "2", "extract_regions": "2", "fetch_detector": "1", "pretrain": "1"}
    assert {name: planned.get(name) for name in wanted} == wanted


@pytest.mark.slow
@pytest.mark.parametrize("is_published", [True, False], ids=["as published", "another"])
def test_the_detectors_weights_are_fetched_and_their_digest_is_checked(tmp_path, is_published):
    published, overlay = tmp_path / "published.pkl", tmp_path / "mine.yaml"
    published.write_bytes(b"weights" * 7)
    digest = hashlib.sha256(published.read_bytes() if is_published else b"others").hexdigest()
    bottom_up = {"url": published.as_uri(), "sha256": digest}
    overlay.write_text(yaml.safe_dump({"detector": {"weights": "weights/mine.pkl", "bottom_up": bottom_up}}))
    target = ["--cores", "1", "--directory", str(tmp_path), "--snakefile", str(ROOT / "Snakefile")]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "snakemake",
            *target,
            "--configfile",
            *map(str, (*REAL, overlay)),
            "--",
            "fetch_detector",
        ],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    log = (tmp_path / "logs/conceptual_captions/fetch_detector.log").read_text()
    assert (done.returncode == 0) == (tmp_path / "weights/mine.pkl").exists() == is_published
    assert f"sha256 {digest}, as expected" in log if is_published else f"expected {digest}" in log


def test_the_conda_environment_is_the_projects_dependencies_at_their_pins():
    """And what the rules of the search import besides."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = sorted(project["dependencies"] + project["optional-dependencies"]["search"])
    pins = dict(
        line.lower().split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line
    )
    *_, by_pip = yaml.safe_load((ROOT / "envs/vilbert.yaml").read_text())["dependencies"]
    names = [re.split("[<>=]", dependency)[0] for dependency in wanted]
    assert by_pip["pip"] == [f"{name}=={pins[name]}" for name in names]
