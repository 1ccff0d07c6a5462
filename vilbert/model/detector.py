"""The detector whose regions a model has learnt of, found by what the model's directory says of it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from extract.settings import BottomUpSettings, DetectorSettings, SelectionSettings
from vilbert.model.directory import sha256_of
from vilbert.model.origin import PROVENANCE, read_object

BATCH_SIZE = 8


class ModelDetector(NamedTuple):
    """The detector of a model, ready to be loaded."""

    weights: Path
    settings: DetectorSettings
    selection: SelectionSettings


def detector_of(model: Path, *, given: Path | None) -> ModelDetector:
    """The detector of whose regions a model has learnt, by what its directory says of it.

    Args:
        given: its weights; None: those of that digest in the folders above the model, or in `weights/` here.
    Raises: ValueError if the directory says nothing of it, or the weights that are given are others; FileNotFoundError
        if there are none.
    """
    said = read_object(model / PROVENANCE) if (model / PROVENANCE).exists() else {}
    identity, selection = said.get("detector") or {}, said.get("regions", {}).get("selection")
    if not identity.get("sha256") or not selection:
        raise ValueError(
            f"{model} does not say of which detector it has learnt; train it anew, or give regions of that detector"
        )
    candidates = [given] if given is not None else list(weights_near(model))
    found = next((path for path in candidates if path.is_file() and sha256_of(path) == identity["sha256"]), None)
    if found is None and given is not None and given.is_file():
        raise ValueError(f"{given} has the sha256 {sha256_of(given)}, the model has learnt of {identity['sha256']}")
    if found is None:
        raise FileNotFoundError(
            f"the detector's weights of sha256 {identity['sha256']} are none of "
            f"{', '.join(map(str, candidates)) or 'nothing'}; name them as detector"
        )
    return ModelDetector(found, detector_settings(identity), SelectionSettings.model_validate(selection))


def weights_near(model: Path) -> Iterator[Path]:
    """Where the weights of a model's detector may lie."""
    for folder in model.absolute().parents:
        if (path := folder / "detector/model.safetensors").is_file():
            yield path
    yield from sorted(path for path in Path("weights").glob("*") if path.is_file())


def detector_settings(identity: Mapping[str, Any]) -> DetectorSettings:
    """The settings by which a detector is the one that a store names."""
    names = set(BottomUpSettings.model_fields) & identity.keys()
    bottom_up = {name: identity[name] for name in names} | dict.fromkeys(("url", "class_names", "attribute_names"))
    return DetectorSettings(
        backend=identity["backend"],
        weights=None,
        batch_size=BATCH_SIZE,
        dtype=identity["dtype"],
        bottom_up=BottomUpSettings(**bottom_up) if "box_source" in identity else None,
    )
