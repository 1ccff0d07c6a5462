"""What a Slurm is asked for, by the words of an sbatch that writes them down, and what its refusals end in."""

import asyncio
import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import snakemake_executor_plugin_slurm as plugin
from places import ROOT

from workflow.submission import limits_of, remember_age, resubmit_preempted

# An sbatch that takes what it is asked about, writes it down, and takes no job.
SBATCH = """#!/bin/sh
[ "$1" = --test-only ] || {{ echo "$@" >> "{folder}/submitted"; exit 1; }}
shift
echo "$@" >> "{folder}/asked"
{answer}
"""
SINFO = "#!/bin/sh\necho 2-12:00:00 64000\n"


def start(folder: Path, *arguments: str, answer: str = "exit 0", overlay: dict | None = None) -> str:
    """What a Snakemake prints whose first job is refused, at the latest."""
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    for name, text in {"sbatch": SBATCH.format(folder=folder, answer=answer), "sinfo": SINFO}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (folder / "overlay.yaml").write_text(json.dumps(overlay or {}))
    snakemake = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    settings = ["--configfile", str(ROOT / "tests/workflow/tiny.yaml"), str(folder / "overlay.yaml")]
    done = subprocess.run(
        [*snakemake, *settings, "--retries", "0", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "PWD": str(ROOT)},
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout + done.stderr


SLURM = ("--workflow-profile", "workflow/profiles/slurm-local")


def requests(folder: Path) -> dict[str, dict[str, str]]:
    """Option and value by rule."""
    table = {}
    for line in (folder / "asked").read_text().splitlines():
        words = re.findall(r"--?([\w-]+)[= ](\S+)", line)
        table[dict(words)["comment"]] = dict(words)
    return table


# What a job of a rule asks for on 1 GPU, on 8 of a node, and on 8 of each of 2 nodes.
CPU = {
    "partition": "cpu",
    "nodes": None,
    "ntasks": "1",
    "gpus": None,
    "gpus-per-node": None,
    "cpus-per-task": "1",
    "mem": "2000",
}
ONE = {"partition": "gpu", "nodes": "1", "gpus": "1", "gpus-per-node": None, "cpus-per-task": "8", "mem": "8000"}
SCORING = ONE | {"cpus-per-task": "1", "mem": "12000"}
TRAINING = {"partition": "gpu", "signal": "TERM@300", "t": "1440"}
EXPECTED = {
    (1, 1): TRAINING | {"nodes": "1", "gpus": "1", "cpus-per-task": "2", "mem": "12000"},
    (8, 1): TRAINING | {"nodes": "1", "gpus": "8", "cpus-per-task": "8", "mem": "82000"},
    (16, 2): TRAINING
    | {"nodes": "2", "gpus": "16", "gpus-per-node": "8", "ntasks": "2", "cpus-per-task": "8", "mem": "82000"},
}


@pytest.mark.slow
@pytest.mark.parametrize(("num_gpus", "num_nodes"), EXPECTED)
def test_cpus_memory_and_the_partition_follow_the_gpus(tmp_path, num_gpus, num_nodes):
    overlay = {"gpus_per_job": 1, "gpus_per_training": num_gpus, "nodes_per_training": num_nodes}
    targets = ["all", "finetune", "comparisons", "results/tiny/report/probes.csv"]
    start(tmp_path, *SLURM, "--", *targets, "results/tiny/zero_shot_retrieval/metrics.json", overlay=overlay)
    asked = requests(tmp_path)
    print(f"\n{num_nodes} x {num_gpus // num_nodes} GPUs")
    for rule, request in sorted(asked.items()):
        print(f"{rule:22}", " ".join(f"{name}={value}" for name, value in request.items() if name != "comment"))
    training = EXPECTED[num_gpus, num_nodes]
    expected = {
        "check_images+download": CPU | {"t": "300"},
        "judge_pairs": CPU,
        "extract_regions": ONE,
        "extract_given_boxes": ONE,
    }
    expected |= {"train_detector": ONE | {"cpus-per-task": "2"}, "zero_shot_retrieval": SCORING, "probe": SCORING}
    expected |= {"zero_shot_cell": SCORING, "start_cell": CPU | {"mem": "6000"}}
    expected |= dict.fromkeys(("pretrain", "pretrain_cell", "finetune_task", "finetune_cell"), training)
    for rule, options in expected.items():
        assert {name: asked[rule].get(name) for name in options} == options, rule


def write_profile(folder: Path, **head: str) -> tuple[str, str]:
    """The profile for Slurm as its user edits it."""
    text = (ROOT / "workflow/profiles/slurm/profile.yaml").read_text()
    for name, value in head.items():
        text = re.sub(rf"(?m)^  {name}: \S+", f"  {name}: {value}", text)
    (folder / "profile").mkdir()
    (folder / "profile/profile.yaml").write_text(text)
    return "--workflow-profile", str(folder / "profile")


@pytest.mark.slow
def test_the_profile_works_as_soon_as_its_head_is_edited(tmp_path):
    profile = write_profile(tmp_path, slurm_partition="\"'all'\"", gpu_partition="accel", slurm_account="vision")
    start(tmp_path, *profile, "--", "pretrain", overlay={"gpus_per_training": 8})
    asked = requests(tmp_path)
    assert (asked["draw_world"]["partition"], asked["draw_world"]["account"]) == ("all", "vision")
    assert (asked["pretrain"]["partition"], asked["pretrain"]["gpus"]) == ("accel", "8")


@pytest.mark.slow
def test_a_partition_that_snakemake_would_take_for_python_is_one_line(tmp_path):
    profile = write_profile(tmp_path, slurm_partition="all", gpu_partition="accel", slurm_account="vision")
    said = "slurm_partition is all in the profile, which Snakemake reads as Python; quote it twice: "
    assert said + "`slurm_partition: \"'all'\"`" in start(tmp_path, *profile, "--", "pretrain")


@pytest.mark.slow
def test_jobs_that_are_submitted_as_one_share_a_node(tmp_path):
    (tmp_path / "results/tiny/world").mkdir(parents=True)
    (tmp_path / "results/tiny/world/train.tsv").touch()  # and so nothing comes before the rows
    rows = [f"results/tiny/rows/train/0000{shard}.parquet" for shard in range(3)]
    together = ("--rerun-triggers", "mtime", "--group-components", "rows=3")
    start(tmp_path, *SLURM, *together, "--", *rows)
    (request,) = (tmp_path / "submitted").read_text().splitlines()
    assert "--nodes" not in request
    assert "--ntasks=1 --cpus-per-task=3" in request


@pytest.mark.slow
def test_a_training_without_a_gpu_shares_its_processes_among_the_nodes(tmp_path):
    overlay = {"processes_per_training": 6, "nodes_per_training": 2, "runtime": {"num_workers": 1}}
    start(tmp_path, *SLURM, "--", "pretrain", overlay=overlay)
    asked = requests(tmp_path)["pretrain"]
    expected = {"partition": "cpu", "nodes": "2", "ntasks": "2", "cpus-per-task": "6", "mem": "11000", "gpus": None}
    assert {name: asked.get(name) for name in expected} == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "arguments", "said"),
    [
        (
            "echo 'sbatch: error: x' >&2; echo 'allocation failure: Invalid account' >&2; exit 1",
            SLURM,
            "Slurm would not take check_images+download: allocation failure: Invalid account; it was asked for",
        ),
        (
            "exit 0",
            (*SLURM, "--set-resources", "download:runtime=3550"),  # and 60 behind it, in the same submission
            "Slurm would not take check_images+download: 3610 minutes are more than the 3600 of its partition; it was",
        ),
        (
            "exit 0",
            ("--workflow-profile", "workflow/profiles/slurm"),
            "slurm_partition and gpu_partition and slurm_account: still edit-me in profile.yaml",
        ),
        (
            "exit 0",
            ("--workflow-profile", "workflow/profiles/slrum"),
            "--workflow-profile workflow/profiles/slrum: there is no such folder below",
        ),
    ],
)
def test_a_bad_request_or_profile_is_one_line_before_the_first_job(tmp_path, answer, arguments, said):
    printed = start(tmp_path, *arguments, "--", "features", answer=answer)
    assert sum(said in line for line in printed.splitlines()) == 1, printed
    assert "has been submitted" not in printed
    assert not (tmp_path / "results/tiny/world").exists()


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [(), ("--profile", "workflow/profiles/slurm-local")])
def test_a_training_is_not_cut_to_the_gpus_of_the_default_profile(tmp_path, arguments):
    overlay = {"gpus_per_training": 8}
    printed = start(tmp_path, *arguments, "--", "pretrain", overlay=overlay)
    assert (
        "pretrain asks for 8 GPUs and would get 1: on this machine, add `--resources gpu=8` to the command" in printed
    )
    assert not (tmp_path / "results/tiny/world").exists()


@pytest.fixture
def programs(tmp_path, monkeypatch) -> Path:
    """A folder of commands that come before others."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def write_command(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_limits_are_those_of_the_partition_and_of_its_largest_node(programs):
    write_command(programs / "sinfo", "echo 1-02:30:00 64000; echo 1-02:30:00 128000+")
    assert limits_of("mixed") == (26 * 60 + 30, 128_000)
    write_command(programs / "sinfo", "echo infinite 64000")
    assert limits_of("endless") == (None, 64_000)
    write_command(programs / "sinfo", "echo 'slurm_load_partitions: no such partition' >&2; exit 1")
    assert limits_of("nowhere") == (None, None)


def test_how_long_a_controller_remembers_jobs_stays_known_while_it_is_away(programs, monkeypatch):
    monkeypatch.setattr(plugin, "get_min_job_age", plugin.get_min_job_age)
    write_command(programs / "scontrol", "echo 'MinJobAge               = 300 sec'")
    remember_age()
    write_command(programs / "scontrol", "echo 'Unable to contact slurm controller' >&2; exit 1")
    assert plugin.get_min_job_age() == 300


def test_a_job_that_was_preempted_has_failed_unless_it_waits_again(programs, monkeypatch):
    monkeypatch.setattr(plugin, "query_job_status", plugin.query_job_status)
    write_command(
        programs / "squeue",
        'case "$*" in *"--jobs 7 "*) echo PENDING;; *"--jobs 8 "*) echo PREEMPTED;; *"--jobs 9 "*) '
        "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1;; *) echo 'away' >&2; exit 1;; esac",
    )
    resubmit_preempted()
    said = r"printf '6|PREEMPTED\n7|PREEMPTED\n8|PREEMPTED\n9|PREEMPTED\n10|RUNNING\n'"
    states, _ = asyncio.run(plugin.query_job_status(f'sh -c "{said}"', logging.getLogger()))
    expected = {"6": "PREEMPTED", "7": "PREEMPTED", "8": "CANCELLED", "9": "CANCELLED", "10": "RUNNING"}
    assert states == expected
    assert asyncio.run(plugin.query_job_status("false", logging.getLogger())) == (None, None)


@pytest.mark.slow
def test_a_scheduler_that_is_away_is_waited_for(tmp_path):
    away = f'[ -e "{tmp_path}/back" ] && exit 0; touch "{tmp_path}/back"'
    away += "; echo 'Unable to contact slurm controller' >&2; exit 1"
    printed = start(tmp_path, *SLURM, "--", "features", answer=away)
    assert "Unable to contact slurm controller; trying again in 10 s" in printed
    assert "Slurm would not take" not in printed
