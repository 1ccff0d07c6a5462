import pytest
from task_world import TaskWorld, make_task_world


@pytest.fixture(scope="session")
def drawn(tmp_path_factory) -> TaskWorld:
    """Annotations of a few drawn images, and their features."""
    return make_task_world(tmp_path_factory.mktemp("tasks"))
