"""What `import vilbert` offers, and what it costs."""

import ast
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import torch
from places import ROOT
from pretraining_world import World
from small_configs import make_two_stream

import vilbert
from vilbert.batches.tokens import train_tokenizer
from vilbert.cli import main

HEAVY = {"torch", "transformers", "numpy", "pandas", "pydantic", "typer", "asyncio"}


@pytest.mark.parametrize("name", vilbert.__all__)
def test_every_name_is_there(name):
    assert getattr(vilbert, name).__name__ == name
    assert name in dir(vilbert)


def test_a_wrong_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"module 'vilbert' has no attribute 'VilbertForSleep'"):
        _ = vilbert.VilbertForSleep


def test_a_type_checker_sees_the_names_that_are_imported():
    (seen,) = (node for node in ast.parse((ROOT / "vilbert/__init__.py").read_text()).body if isinstance(node, ast.If))
    modules = {alias.name: node.module for node in seen.body for alias in node.names}
    assert modules == vilbert._MODULE_OF


def test_nothing_heavy_is_imported_before_it_is_asked_for():
    code = f"import sys, vilbert; print(sorted({HEAVY} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT).strip() == "[]"


def test_the_models_of_the_docs_are_there():
    """In docs/model.md, every name of ours in a line of code or a table."""
    named = set(re.findall(r"\bVilbert\w+\b", (ROOT / "docs/model.md").read_text())) - {"VilbertFor"}
    assert len(named) > 12
    assert named <= set(vilbert.__all__)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The given buffer is not writable:UserWarning")  # torch.export.load's
def test_every_block_of_the_page_about_the_model_runs(world: World, tmp_path, monkeypatch):
    """Its commands are those of one graph; `vilbert convert` is run by the tests of the command."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "results/drawn/pretrain/model"
    torch.manual_seed(0)
    vilbert.VilbertForPreTraining(make_two_stream(vocab_size=97)).save_pretrained(folder)
    tokenizer = train_tokenizer(["a red circle above a blue square"], vocab_size=97)
    vilbert.VilbertProcessor(tokenizer).save_pretrained(folder)
    store = tmp_path / "results/drawn/features/val/00000.lmdb"
    store.parent.mkdir(parents=True)
    of_val = next(path for path in world.stores if path.stem == "val")
    for suffix in (".lmdb", ".json"):
        shutil.copy(of_val.with_suffix(suffix), store.with_suffix(suffix))
    names: dict = {}
    for language, block in re.findall(r"```(python|sh)\n(.*?)```", (ROOT / "docs/model.md").read_text(), re.DOTALL):
        if language == "python":
            exec(block, names)
        for line in block.splitlines() if "vilbert export" in block else ():
            with pytest.raises(SystemExit, match="0"):
                main(shlex.split(line, comments=True)[1:])
    expected = names["output"].alignment_logits
    torch.testing.assert_close(names["alignment_logits"], expected)
    scores = names["session"].run(["alignment_logits"], names["named"])[0]
    torch.testing.assert_close(torch.from_numpy(scores), expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(names["is_aligned"], expected.softmax(-1)[:, 1])
