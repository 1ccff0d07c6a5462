"""The package as `pip install .` makes it, away from the checkout."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT
from reference_checkpoint import checkpoint
from safetensors.torch import save_file

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder that the wheel is installed in."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT], check=True)
    (wheel,) = folder.glob("vilbert-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", folder / "installed", wheel], check=True)
    return folder / "installed"


def printed_by(installed: Path, *command: str | Path, cwd: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.check_output([sys.executable, *command], text=True, cwd=cwd, env=environment)


def test_the_wheel_has_every_file_of_the_packages_and_nothing_else(installed):
    def files(folder: Path) -> set[str]:
        paths = (path for package in ("extract", "vilbert") for path in (folder / package).rglob("*"))
        return {str(path.relative_to(folder)) for path in paths if path.is_file() and path.suffix != ".pyc"}

    assert files(installed) == files(ROOT)
    assert {path.name for path in installed.iterdir() if ".dist-info" not in path.name} == {"extract", "vilbert", "bin"}


def test_every_module_can_be_imported_from_the_wheel(installed, tmp_path):
    """But the backend of the detector that is no dependency."""
    code = """
import pkgutil, importlib, extract, vilbert
names = [module.name for package in (extract, vilbert)
         for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
modules = [importlib.import_module(name) for name in names if name != "extract.detection.bottom_up_detectron2"]
print("\\n".join(module.__file__ for module in modules))
"""
    paths = printed_by(installed, "-c", code, cwd=tmp_path).splitlines()
    assert len(paths) > 100
    assert [path for path in paths if not Path(path).is_relative_to(installed)] == []


def test_the_installed_command_converts_a_checkpoint(installed, tmp_path):
    state, config = checkpoint()
    save_file(state, tmp_path / "original.safetensors")
    (tmp_path / "original.json").write_text(json.dumps(config))
    arguments = ["convert", "original.safetensors", "my_model", "--config", "original.json"]
    printed = printed_by(installed, installed / "bin/vilbert", *arguments, cwd=tmp_path)
    assert printed.splitlines()[-1].startswith("VilbertForPreTraining in my_model")
    load = (
        "import vilbert, transformers; print(transformers.AutoModel.from_pretrained('my_model').config.text_num_layers)"
    )
    assert printed_by(installed, "-c", load, cwd=tmp_path) == f"{config['num_hidden_layers']}\n"
    assert "Usage: vilbert convert" in printed_by(installed, "-m", "vilbert.cli", "convert", "--help", cwd=tmp_path)
