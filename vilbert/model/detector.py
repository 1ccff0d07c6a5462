"""The detector whose regions a model has learnt of, found by what the model's directory says of it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from extract.settings import BottomUpSettings, DetectorSettings, SelectionSettings
from vilbert.model.directory import sha256_of
from vilbert.model.origin import PROVENANCE, read_object

BATCH_SIZE = 8
# For a model that does not say which it has learnt of: Lu et al. 2019, section 3.2.
SELECTION = SelectionSettings(threshold=0.2, min_regions=10, max_regions=36, nms_iou=0.3)


class ModelDetector(NamedTuple):
    """The detector of a model, ready to be loaded."""

    weights: Path
    settings: DetectorSettings
    selection: SelectionSettings


def detector_of(model: Path, *, given: Path | None, settings: DetectorSettings | None = None) -> ModelDetector:
    """The detector of whose regions a model has learnt, by what its directory says of it.

    Args:
        given: its weights; None: those of that digest in the folders above the model, or in `weights/` here.
        settings: of the detector; None: as the directory says, or those of weights that this workflow trained.
    Raises: ValueError if the weights that are given are others; FileNotFoundError if there are none.
    """
    said = read_object(model / PROVENANCE) if (model / PROVENANCE).exists() else {}
    regions = said.get("regions", {})
    identity = said.get("detector") or {"backend": "torchvision", "dtype": "float32", "sha256": regions.get("detector")}
    return ModelDetector(
        weights=weights_of(model, identity["sha256"], given=given),
        settings=settings or settings_of(identity),
        selection=SelectionSettings.model_validate(regions["selection"]) if regions.get("selection") else SELECTION,
    )


def weights_of(model: Path, sha256: str | None, *, given: Path | None) -> Path:
    """The file of this digest; where none is known, the one that is given."""
    if sha256 is None and given is None:
        raise FileNotFoundError(f"{model} does not say of which detector it has learnt; name its weights as detector")
    if given is not None and not given.is_file():
        raise FileNotFoundError(f"no detector at {given}")
    if given is not None and sha256 not in (None, found := sha256_of(given)):
        raise ValueError(f"{given} has the sha256 {found}, {model} has learnt of a detector of {sha256}")
    if given is not None:
        return given
    near = list(weights_near(model))
    found_near = next((path for path in near if sha256_of(path) == sha256), None)
    if found_near is None:
        looked_at = f"; looked at {', '.join(map(str, near))}" if near else ""
        raise FileNotFoundError(f"no detector of the sha256 {sha256} is near {model}{looked_at}; name it as detector")
    return found_near


def weights_near(model: Path) -> Iterator[Path]:
    """Where the weights of a model's detector may lie: where a run has those that it trained, and those it fetched."""
    for folder in model.absolute().parents:
        if (path := folder / "detector/model.safetensors").is_file():
            yield path
    yield from sorted(path for path in Path("weights").glob("*") if path.is_file())


def settings_of(identity: Mapping[str, Any]) -> DetectorSettings:
    """The settings by which a detector is the one that a store names."""
    names = BottomUpSettings.model_fields.keys() & identity.keys()
    bottom_up = dict.fromkeys(("url", "class_names", "attribute_names")) | {name: identity[name] for name in names}
    return DetectorSettings(
        backend=identity["backend"],
        weights=None,
        batch_size=BATCH_SIZE,
        dtype=identity["dtype"],
        bottom_up=BottomUpSettings.model_validate(bottom_up) if "box_source" in identity else None,
    )
