"""The image of the Dockerfile, as far as it can be looked at where no image is built."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT
from snakemake.cli import parse_args

INSTRUCTIONS = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text()).splitlines()
# Says what it is called with, then runs that without an image.
APPTAINER = """#!/bin/sh
case "$*" in *--version*) echo "apptainer version 1.3.6"; exit;; esac
echo "$*" >> calls.txt
while [ "$1" != vilbert.sif ]; do shift; done
shift
exec "$@"
"""


def arguments_of(instruction: str) -> list[list[str]]:
    return [line.split()[1:] for line in INSTRUCTIONS if line.split()[:1] == [instruction]]


def test_what_the_image_copies_is_there_and_sent_to_the_builder():
    copied = {source for *sources, _ in arguments_of("COPY") for source in sources}
    assert all((ROOT / source).exists() for source in copied)
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert sent == copied


def test_the_image_has_the_versions_that_are_tested():
    (install,) = [line for line in INSTRUCTIONS if "pip install" in line]
    assert "--constraint constraints.txt '.[cluster]'" in install
    assert "index-url" not in install
    assert arguments_of("FROM") == [["python:3.12-slim"]]
    assert "python =3.12" in (ROOT / "envs/vilbert.yaml").read_text()


def test_nothing_runs_as_root():
    assert arguments_of("USER") == [["1000"]]
    assert not any(line.startswith(("RUN", "COPY")) for line in INSTRUCTIONS[INSTRUCTIONS.index("USER 1000") :])


@pytest.mark.slow
def test_jobs_run_in_the_image_of_the_runs_folder(tmp_path):
    (tmp_path / "vilbert.sif").touch()
    stand_in = tmp_path / "bin/apptainer"
    stand_in.parent.mkdir()
    stand_in.write_text(APPTAINER)
    stand_in.chmod(0o755)
    snakemake = [sys.executable, "-m", "snakemake", "--cores", "1", "--directory", str(tmp_path)]
    snakemake += ["--snakefile", str(ROOT / "Snakefile"), "--configfile", str(ROOT / "tests/workflow/tiny.yaml")]
    path = f"{stand_in.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(
        [*snakemake, "--software-deployment-method", "apptainer", "--", "results/tiny/rows/val/00000.parquet"],
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": path},
    )
    calls = (tmp_path / "calls.txt").read_text()
    for module in ("extract.drawn.world", "extract.captions.rows"):
        assert re.search(rf"^exec .* vilbert\.sif .*python -m {re.escape(module)} ", calls, flags=re.MULTILINE)


def test_snakemake_reads_the_documented_command_as_it_is_meant():
    (line,) = [line for line in (ROOT / "docs/cluster.md").read_text().splitlines() if "--apptainer-args" in line]
    _, arguments = parse_args(shlex.split(line)[1:])
    assert arguments.apptainer_args == "--nv"
    assert list(arguments.targets) == ["all"]
