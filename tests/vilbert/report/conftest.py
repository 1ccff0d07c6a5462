import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from places import ROOT
from task_world import TaskWorld, make_task_world

from vilbert.settings import FinetuningSettings
from vilbert.tasks.table import data_of
from vilbert.tasks.task import TaskSource


@pytest.fixture(scope="session")
def drawn(tmp_path_factory) -> TaskWorld:
    """Annotations of a few drawn images, and their features."""
    return make_task_world(tmp_path_factory.mktemp("tasks"))


@pytest.fixture(scope="session")
def tar(drawn, tmp_path_factory) -> Path:
    """Of these images, 64 pixels each way."""
    path = tmp_path_factory.mktemp("tar") / "images.tar"
    with tarfile.open(path, "w") as file:
        for image in sorted((drawn.annotations / "images").rglob("*.jpg")):
            file.add(image, arcname=image.name)
    return path


@pytest.fixture(scope="session")
def settings() -> FinetuningSettings:
    section = yaml.safe_load((ROOT / "config.yaml").read_text())["finetuning"]
    section["vqa"]["min_answer_count"] = 1
    return FinetuningSettings.model_validate(section)


@pytest.fixture
def held_out(drawn, settings, tmp_path) -> Callable[[str], tuple]:
    """A task's first held-out split: its name and the data set of it."""

    def make(task: str) -> tuple:
        source = TaskSource(
            annotations=drawn.annotations,
            store=drawn.detected,
            given=drawn.given,
            turned=frozenset(),
            processor=drawn.processor,
            settings=settings,
            cache=tmp_path,
        )
        split, measured = next(iter(data_of(task, source).evaluation.items()))
        return split, getattr(measured, "data", measured)

    return make
