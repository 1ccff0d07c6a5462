"""What comes from outside comes first, so that all that is left runs on nodes without a network."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

REAL = (ROOT / "workflow/configs/conceptual_captions.yaml", ROOT / "tests/workflow/real.yaml")
FEW_SHARDS = "source: {rows_per_shard: 1_000_000}\n"
# The commands that talk to other machines; tests/test_layers.py and a run behind test_dag.py's refusal say which do.
NETWORK = {"extract.download.published_file", "extract.download.shard", "vilbert.conversion.hub"}


def dry_run(folder: Path, configfiles: tuple[Path, ...], *targets: str) -> str:
    snakemake = [sys.executable, "-m", "snakemake", "--dry-run", "--printshellcmds", "--directory", str(folder)]
    return subprocess.check_output(
        [*snakemake, "--snakefile", str(ROOT / "Snakefile"), "--configfile", *map(str, configfiles), "--", *targets],
        text=True,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def commands_of(printed: str) -> set[str]:
    """The modules that the planned jobs run."""
    return set(re.findall(r"\b(?:extract|vilbert)\.[a-z_]+\.[a-z_.]+", printed))


def test_every_command_of_the_network_is_one_of_a_rule():
    assert commands_of("".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))) >= NETWORK


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overlay", "fetched", "left"),
    [
        (FEW_SHARDS, {"fetch"}, {"extract.download.shard"}),
        (FEW_SHARDS, {"fetch_images"}, set()),
        ("source: {kind: webdataset, rows_per_shard: 1_000_000, splits: {train: {url: 'https://library.example/{shard}'}"
         ", val: {url: 'https://library.example/val-{shard}'}}}\n", {"fetch"}, set()),
    ],
    ids=["urls", "urls with images", "webdataset"],
)  # fmt: skip
def test_what_is_left_when_all_is_fetched_needs_no_network(tmp_path, overlay, fetched, left):
    (tmp_path / "overlay.yaml").write_text(overlay)
    configfiles = (*REAL, tmp_path / "overlay.yaml")
    printed = dry_run(tmp_path, configfiles, *fetched)
    for line in re.findall(r"^ +output: (.*)$", printed, flags=re.MULTILINE):
        for output in line.split(", "):
            path = tmp_path / output.removesuffix(" (temporary)")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir() if path.parent.name == "hub" else path.touch()
    assert commands_of(dry_run(tmp_path, configfiles, "all")) & NETWORK == left
    assert commands_of(printed) & NETWORK
