"""The registries of transformers, in processes of their own: what counts is which module is imported first."""

import os
import pickle
import subprocess
import sys
import sysconfig

import pytest
from places import ROOT
from small_configs import make_single_stream, make_two_stream
from transformers import BertTokenizer

from vilbert import (
    VilbertConfig,
    VilbertForMultipleChoice,
    VilbertForPreTraining,
    VilbertForQuestionAnswering,
    VilbertModel,
    VilbertProcessor,
    VilbertSingleStreamConfig,
    VilbertSingleStreamForMultipleChoice,
    VilbertSingleStreamForPreTraining,
    VilbertSingleStreamForQuestionAnswering,
    VilbertSingleStreamModel,
)
from vilbert.model.auto_classes import NamedClass

LOADED = {
    "AutoConfig": (VilbertConfig, VilbertSingleStreamConfig),
    "AutoModel": (VilbertModel, VilbertSingleStreamModel),
    "AutoModelForPreTraining": (VilbertForPreTraining, VilbertSingleStreamForPreTraining),
    "AutoModelForVisualQuestionAnswering": (VilbertForQuestionAnswering, VilbertSingleStreamForQuestionAnswering),
    "AutoModelForMultipleChoice": (VilbertForMultipleChoice, VilbertSingleStreamForMultipleChoice),
    "AutoProcessor": (VilbertProcessor, VilbertProcessor),
}
LOAD = """
import sys
import transformers
for folder in sys.argv[1:]:
    for name in {names}:
        loaded = getattr(transformers, name).from_pretrained(folder)
        print(folder, name, type(loaded).__name__)
"""
TRUST = """
import sys
import transformers
for name in {names}:
    try:
        loaded = getattr(transformers, name).from_pretrained(sys.argv[1], trust_remote_code=True)
        print(type(loaded).__module__, type(loaded).__name__)
    except ImportError as error:
        print(error)
"""
# Of an environment the packages as they lie there, without what its .pth files add, which is where we are.
WITHOUT_US = f"""
import importlib.util, sys
sys.path.append({sysconfig.get_path("purelib")!r})
assert importlib.util.find_spec("vilbert") is None
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A directory of each architecture."""
    path = tmp_path_factory.mktemp("auto")
    (path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n")
    processor = VilbertProcessor(BertTokenizer.from_pretrained(path))
    for name, model in (
        ("two", VilbertForPreTraining(make_two_stream())),
        ("single", VilbertSingleStreamForPreTraining(make_single_stream())),
    ):
        model.save_pretrained(path / name)
        processor.save_pretrained(path / name)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    "imports",
    [
        "import vilbert",
        "from transformers import AutoModel, AutoProcessor; import vilbert",
        "import vilbert; from transformers import BertModel",  # its layers import AutoModel while they are imported
        "import vilbert.model.layers",  # as do ours
    ],
)
def test_auto_classes_find_either_architecture_in_any_order_of_imports(folders, imports):
    expected = [
        f"{folder} {name} {kinds[index].__name__}"
        for index, folder in enumerate(("two", "single"))
        for name, kinds in LOADED.items()
    ]
    code = f"{imports}\n{LOAD.format(names=list(LOADED))}"
    command = [sys.executable, "-c", code, "two", "single"]
    printed = subprocess.check_output(command, text=True, cwd=folders, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert printed.splitlines() == expected


def test_a_named_class_stands_for_the_class():
    named = NamedClass("modeling_vilbert.VilbertModel")
    assert named.__name__ == "VilbertModel"
    assert named.config_class is VilbertModel.config_class
    assert pickle.loads(pickle.dumps(named)).name == "modeling_vilbert.VilbertModel"


def test_a_reload_registers_nothing_twice():
    """As notebooks do; a second finder would ask the first one, which would ask the second."""
    code = "import importlib, vilbert; importlib.reload(vilbert); from transformers import AutoModel; print(AutoModel)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


def trusting(folder, code, *flags, **variables) -> list[str]:
    """What a process says that loads a directory with the code in it, from a folder in which nothing of ours lies."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"HF_MODULES_CACHE": str(folder.parent / "modules"), "HF_HUB_OFFLINE": "1"} | variables
    command = [sys.executable, *flags, "-c", code, folder.name]
    return subprocess.check_output(command, text=True, cwd=folder.parent, env=environment).splitlines()


@pytest.mark.parametrize("name", ["two", "single"])
def test_without_the_package_whoever_trusts_the_code_is_told_how_to_install_it(folders, name):
    names = ["AutoConfig", "AutoModel", "AutoModelForPreTraining", "AutoProcessor"]
    said = trusting(folders / name, WITHOUT_US + TRUST.format(names=names), "-S")
    assert len(said) == len(names)
    assert all(line.endswith("not found in your environment: vilbert. Run `pip install vilbert`") for line in said)


@pytest.mark.slow
@pytest.mark.parametrize("index", [0, 1])
def test_with_the_package_whoever_trusts_the_code_gets_its_classes_without_importing_it(folders, index):
    folder = folders / ("two", "single")[index]
    expected = [f"{kinds[index].__module__} {kinds[index].__name__}" for kinds in LOADED.values()]
    assert trusting(folder, TRUST.format(names=list(LOADED)), PYTHONPATH=str(ROOT)) == expected


def test_what_was_loaded_by_its_code_is_saved_with_the_same_module(folders, tmp_path):
    """transformers marks such classes, and would copy their files, which import others of ours."""
    config = VilbertConfig.from_pretrained(folders / "two")
    type(config).register_for_auto_class()
    config.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "vilbert_package.py"}
    assert config.auto_map == {"AutoConfig": "vilbert_package.VilbertConfig"}
