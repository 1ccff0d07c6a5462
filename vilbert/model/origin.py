"""Of which regions a model has learnt, and whether those of a feature store are of the same kind.

Features of another detector are numbers of the same shape: a model answers about them without a word, and at random.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from extract.regions.store import RegionStore

PROVENANCE = "provenance.json"


def origin_of(store: RegionStore) -> dict[str, Any]:
    """What tells a store's regions from others', for a model's provenance; null: the store does not know."""
    manifest = store.manifest
    is_known = manifest.detector.get("sha256") is not None  # an imported store calls its classes by their numbers
    return {
        "detector": manifest.detector.get("sha256"),
        "classes": hashlib.sha256(json.dumps(manifest.classes).encode()).hexdigest() if is_known else None,
        "selection": manifest.selection or None,
        "box_source": manifest.box_source,
        "feature_size": manifest.feature_size,
    }


def demand_same_regions(model: Path, store: RegionStore, *, are_given: bool = False) -> None:
    """What the model or the store does not know is not compared: converted models know the width of a feature alone.

    Args:
        are_given: the store holds boxes that files name, which no selection chose.
    Raises: ValueError with all that differs.
    """
    learnt, found = learnt_from(model), origin_of(store)
    are_chosen = not are_given and learnt.get("box_source") != "given"  # who learnt of given boxes may be asked of any
    names = ["detector", "classes", "feature_size"] + (["selection", "box_source"] if are_chosen else [])
    if reasons := differences(learnt, found, names):
        raise ValueError(
            f"{model} has learnt of other regions than those in {store.described}: {'; '.join(reasons)}; "
            "extract the images anew, with the model's detector and selection"
        )


def demand_like_regions(model: Path, other: Path) -> None:
    """Raises: ValueError with all that differs in what two models have learnt of, as far as both know it."""
    names = ["detector", "classes", "feature_size", "selection", "box_source"]
    if reasons := differences(learnt_from(model), learnt_from(other), names):
        raise ValueError(f"{model} has learnt of other regions than {other}: {'; '.join(reasons)}")


def differences(learnt: dict[str, Any], found: dict[str, Any], names: Sequence[str]) -> list[str]:
    return [
        f"{name} was {learnt[name]}, is {found[name]}"
        for name in names
        if learnt.get(name) is not None and found.get(name) is not None and learnt[name] != found[name]
    ]


def learnt_from(model: Path) -> dict[str, Any]:
    """What a model directory knows of the regions that it has learnt of, by the names of `origin_of`."""
    width = {"feature_size": read_object(model / "config.json").get("visual_feature_size")}
    path = model / PROVENANCE
    return width | (read_object(path).get("regions", {}) if path.exists() else {})


def read_object(path: Path) -> dict[str, Any]:
    """What a JSON file of a model directory holds.

    Raises: FileNotFoundError; ValueError for one that is damaged.
    """
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); copy or make the model anew") from error
