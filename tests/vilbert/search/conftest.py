import pytest
from search_world import SearchWorld, make_search_world


@pytest.fixture(scope="session")
def search_world(tmp_path_factory) -> SearchWorld:
    return make_search_world(tmp_path_factory.mktemp("search"))


@pytest.fixture(scope="session")
def dual_encoder(search_world, tmp_path_factory):
    """A trained one, with the folder of its training around it."""
    return search_world.distil(tmp_path_factory.mktemp("distilled"))
