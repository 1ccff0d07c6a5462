"""What `import vilbert` offers, and what it costs."""

import ast
import re
import subprocess
import sys

import pytest
from places import ROOT

import vilbert

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
