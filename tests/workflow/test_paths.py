import copy
import os
import stat

import pytest
import yaml
from places import ROOT

from workflow.paths import demand_paths, demand_writable
from workflow.settings import check

DEFAULT = yaml.safe_load((ROOT / "config.yaml").read_text())


def settings_with(**detector):
    config = copy.deepcopy(DEFAULT)
    config["detector"] |= detector
    config["finetuning"]["images"] = "my/images"
    return check(config)


def test_every_path_that_is_not_there_is_named_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = settings_with(weights="weights/mine.safetensors")
    with pytest.raises(
        FileNotFoundError, match=r"(?s)detector\.weights: nothing at weights.*finetuning\.images: nothing"
    ):
        demand_paths(settings)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/mine.safetensors").touch()
    (tmp_path / "my/images").mkdir(parents=True)
    demand_paths(settings)


def test_lists_and_pictures_of_ones_own_are_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = copy.deepcopy(DEFAULT)
    config["source"] |= {"kind": "folder", "pictures": "my_pictures"}
    for name, split in config["source"]["splits"].items():
        split["url"] = f"{name}.csv"
    config["detector"]["weights"] = "detector.safetensors"
    (tmp_path / "detector.safetensors").touch()
    (tmp_path / "val.csv").touch()
    with pytest.raises(FileNotFoundError) as raised:
        demand_paths(check(config))
    assert str(raised.value).splitlines()[1:] == [
        "  source.pictures: nothing at my_pictures",
        "  source.splits.train.url: nothing at train.csv",
    ]


def test_weights_that_a_rule_fetches_need_not_be_there_yet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    overlay = yaml.safe_load((ROOT / "workflow/configs/conceptual_captions.yaml").read_text())
    overlay["download"]["contact"] = "someone@library.example"
    demand_paths(check(overlay))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to a read-only folder")
@pytest.mark.parametrize("name", ["", "results"])
def test_a_read_only_folder_is_an_error_before_the_first_job(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir(exist_ok=True)
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(PermissionError, match=r"is read-only; run `snakemake --directory FOLDER`"):
        demand_writable(tmp_path)
    folder.chmod(stat.S_IRWXU)
    demand_writable(tmp_path)
