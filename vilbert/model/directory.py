"""A trained model as a folder that says what it was made of."""

import hashlib
import json
import shutil
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel

from vilbert.model.configuration_vilbert import PACKAGE
from vilbert.model.origin import PROVENANCE
from vilbert.model.processing_vilbert import VilbertProcessor

WEIGHTS = "model.safetensors"


def write_model(
    model: PreTrainedModel,
    processor: VilbertProcessor,
    output: Path,
    *,
    classes: Sequence[str],
    provenance: dict[str, Any],
    card: str,
) -> None:
    """Model, processor, the detector's classes, the provenance and the card; whole or not there.

    Args:
        provenance: what the model was made of, and `regions`, of which it learnt (`origin_of`).
        card: of `model_card`.
    Raises: OSError where the disk is full.
    """
    partial = output.with_name(f".{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        model.save_pretrained(partial)
        processor.save_pretrained(partial)
        (partial / "classes.json").write_text(json.dumps(list(classes), indent=0))
        (partial / PROVENANCE).write_text(json.dumps(provenance, indent=1, sort_keys=True))
        (partial / "README.md").write_text(card)
        shutil.rmtree(output, ignore_errors=True)
        partial.rename(output)
    except SafetensorError as error:
        raise OSError(f"{output} could not be written: {error}; make room and start the same command again") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def demand_model(path: Path) -> None:
    """Raises: FileNotFoundError for what is no model directory, for which transformers would ask a hub; ValueError for
    weights that are cut off."""
    if not (path / "config.json").is_file():
        raise FileNotFoundError(f"{path} is no model directory: it holds no config.json; `vilbert convert` makes one")
    for weights in sorted(path.glob("*.safetensors")):
        try:
            with safe_open(weights, framework="pt"):
                pass
        except SafetensorError as error:
            raise ValueError(f"{weights} is damaged ({error}); copy or make the model anew") from error


def read_processor(path: Path) -> VilbertProcessor:
    """The processor of a model directory.

    Raises: FileNotFoundError if it has none, as converted checkpoints may; ValueError for one that is cut off.
    """
    if not (path / "processor_config.json").is_file():
        raise FileNotFoundError(
            f"{path} holds no processor; convert the checkpoint with --tokenizer, or save a VilbertProcessor there"
        )
    try:
        return VilbertProcessor.from_pretrained(path)
    except (ValueError, OSError) as error:
        raise ValueError(f"the processor of {path} is damaged ({error}); copy or make the model anew") from error


def sha256_beside_weights(model: Path) -> str:
    """Of what else of a model directory decides on a fine-tune: the sizes, the tokenizer, the processor."""
    return sha256_below(model, without={WEIGHTS, "README.md", "classes.json", PROVENANCE, f"{PACKAGE}.py"})


def sha256_below(folder: Path, *, without: Set[str] = frozenset()) -> str:
    """Of the names and bytes of all files below a folder, but those of some names."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in without):
        digest.update(f"{path.relative_to(folder)} {sha256_of(path)}\n".encode())
    return digest.hexdigest()


def sha256_of(path: Path) -> str:
    """Of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
