import json

import numpy as np
import pytest
from PIL import Image
from search_world import SearchWorld, make_search_world
from small_run import make_model, make_run

from vilbert.model.modeling_dual_encoder import VilbertDualEncoder
from vilbert.model.modeling_vilbert import VilbertForPreTraining


@pytest.fixture(scope="session")
def search_world(tmp_path_factory) -> SearchWorld:
    return make_search_world(tmp_path_factory.mktemp("search"))


@pytest.fixture(scope="session")
def dual_encoder(search_world, tmp_path_factory):
    """A trained one, with the folder of its training around it."""
    return search_world.distil(tmp_path_factory.mktemp("distilled"))


@pytest.fixture(scope="session")
def folder_model(tmp_path_factory):
    """An untrained one with a detector, so that it reads pictures, and a teacher."""
    run = make_run(tmp_path_factory.mktemp("run"))
    teacher = make_model(run, VilbertForPreTraining, name="pretrain")
    apart = {"text_co_layers": (), "visual_co_layers": (), "embedding_size": 13}
    model = make_model(run, VilbertDualEncoder, name="search", **apart)
    provenance = json.loads((model / "provenance.json").read_text())
    (model / "provenance.json").write_text(json.dumps(provenance | {"teacher": str(teacher)}))
    return model


@pytest.fixture
def pictures(tmp_path):
    """A folder of three, of noise."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        Image.fromarray(generator.integers(0, 255, (89, 97, 3), dtype=np.uint8)).save(folder / f"{name}.png")
    return folder
