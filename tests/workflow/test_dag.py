"""The whole DAG on a drawn world in miniature, as a user runs it."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from places import ROOT

TINY = ROOT / "tests/workflow/tiny.yaml"
ALL_THAT_FOLLOWS_TOKENS = {"pretrain", "show_retrieval", "show_attention", "make_page", "all"}
ALL_THAT_FOLLOWS_PAIRS = ALL_THAT_FOLLOWS_TOKENS | {
    "collect_pairs",
    "describe_features",
    "score_cleaning",
    "tokenize_captions",
}

pytestmark = pytest.mark.slow


def command(
    directory: Path, *arguments: str, configfiles: tuple[Path, ...] = (TINY,), targets: tuple[str, ...] = ("all",)
) -> list[str]:
    snakemake = [sys.executable, "-m", "snakemake", "--cores", "2", "--directory", str(directory), *arguments]
    return [
        *snakemake,
        "--snakefile",
        str(ROOT / "Snakefile"),
        "--configfile",
        *map(str, configfiles),
        "--",
        *targets,
    ]


def environment() -> dict[str, str]:
    """In which no process reaches beyond this machine."""
    python_path = f"{ROOT}:{ROOT / 'tests/workflow/offline'}"
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": python_path}


def snakemake(
    directory: Path, *arguments: str, configfiles: tuple[Path, ...] = (TINY,), targets: tuple[str, ...] = ("all",)
) -> str:
    """What Snakemake printed. A failure is an assertion with all of it."""
    typed = command(directory, *arguments, configfiles=configfiles, targets=targets)
    done = subprocess.run(typed, capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def planned_rules(printed: str) -> set[str]:
    """The rules that a dry run counts."""
    return set(re.findall(r"^(\w+) +\d+$", printed, flags=re.MULTILINE)) - {"total"}


def digests(run: Path) -> dict[str, str]:
    """Of every table, tar and manifest of a run: what must not depend on how it was made."""
    files = [path for pattern in ("**/*.parquet", "**/*.tar", "features/**/*.json") for path in run.glob(pattern)]
    return {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A folder in which the tiny run has ended."""
    directory = tmp_path_factory.mktemp("finished")
    snakemake(directory)
    return directory


def test_no_row_is_lost(finished):
    run = finished / "results/tiny"
    kept, dropped = (pq.read_table(run / name).to_pylist() for name in ("pairs.parquet", "dropped.parquet"))
    keys = [row["key"] for row in kept + dropped]
    expected = [f"train-{row:08d}" for row in range(150)] + [f"val-{row:08d}" for row in range(30)]
    assert sorted(keys) == sorted(expected)
    assert all(row["reason"] and row["stage"] for row in dropped)
    assert {"http_404"} & {row["reason"] for row in dropped} or any("http" in row["reason"] for row in dropped)


def test_every_kept_pair_has_features(finished):
    from extract.regions.store import RegionStore

    run = finished / "results/tiny"
    store = RegionStore(sorted((run / "features").glob("*/*.lmdb")))
    for row in pq.read_table(run / "pairs.parquet").to_pylist():
        assert len(store[row["image_key"]].boxes) == row["num_regions"]


def test_a_run_reaches_for_nothing_beyond_this_machine(finished, tmp_path):
    reach = [sys.executable, "-c", "import urllib.request; urllib.request.urlopen('http://library.example')"]
    assert subprocess.run(reach, cwd=tmp_path, env=environment(), stderr=subprocess.DEVNULL).returncode != 0
    assert (tmp_path / "refused.txt").read_text() == "library.example\n"
    assert not list(finished.rglob("refused.txt"))


def test_a_second_run_does_nothing(finished):
    assert "Nothing to be done" in snakemake(finished)


@pytest.mark.parametrize(
    ("overlay", "rules"),
    [
        ("relatedness: {threshold: 0.9}", {"judge_pairs"}),
        ("duplicates: {max_distance: 1}", {"find_duplicates", "judge_pairs"}),
        ("images: {min_side: 65}", {"check_images", "find_duplicates", "judge_pairs"}),
        ("captions: {min_words: 4}", {"clean_captions", "find_duplicates", "judge_pairs"}),
        ("selection: {threshold: 0.3}", {"extract_regions", "judge_pairs"}),
        ("store: {num_classes_kept: 5}", {"extract_regions", "judge_pairs"}),
        ("detector_training: {steps: 4}", {"train_detector", "extract_regions", "judge_pairs"}),
    ],
)
def test_a_setting_re_runs_only_the_rules_that_read_it(finished, tmp_path, overlay, rules):
    changed = tmp_path / "changed.yaml"
    changed.write_text(overlay)
    planned = planned_rules(snakemake(finished, "--dry-run", "--quiet", "rules", configfiles=(TINY, changed)))
    assert planned == rules | ALL_THAT_FOLLOWS_PAIRS


@pytest.mark.parametrize(
    ("overlay", "rules"),
    [
        ("text: {max_tokens: 20}", {"tokenize_captions"} | ALL_THAT_FOLLOWS_TOKENS),
        ("pretraining: {objective: {alignment: 2}}", ALL_THAT_FOLLOWS_TOKENS),
        ("model: {dropout: 0.1}", ALL_THAT_FOLLOWS_TOKENS),
        ("runtime: {log_every_steps: 3}", set()),
        ("source: {splits: {val: {num_rows: 30}, train: {num_rows: 150}}}", set()),
        ("comparison: {seeds: [5], data_shares: [0.1]}", set()),
    ],
)
def test_a_setting_of_the_training_extracts_nothing_again(finished, tmp_path, overlay, rules):
    changed = tmp_path / "changed.yaml"
    changed.write_text(overlay)
    assert planned_rules(snakemake(finished, "--dry-run", "--quiet", "rules", configfiles=(TINY, changed))) == rules


def test_an_edit_and_a_forced_run_lose_no_training(finished, tmp_path):
    """Snakemake deletes the outputs of what it runs again; what has ended is set aside, not lost."""
    directory, overlay = tmp_path / "run", tmp_path / "changed.yaml"
    shutil.copytree(finished, directory)
    pretrained = directory / "results/tiny/pretrain"
    earlier, weights = directory / "results/tiny/earlier", pretrained / "model/model.safetensors"

    def pretrain(*arguments: str, num_epochs: int) -> bytes:
        overlay.write_text(f"pretraining: {{optimizer: {{num_epochs: {num_epochs}}}}}")
        snakemake(directory, *arguments, configfiles=(TINY, overlay), targets=("pretrain",))
        return weights.read_bytes()

    first = weights.read_bytes()
    snakemake(directory, "--touch", "--forceall", targets=("pretrain",))
    assert not earlier.exists(), "it was set aside, though nothing was to be trained"
    second = pretrain(num_epochs=2)
    assert second != first
    assert [path.read_bytes() for path in earlier.glob("*-pretrain/result/model/model.safetensors")] == [first]
    log = directory / "logs/tiny/pretrain.log"
    shutil.rmtree(pretrained / "model")
    assert pretrain(num_epochs=2) == second
    assert "loss=" not in log.read_text(), "it was trained again, and not given again"
    weights.unlink()
    assert pretrain("--forcerun", "pretrain", num_epochs=2) == second  # of the same code, in the same steps
    assert "loss=" in log.read_text(), "it was given again, and not trained again"
    assert len(list(earlier.iterdir())) == 2

    note = pretrained / "checkpoints/training.json"
    note.write_text(json.dumps(json.loads(note.read_text()) | {"ended": None}))  # as if it had been killed
    for changed in ("pretraining: {seed: 7}", "selection: {threshold: 0.3}"):
        overlay.write_text(changed)
        typed = command(directory, configfiles=(TINY, overlay), targets=("pretrain",))
        refused = subprocess.run(typed, capture_output=True, text=True, env=environment())
        assert refused.returncode != 0
        dry = command(directory, "--dry-run", configfiles=(TINY, overlay), targets=("pretrain",))
        warned = subprocess.run(dry, check=True, capture_output=True, text=True, env=environment())
        assert "this will be refused: the training in results/tiny/pretrain/checkpoints" in warned.stderr
        assert "nothing was run or deleted" in refused.stdout + refused.stderr
        assert "write `snakemake --forcerun=results/tiny/pretrain/model`" in refused.stdout + refused.stderr
    assert (directory / "results/tiny/features/val/00000.lmdb").exists()
    assert weights.read_bytes() == second


def test_another_shard_size_reads_no_shard_of_the_one_before_and_its_leftovers_can_be_removed(finished, tmp_path):
    directory, overlay = tmp_path / "run", tmp_path / "changed.yaml"
    shutil.copytree(finished, directory)
    overlay.write_text("source: {rows_per_shard: 100}")
    snakemake(directory, configfiles=(TINY, overlay), targets=("features",))
    left = directory / "results/tiny/features/train/00002.lmdb"
    assert left.exists()
    kept = pq.read_table(directory / "results/tiny/pairs.parquet")["key"].to_pylist()
    assert kept == pq.read_table(finished / "results/tiny/pairs.parquet")["key"].to_pylist()
    snakemake(directory, configfiles=(TINY, overlay), targets=("clean_stale",))
    assert not left.exists()
    assert "Nothing to be done" in snakemake(directory, configfiles=(TINY, overlay), targets=("features",))


def test_the_model_and_its_inputs_stand_in_one_folder(finished):
    model = finished / "results/tiny/pretrain/model"
    assert {"config.json", "model.safetensors", "classes.json", "provenance.json"} <= {
        path.name for path in model.iterdir()
    }
    shown = finished / "results/tiny/report/examples"
    assert {path.parent.name for path in shown.glob("*/examples.json")} >= {"pretraining", "attention"}


def test_each_fine_tune_is_a_target(tmp_path):
    targets = tuple(f"finetune_{task}" for task in ("vqa", "vcr", "refcoco", "retrieval"))
    planned = snakemake(tmp_path, "--dry-run", "--quiet", "rules", targets=targets)
    assert {"pretrain", "extract_task_regions", *targets} <= planned_rules(planned)
    assert set(re.findall(r"^finetune_task +(\d+)$", planned, flags=re.MULTILINE)) == {"4"}


def test_a_killed_run_goes_on_and_ends_in_the_same_tables(finished, tmp_path):
    process = subprocess.Popen(
        command(tmp_path, targets=("features",)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("results/tiny/images/*/*.tar")) and time.monotonic() < deadline:
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert list(tmp_path.glob(".snakemake/locks/*"))
    snakemake(tmp_path, targets=("features",))
    made = digests(tmp_path / "results/tiny")
    assert {"pairs.parquet", "dropped.parquet", "images/val/00000.tar", "features/val/00000.json"} <= made.keys()
    assert made == {name: digest for name, digest in digests(finished / "results/tiny").items() if name in made}


def test_the_report_is_one_page(finished):
    snakemake(finished, "--report", str(finished / "report.html"))
    page = (finished / "report.html").read_text()
    for name in (
        "dropped.csv",
        "regions.png",
        "caption_lengths.svg",
        "cleaning_score.csv",
        "learning_curves.svg",
    ):
        assert name in page


def test_a_typo_fails_before_the_first_job(tmp_path):
    overlay = tmp_path / "typo.yaml"
    overlay.write_text("selection: {treshold: 0.3}")
    failed = subprocess.run(
        command(tmp_path, configfiles=(TINY, overlay)), capture_output=True, text=True, env=environment()
    )
    assert failed.returncode != 0
    assert "selection.treshold: unknown key, did you mean 'threshold'?" in failed.stdout + failed.stderr
    assert not (tmp_path / "results").exists()


def test_every_task_is_fine_tuned_and_measured(finished):
    """The order of the rules and their files; that the commands do their work is tested elsewhere."""
    snakemake(finished, targets=("finetune", "zero_shot_retrieval", "probe", "search"))
    run = finished / "results/tiny"
    table = (run / "report/finetuning.csv").read_text()
    assert table.startswith("task,split,measure,value,chance,blind,no_text,rule,ceiling,num_examples,num_dropped\n")
    for task, measure in (("vqa", "accuracy"), ("vcr", "both"), ("refcoco", "testB"), ("retrieval", "recall")):
        assert f"\n{task}," in table
        assert measure in table
    page = (run / "report/index.html").read_text()
    for part in ("Zero-shot retrieval", "Probes", "VQA", "VCR", "RefCOCO+", "Search", "Co-attention"):
        assert part in page
    assert (run / "zero_shot_retrieval/metrics.json").is_file()
    assert "kind,accuracy,chance,blind,rule" in (run / "report/probes.csv").read_text()
    assert "way,k,recall_at_1,recall_at_5,recall_at_10,pairs_scored" in (run / "report/search.csv").read_text()
    assert (run / "search/index/index.json").is_file()
    shutil.copytree(run / "tasks/images/val", finished / "own_images")
    (finished / "own_images/broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    asked = [
        sys.executable,
        "-m",
        "vilbert.cli",
        "predict",
        str(run / "finetune/refcoco/model"),
        str(finished / "own_images"),
    ]
    asked += ["the red circle"]
    pointed = subprocess.run(
        [*asked, "--pictures", str(finished / "pictures")], capture_output=True, text=True, env=environment()
    )
    assert pointed.returncode == 0, pointed.stderr
    rows = json.loads(pointed.stdout)
    left_out = {row["image"]: row["reason"] for row in rows if "reason" in row}
    pointed_at = {row["image"] for row in rows if "box" in row}
    notes = {f"{Path(name).stem}.json": "not_an_image" for name in pointed_at}
    assert left_out == {"broken.jpg": "truncated_image", **notes}
    assert len(pointed_at) == 4
    assert {f"{name}.png" for name in pointed_at} == {path.name for path in (finished / "pictures").iterdir()}
    changed = "finetuning: {vcr: {max_tokens: 50}}"
    (finished / "vcr.yaml").write_text(changed)
    planned = snakemake(
        finished,
        "--dry-run",
        "--quiet",
        "rules",
        configfiles=(TINY, finished / "vcr.yaml"),
        targets=("finetune", "zero_shot_retrieval"),
    )
    assert set(re.findall(r"^finetune_task +(\d+)$", planned, flags=re.MULTILINE)) == {"1"}


def test_what_is_compared_takes_what_the_run_has_trained_and_is_one_table(finished):
    """By one seed, so that nothing is decided; the least that has all rules but the pretraining of a cell."""
    grid = {"seeds": [1], "finetunes": ["vqa"], "architectures": ["two_stream"], "depths": [], "data_shares": [0, 1]}
    (finished / "grid.yaml").write_text(json.dumps({"comparison": grid}))
    printed = snakemake(finished, configfiles=(TINY, finished / "grid.yaml"), targets=("comparisons",))
    counts = dict(re.findall(r"^(\w+_cell) +(\d+)$", printed, flags=re.MULTILINE))
    assert counts == {"start_cell": "1", "finetune_cell": "1", "zero_shot_cell": "1"}
    report = json.loads((finished / "results/tiny/report/comparisons.json").read_text())
    of_data = [(row["cell"], row["what"]) for row in report["cells"] if row["table"] == "data"]
    assert of_data[0] == ("0 % of the images", "vqa")
    assert ("100 % of the images", "pretraining") in of_data
    assert {row["verdict"] for row in report["findings"]} == {"not decided"}
    assert report["budget"]["trainings"].keys() == {"pretraining", "vqa"}
    wider = {"comparison": grid | {"seeds": [1, 2], "data_shares": [0, 0.5, 1]}}
    (finished / "grid.yaml").write_text(json.dumps(wider))
    planned = ("--dry-run", "--quiet", "rules")
    printed = snakemake(finished, *planned, configfiles=(TINY, finished / "grid.yaml"), targets=("comparisons",))
    counts = dict(re.findall(r"^(\w+) +(\d+)$", printed, flags=re.MULTILINE))
    new = {"pretrain_cell": "3", "start_cell": "1", "finetune_cell": "4", "zero_shot_cell": "4"}
    assert counts == new | dict.fromkeys(("compare_cells", "make_page", "comparisons"), "1") | {"total": "15"}


TABLES = {  # the other kinds end in the models of published tasks
    "classification": ("text,label", lambda number: f"seen,{('calm', 'stormy')[number % 2]}"),
    "grounding": ("expression,x1,y1,x2,y2", lambda number: "the thing,0,0,64,64"),
}


def test_a_csv_of_one_s_own_makes_a_model_that_python_asks(finished):
    """docs/new_task.md, with pictures in two folders that are the same."""
    snakemake(finished, targets=("results/tiny/tasks",))
    pictures = finished / "my pictures"
    for folder in ("a", "b c"):
        shutil.copytree(finished / "results/tiny/tasks/images/train", pictures / folder)
    files = sorted(str(path.relative_to(pictures)) for path in pictures.rglob("*.jpg"))
    for kind, (columns, row) in TABLES.items():
        lines = [f'"{file}",{row(number)},{"val" if number % 3 == 0 else "train"}' for number, file in enumerate(files)]
        lines.append(f"gone.jpg,{row(0)},train")
        (finished / f"{kind}.csv").write_text("\n".join([f"file,{columns},split", *lines]))
    optimizer = {"batch_size": 2, "num_epochs": 1}
    tasks = {f"my_{kind}": {"kind": kind, "table": f"{kind}.csv", "optimizer": optimizer} for kind in TABLES}
    own = {"annotations": str(finished), "images": str(pictures), "tasks": tasks}
    (finished / "own.yaml").write_text(json.dumps({"finetuning": own}))
    targets = tuple(f"finetune_{name}" for name in tasks)
    snakemake(finished, configfiles=(TINY, finished / "own.yaml"), targets=targets)
    for name in tasks:
        folder = finished / "results/tiny/finetune" / name
        dropped = (folder / "dropped.csv").read_text()
        assert "no_features,gone.jpg: no_file" in dropped.replace('"', "")
        assert "held_out_picture" in dropped  # the same picture in the other folder
        assert json.loads((folder / "predictions/val.json").read_text())
    script = (
        "import json, sys, vilbert\n"
        "ask = vilbert.pipeline('results/tiny/finetune/my_classification/model')\n"
        "print(json.dumps(ask([sys.argv[1], 'gone.jpg'])))"
    )
    asked = [sys.executable, "-c", script, str(pictures / files[0])]
    done = subprocess.run(asked, capture_output=True, text=True, cwd=finished, env=environment())
    assert done.returncode == 0, done.stderr
    known, unknown = json.loads(done.stdout)
    assert known["probabilities"].keys() == {"calm", "stormy"}
    assert known["labels"][0] in known["probabilities"]
    assert unknown["reason"] == "no_file"
