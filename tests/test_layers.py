"""Imports point down: the order of the folders stands here and nowhere else.

python tests/test_layers.py [CHECKOUT] counts folders, files and arrows.
"""

import ast
import sys
from collections.abc import Iterable, Set
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from places import ROOT

# From the ground up: what stands in a row imports from the rows above it, and from nothing else in its own.
ORDER = {
    "extract": [
        "section command terminal tables reasons objection overlap hold plain_files csv_rows",
        "devices",
        "settings",
        "captions images detection drawn",
        "download regions",
        "published cleaning report finder",
        "__init__",  # a docstring
    ],
    "vilbert": [
        "comparison_settings",
        "settings model",
        "baselines batches conversion",
        "retrieval",
        "training",
        "pretraining tasks comparisons",
        "looking",
        "pipelines",
        "page predict report",
        "search",
        "__init__",  # the public face
        "cli",
    ],
}
LEVELS = {
    package: {room: level for level, row in enumerate(rows) for room in row.split()} for package, rows in ORDER.items()
}
SETTINGS = {"extract.settings", "vilbert.settings"}
# What workflow/ may know of the packages: what a path may be, the files of folders, the rows of a csv, whether a
# training has ended and how its measures are shown, and what locks a file system has.
OF_WORKFLOW = SETTINGS | {
    *("extract.section", "extract.captions.csv_lists", "extract.hold", "extract.plain_files", "extract.terminal"),
    "vilbert.training.folder",
}
SEAMS = {
    "extract.terminal",
    "extract.captions.text",
    "extract.cleaning.relatedness",
    "extract.regions.store",
    "extract.report.stages",
    "extract.section",
    "extract.command",
    "extract.csv_rows",
    "extract.finder",
    "extract.settings",
    "extract.devices",
    "extract.overlap",
    "extract.hold",
    "extract.tables",
}  # what vilbert/ may know of extract/
NETWORK = {"aiohttp", "http", "httpx", "requests", "socket", "ssl", "urllib.error", "urllib.request", "urllib3"}


def files_of(package: str, root: Path = ROOT) -> dict[str, Path]:
    """Every file of a package by its dotted name, an `__init__.py` by its folder's."""
    paths = sorted((root / package).rglob("*.py"))
    return {".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


def imports_of(path: Path) -> list[str]:
    """What a file imports, inside functions too, by dotted name: 'extract.regions.store.RegionStore'."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively: write the whole name"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def arrows_of(files: dict[str, Path]) -> dict[str, list[str]]:
    """For each file those that it imports, by dotted name."""
    return {name: sorted({file_of(i, files) for i in imports_of(path)} - {""}) for name, path in files.items()}


def file_of(name: str, files: dict[str, Path]) -> str:
    """The file that holds what is imported; '' for what is not ours."""
    while name and name not in files:
        name = name.rpartition(".")[0]
    return name


def room_of(name: str) -> str:
    """The folder that a file lies in, or the file itself beside the folders: 'extract.regions.store' -> 'regions'."""
    return [*name.split("."), "__init__"][1]


def trespasses(paths: Iterable[Path], *, into: set[str], but: Set[str] = frozenset()) -> list[str]:
    """What files import of some modules, beyond those that they may."""
    return [
        f"{path} imports {name}"
        for path in paths
        for name in imports_of(path)
        if is_within(name, into) and not is_within(name, but)
    ]


def is_within(name: str, modules: Set[str]) -> bool:
    return any(f"{name}.".startswith(f"{module}.") for module in modules)


@pytest.mark.parametrize("package", ORDER)
def test_imports_between_folders_point_down(package):
    levels = LEVELS[package]
    assert not [
        f"{name} imports {target}"
        for name, targets in arrows_of(files_of(package)).items()
        for target in targets
        if room_of(name) != room_of(target) and levels[room_of(name)] <= levels[room_of(target)]
    ]


def test_no_files_import_each_other_in_a_circle():
    assert circle_in(arrows_of(files_of("extract") | files_of("vilbert"))) == "none"


@pytest.mark.parametrize("package", ORDER)
def test_the_order_names_every_folder_and_every_file_beside_them(package):
    assert {room_of(name) for name in files_of(package)} == LEVELS[package].keys()


@pytest.mark.parametrize("package", ORDER)
def test_a_folder_says_what_it_is_and_defines_nothing(package):
    for folder in {path.parent for path in files_of(package).values()} - {ROOT / "vilbert"}:
        tree = ast.parse((folder / "__init__.py").read_text())
        assert ast.get_docstring(tree), f"{folder} does not say what comes in and what goes out"
        assert len(tree.body) == 1, f"{folder / '__init__.py'} holds more than its docstring"


def test_the_workflow_knows_little_more_than_the_settings():
    assert not trespasses((ROOT / "workflow").glob("*.py"), into={"extract", "vilbert"}, but=OF_WORKFLOW)


def test_extract_knows_nothing_of_the_model():
    assert not trespasses(files_of("extract").values(), into={"vilbert", "workflow", "transformers"})


def test_vilbert_knows_the_seams_of_extract_alone():
    assert not trespasses(files_of("vilbert").values(), into={"extract", "workflow"}, but=SEAMS)


def test_only_the_download_stage_talks_to_the_network():
    files = files_of("extract") | files_of("vilbert")
    assert not trespasses([files[name] for name in files if not is_within(name, {"extract.download"})], into=NETWORK)


@pytest.mark.parametrize("package", ORDER)
def test_tests_mirror_the_folders(package):
    tests = ROOT / "tests" / package
    for path in tests.rglob("test_*.py"):
        room = path.relative_to(tests).parts[0].removesuffix(".py").removeprefix("test_")
        assert room in LEVELS[package], f"{path} tests no folder of {package}/ and no file beside the folders"


def circle_in(arrows: dict[str, list[str]]) -> str:
    """The first circle of files, or 'none'."""
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        return " <- ".join(error.args[1])
    return "none"


def main(root: Path) -> None:
    """Print how large the packages of a checkout are.

    Arrows between folders are counted once a pair, and a file beside the folders is one of its own.
    """
    for package in ORDER:
        files = files_of(package, root)
        folders = {path.parent for path in files.values()} - {root / package}
        named = [path for path in files.values() if path.stem != "__init__"]
        num_beside = sum(path.parent == root / package for path in named)
        arrows = arrows_of(files)
        pairs = {(name, target) for name, targets in arrows.items() for target in targets}
        between = {(room_of(name), room_of(target)) for name, target in pairs if room_of(name) != room_of(target)}
        print(f"{package}/")
        print(f"  folders                {len(folders):4}")
        print(f"  files                  {len(named):4}, of them {num_beside} beside the folders")
        print(f"  arrows between files   {len(pairs):4}")
        print(f"  arrows between folders {len(between):4}")
        print(f"  a circle of files      {circle_in(arrows)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
