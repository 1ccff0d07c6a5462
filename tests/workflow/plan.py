"""Dry runs of one folder under many settings, in one process: python plan.py FOLDER CONFIGFILE TARGET... < EDITS.

EDITS are lines of JSON, each undone before the next: an overlay of the settings, or the path of a file below FOLDER
that gets other bytes. A line of JSON of all rules there are, then one for each edit: those that would run, or an error.
"""

import io
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from snakemake.cli import main

SNAKEFILE = Path(__file__).parents[2] / "Snakefile"


def snakemake(folder: str, *arguments: str) -> str:
    """What Snakemake printed. A failure is an assertion with all of it."""
    printed, code = io.StringIO(), 0
    with redirect_stdout(printed), redirect_stderr(printed):
        try:
            main(["--cores", "2", "--directory", folder, "--snakefile", str(SNAKEFILE), *arguments])
        except SystemExit as end:
            code = end.code
    assert not code, printed.getvalue()
    return printed.getvalue()


def pretend(folder: str, configfile: str, targets: list[str]) -> None:
    """Let every output of the targets be there, and up to date."""
    arguments = ["--configfile", configfile, "--", *targets]
    folders = {"site", "model", "tokenizer", "text_init", "tasks", "predictions", "index"}
    for line in snakemake(folder, "--summary", *arguments).splitlines():
        path, *fields = line.split("\t")
        if len(fields) != 5 or path == "output_file":
            continue
        output = Path(folder, path)
        output.parent.mkdir(parents=True, exist_ok=True)
        is_folder = output.name in folders or output.parent.name == "examples"
        output.mkdir(exist_ok=True) if is_folder else output.touch()
    snakemake(folder, "--touch", "--forceall", "--quiet", "all", *arguments)


def planned(printed: str) -> list[str]:
    """The rules that a dry run counts."""
    return sorted(set(re.findall(r"^(\w+) +\d+$", printed, flags=re.MULTILINE)) - {"total"})


@contextmanager
def edited(folder: str, edit: dict | str) -> Iterator[dict]:
    """Settings that differ, while a file is another."""
    if isinstance(edit, dict):
        yield edit
        return
    path = Path(folder, edit)
    before = path.read_bytes()
    path.write_bytes(before + b" and more")
    yield {}
    path.write_bytes(before)


if __name__ == "__main__":
    folder, configfile, *targets = sys.argv[1:]
    pretend(folder, configfile, targets)
    overlay = Path(folder, "overlay.yaml")
    overlay.write_text("{}")
    dry_run = ["--dry-run", "--quiet", "rules", "--configfile", configfile, str(overlay), "--", *targets]
    print(json.dumps(planned(snakemake(folder, "--forceall", *dry_run))))
    for line in sys.stdin:
        with edited(folder, json.loads(line)) as settings:
            overlay.write_text(json.dumps(settings))
            try:
                rules = planned(snakemake(folder, *dry_run))
            except AssertionError as error:
                rules = [f"error: {error}"]
        print(json.dumps(rules), flush=True)
