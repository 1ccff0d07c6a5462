"""A drawn world and tasks in miniature."""

import pytest

from extract.settings import NoiseSettings, WorldSettings


@pytest.fixture(scope="session")
def world_settings() -> WorldSettings:
    shares = dict.fromkeys(NoiseSettings.model_fields, 0.04)
    return WorldSettings(
        seed=7,
        image_size=96,
        min_objects=3,
        max_objects=9,
        captions_per_image=3,
        noise=NoiseSettings(**shares),
        num_task_images={"train": 31, "val": 41, "test": 43},
    )
