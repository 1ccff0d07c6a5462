"""The registries of transformers, in processes of their own: what counts is which module is imported first."""

import os
import pickle
import subprocess
import sys

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
