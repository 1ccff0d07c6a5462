"""What a run says of its trainings as they end, by the smallest Snakefile that hangs on Snakemake as ours does."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

SNAKEFILE = """
from workflow.results import tell_results

onstart:
    tell_results(workflow.dag)

rule all:
    input: expand("{task}/baselines.json", task=TASKS), "zero.json", "probes.csv", "search.csv"

rule finetune_task:
    output: model="{task}/model", baselines="{task}/baselines.json"
    shell: "touch {output.model} && cp row.json {output.baselines}"

rule zero_shot_retrieval:
    output: metrics="zero.txt", baselines="zero.json"
    shell: "touch {output.metrics} && echo 'no JSON' > {output.baselines}"

rule probe:
    output: "probes.csv"
    shell: "printf 'kind,accuracy,rule\\ncolour,0.75,\\n' > {output}"

rule distil_retriever:
    output: model=directory("search")
    shell: "mkdir {output}"

rule measure_search:
    input: "search"
    output: "search.csv"
    shell: "printf 'way,recall_at_1\\nfirst stage,0.25\\n' > {output}"

rule extract_regions:
    output: baselines="other.json"
    shell: "cp row.json {output}"
"""
ROW = {"split": "val", "measure": "accuracy", "value": 0.8125, "chance": 0.25, "rule": None}


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "Snakefile").write_text('TASKS = ["mine", "yours"]\n' + SNAKEFILE)
    (tmp_path / "row.json").write_text(json.dumps([ROW]))
    return tmp_path


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_each_training_and_evaluation_tells_its_measures_when_it_ends_and_nothing_else_does(folder):
    done = snakemake(folder, "--quiet", "all", "--", "all", "other.json")
    table = "split  measure   value   chance\nval    accuracy  0.8125  0.25\n"
    for task in ("mine", "yours"):
        assert f"\n{task}/baselines.json:\n{table}" in done.stdout
    assert "\nprobes.csv:\nkind    accuracy\ncolour  0.75\n" in done.stdout
    assert "\nsearch.csv:\nway          recall_at_1\nfirst stage  0.25\n" in done.stdout
    assert "other.json" not in done.stdout
    assert "zero.json cannot be told: Expecting value" in done.stderr
    assert done.stderr.count("cannot be told") == 1
    assert snakemake(folder, "--quiet", "all").stdout == ""  # nothing ran, nothing is told
