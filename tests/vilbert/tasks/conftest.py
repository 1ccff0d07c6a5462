from collections.abc import Callable

import pytest
import yaml
from places import ROOT
from task_world import TaskWorld, make_task_world

from vilbert.settings import FinetuningSettings, OwnTaskSettings
from vilbert.tasks.pictures import Pictures
from vilbert.tasks.task import TaskSource


@pytest.fixture(scope="session")
def drawn(tmp_path_factory) -> TaskWorld:
    """Annotations of a few drawn images, and their features."""
    return make_task_world(tmp_path_factory.mktemp("tasks"))


@pytest.fixture
def own_source(drawn, tmp_path) -> Callable[..., tuple[TaskSource, OwnTaskSettings]]:
    """Makes the source and settings of a task of one's own by its csv, whose files are keys of the drawn images."""

    def make(text: str, *, name: str = "table.csv", **changed) -> tuple[TaskSource, OwnTaskSettings]:
        (tmp_path / name).write_text(text, encoding="utf-8")
        own = {"kind": "classification", "table": name} | changed
        section = yaml.safe_load((ROOT / "config.yaml").read_text())["finetuning"] | {"tasks": {"mine": own}}
        settings = FinetuningSettings.model_validate(section)
        source = TaskSource(
            annotations=tmp_path,
            store=drawn.detected,
            given=None,
            turned=frozenset(),
            processor=drawn.processor,
            settings=settings,
            cache=tmp_path,
            pictures=Pictures(drawn.detected, None),
        )
        return source, settings.tasks["mine"]

    return make
