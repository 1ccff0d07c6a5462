"""docs/own_data.md from its first line to its last, in a checkout with a few pictures."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image, ImageDraw
from places import ROOT
from small_detector import ARCHITECTURE

from extract.detection.detector_torchvision import build_model, save_model

PAGE = (ROOT / "docs/own_data.md").read_text()
NUM_PICTURES = 20
COLOURS = ("red", "blue")
# What makes seconds of the trial's minutes.
SMALL = {
    "processes_per_training": 1,
    "model": {"visual_feature_size": ARCHITECTURE.feature_size},
    "selection": {"threshold": 0, "min_regions": 3, "max_regions": 5},
    "relatedness": {"threshold": 0},
    "pretraining": {
        "optimizer": {"batch_size": 8, "num_epochs": 1},
        "evaluation": {"num_pairs": 4, "num_retrieval_images": 2},
    },
}
# The run with the published detector wants a network and a GPU: it is planned.
SNAKEMAKE = f"""#!{sys.executable}
import sys
from snakemake.cli import main

is_published = any("conceptual_captions" in argument for argument in sys.argv)
small = {[f"{name}={json.dumps(value)}" for name, value in SMALL.items()]}
main(["--dry-run", *sys.argv[1:]] if is_published else ["--config", *small, *sys.argv[1:]])
"""
VILBERT = f"#!{sys.executable}\nfrom vilbert.cli import main\n\nmain()\n"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """With the pictures, tables and detector that the page speaks of."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("Snakefile", "config.yaml", "workflow", "envs", "profiles"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "bin").mkdir()
    for name, script in (("snakemake", SNAKEMAKE), ("vilbert", VILBERT)):
        (folder / "bin" / name).write_text(script)
        (folder / "bin" / name).chmod(0o755)
    (folder / "results/drawn/detector").mkdir(parents=True)
    torch.manual_seed(0)
    save_model(build_model(ARCHITECTURE), ARCHITECTURE, folder / "results/drawn/detector/model.safetensors")
    draw_pictures(folder)
    return folder


def draw_pictures(folder: Path) -> None:
    """A blot a picture, with captions and questions about its colour."""
    generator = np.random.default_rng(1)
    captions, questions = [["file", "caption"]], [["file", "question", "answer"]]
    (folder / "pictures/harbour").mkdir(parents=True)
    (folder / "my_tables").mkdir()
    for number in range(NUM_PICTURES):
        colour = COLOURS[number % 2]
        picture = Image.fromarray(generator.integers(0, 255, (89, 97, 3), dtype=np.uint8))
        ImageDraw.Draw(picture).rectangle((20, 20, 40 + number, 60), fill=colour)
        file = f"harbour/{number + 12:04d}.jpg"
        picture.save(folder / "pictures" / file)
        captions += [[file, f"a {colour} boat, number {number}"], [file, f"harbour number {number} on a day"]]
        questions.append([file, "which colour is the boat ?", colour])
    for name, rows in (("captions.csv", captions), ("my_tables/questions.csv", questions)):
        with (folder / name).open("w", newline="") as file:
            csv.writer(file).writerows(rows)


def typed(checkout: Path, *command: str) -> str:
    """What a command prints on stdout."""
    environment = {
        **os.environ,
        "PATH": f"{checkout / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}:{ROOT / 'tests/workflow/offline'}",
    }
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def in_python(code: str) -> str:
    """Code that prints what its last line gives, as a notebook does."""
    before, last = code.strip().rsplit("\n", 1)
    return f"{before}\nprint({last})"


@pytest.mark.slow
def test_the_way_from_a_csv_to_an_answered_question_is_as_the_page_says(checkout):
    shell, *more = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)
    assert typed(checkout, "bash", "-euc", shell).startswith(
        "train: 18 pictures, 36 captions\nval: 2 pictures, 4 captions\n"
    )
    trial, planned, ranked, asked = (typed(checkout, "bash", "-euc", block) for block in more)
    assert "results/trial/pretrain/baselines.json:\nsplit" in trial
    assert re.search(r"^pretrain +1$", planned, flags=re.MULTILINE)
    assert len(json.loads(ranked)) == NUM_PICTURES
    assert "results/trial/finetune/questions/baselines.json:\nsplit" in asked
    rows = json.loads(asked[asked.index("[\n") :])
    assert len(rows) == NUM_PICTURES
    assert {answer["answer"] for row in rows for answer in row["answers"]} == set(COLOURS)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert "'answers': [{'answer': " in typed(checkout, sys.executable, "-c", in_python(code))


def test_the_tables_and_overlays_that_the_page_shows_are_ones_that_can_be_read():
    shown = re.findall(r"```\n(file,.*?)```", PAGE, flags=re.DOTALL)
    assert [text.splitlines()[0] for text in shown] == ["file,caption", "file,question,answer"]
    for text in shown:
        assert len({len(row) for row in csv.reader(text.splitlines(), strict=True)}) == 1
    overlays = re.findall(r"<<'END'\n(.*?)\nEND\n", PAGE, flags=re.DOTALL)
    assert [[*yaml.safe_load(overlay)] for overlay in overlays] == [["run", "detector", "pretraining"], ["finetuning"]]
