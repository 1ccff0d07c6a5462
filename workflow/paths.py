"""What a run needs around it, looked at before the first job: named files, the profile, a folder to write to."""

import argparse
import os
from pathlib import Path

from workflow.settings import Settings


def demand_paths(settings: Settings) -> None:
    """Raises: FileNotFoundError that names every setting whose file or folder is not there."""
    lines = [
        f"  {name}: nothing at {path}"
        for name, path in named_paths(settings).items()
        if path and not Path(path).exists()
    ]
    if lines:
        raise FileNotFoundError(f"paths in the settings are wrong, seen from {Path.cwd()}:\n" + "\n".join(lines))


def named_paths(settings: Settings) -> dict[str, str | None]:
    """Paths by setting, of what no rule makes; null: the setting is not used."""
    source, detector, finetuning = settings.source, settings.detector, settings.finetuning
    paths = {
        "detector.weights": None if settings.fetches_detector else detector.weights,
        "source.pictures": source.pictures,
        "finetuning.annotations": finetuning.annotations,
        "finetuning.images": finetuning.images,
        "finetuning.features": finetuning.features,
        "finetuning.start_from": finetuning.start_from,
    }
    paths |= {
        f"comparison.text_inits.{name}": folder
        for name, folder in settings.comparison.text_inits.items()
        if folder != settings.model.text_init
    }
    if source.kind == "folder":
        paths |= {f"source.splits.{name}.url": split.url for name, split in source.splits.items()}
    return paths


def demand_writable(folder: Path) -> None:
    """Raises: PermissionError if nothing can be written to a folder, or to the results in it."""
    for path in (folder, folder / "results", folder / "logs"):
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(f"{path} is read-only; run `snakemake --directory FOLDER` with a folder of yours")


def demand_profile(arguments: list[str], checkout: Path) -> None:
    """Raises: FileNotFoundError for a --workflow-profile that is nowhere: Snakemake goes on without, on this machine.

    It reads one where it was started, and has gone to the folder of the run by now.
    """
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--workflow-profile", default="none")
    name = parser.parse_known_args(arguments)[0].workflow_profile
    started = Path(os.environ.get("PWD", "."))
    places = [started / name, started / "profiles" / name, Path(name), checkout / name, checkout / "profiles" / name]
    if name != "none" and not any(place.exists() for place in places):
        raise FileNotFoundError(f"--workflow-profile {name}: there is no such folder below {started}")
