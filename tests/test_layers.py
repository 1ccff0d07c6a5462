"""Imports point down: Snakefile -> settings; extract never imports vilbert; vilbert reads extract's store,
and writes its settings, ends its commands and measures overlaps the same way."""

import ast
from pathlib import Path

import pytest
from places import ROOT

ALLOWED_FROM_EXTRACT = {"extract.regions.store", "extract.section", "extract.command", "extract.overlap"}


def imports_of(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            modules.add(node.module)
            modules |= {f"{node.module}.{alias.name}" for alias in node.names if node.module in ("extract", "vilbert")}
    return modules


def files_of(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("path", files_of("extract"), ids=lambda path: path.name)
def test_extract_knows_nothing_of_the_model(path):
    assert not {name for name in imports_of(path) if name.split(".")[0] in ("vilbert", "workflow", "transformers")}


@pytest.mark.parametrize("path", files_of("vilbert"), ids=lambda path: path.name)
def test_vilbert_reads_the_feature_store_and_knows_nothing_of_how_it_is_made(path):
    from_extract = {name for name in imports_of(path) if name.split(".")[0] == "extract"}
    assert not from_extract - ALLOWED_FROM_EXTRACT - {"extract"}
    assert "workflow" not in {name.split(".")[0] for name in imports_of(path)}


def test_only_the_download_stage_talks_to_the_network():
    network = {"aiohttp", "requests", "urllib.request", "socket", "http.client"}
    talkers = {path.stem for path in files_of("extract") if imports_of(path) & network}
    assert talkers <= {"download", "fetch", "politeness", "published_file", "site", "web_address"}
