"""The command `vilbert`: the examples of its help are run as they stand there."""

import io
import json
import re
import shlex
import shutil
import subprocess
import sys
import tarfile

import pytest
import torch
from PIL import Image
from places import ROOT
from published_rows import EXPECTED, LXMERT, make_row, write_tsv
from reference_checkpoint import checkpoint
from small_configs import make_two_stream
from transformers import BertTokenizer

from extract.published.formats import FeatureFormat
from extract.published.import_features import import_features
from vilbert import VilbertForPreTraining, VilbertProcessor
from vilbert.cli import SUBCOMMANDS, command_of, main

SIZES = ["--feature-size", "7", "--num-classes", "5", "--num-attributes", "11"]  # of published_rows
RUN = {  # what an example leaves, or says; one that needs a trained detector is run by tests/workflow/test_dag.py
    "vilbert caption-csv captions.csv pictures my_lists --held-out 0.2": "my_lists/source.yaml",
    "vilbert import-features lxmert_tsv train2014_obj36.tsv coco_train.lmdb": "coco_train.parquet",
    "vilbert inspect results/drawn/features/val/00000.lmdb": "1 images",
    "vilbert inspect coco.lmdb 42 --images coco.tar --output boxes.png": "boxes.png",
    "vilbert convert pytorch_model_9.bin my_model --config original.json": "my_model/model.safetensors",
    "vilbert convert pytorch_model_9.bin my_model --tokenizer bert-base-uncased": "my_model/processor_config.json",
    "vilbert export my_model my_model.onnx": "my_model.onnx",
    "vilbert export my_model my_model.pt2": "my_model.pt2",
    "vilbert learning-curves results/drawn/pretrain/metrics.jsonl curves.svg": "curves.svg",
    "vilbert report results/drawn": "results/drawn/report/index.html",
    "vilbert report results/drawn results/other": "cost",
    'vilbert predict results/drawn/finetune/vqa/model pictures "how many ?"': None,
    'vilbert predict my_model a.jpg "a red circle" --detector weights.safetensors': None,
    'vilbert predict my_model pictures "a [MASK] circle" --what fill': None,  # by tests/vilbert/test_predict.py
    'vilbert predict my_model features.lmdb "a red circle"': '"image": "42"',
    "vilbert demo results/drawn/finetune/vqa/model results/drawn/pretrain/model": None,  # by tests/vilbert/test_page.py
    "vilbert demo my_model --pictures my_pictures --port 8000": None,
    "vilbert index results/drawn/search/model pictures my_index": None,  # these four: tests/vilbert/search
    'vilbert search my_index "a red circle" --rerank 16 --output found.png': None,
    "vilbert search my_index --image a.jpg": None,
    "vilbert search my_index --serve": None,
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the files lie that the examples name."""
    monkeypatch.chdir(tmp_path)
    folders = ("results/drawn/features/val", "results/drawn/pretrain", "results/other")
    for name in ("pictures", "bert-base-uncased", *folders):
        (tmp_path / name).mkdir(parents=True)
    for number in range(7):
        Image.new("RGB", (53, 59), (20 * number, 7, 7)).save(tmp_path / f"pictures/{number}.jpg")
    captions = "".join(f"{number}.jpg,picture {number}\n" for number in range(7))
    (tmp_path / "captions.csv").write_text(f"file,caption\n{captions}")
    (tmp_path / "results/drawn/pretrain/metrics.jsonl").write_text('{"step": 5, "loss/alignment": 0.7}\n')
    source = write_tsv(tmp_path / "train2014_obj36.tsv", [make_row("42")], LXMERT)
    for name in ("coco", "features", "results/drawn/features/val/00000"):
        store = tmp_path / f"{name}.lmdb"
        import_features(FeatureFormat.LXMERT_TSV, source, store, expected=EXPECTED, image_key=None)
    picture = (tmp_path / "pictures/1.jpg").read_bytes()
    with tarfile.open(tmp_path / "coco.tar", "w") as tar:
        member = tarfile.TarInfo("42.jpg")
        member.size = len(picture)
        tar.addfile(member, io.BytesIO(picture))
    state, original = checkpoint()
    torch.save(state, tmp_path / "pytorch_model_9.bin")
    (tmp_path / "original.json").write_text(json.dumps(original))
    (tmp_path / "bert-base-uncased/vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nred\n")
    tokenizer = BertTokenizer.from_pretrained(tmp_path / "bert-base-uncased")
    tokenizer.save_pretrained(tmp_path / "bert-base-uncased")
    VilbertForPreTraining(make_two_stream(visual_feature_size=7)).save_pretrained(tmp_path / "my_model")
    VilbertProcessor(tokenizer).save_pretrained(tmp_path / "my_model")
    return tmp_path


def called(*arguments: str) -> int | str | None:
    """How the command ends."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return ended.value.code


def test_every_example_is_run_below():
    assert [line for subcommand in SUBCOMMANDS.values() for line in subcommand.examples.splitlines()] == list(RUN)


@pytest.mark.parametrize(
    "example",
    [
        pytest.param(example, marks=[pytest.mark.slow] * ("export" in example))
        for example, result in RUN.items()
        if result
    ],
)
def test_an_example_is_a_true_command(example, folder, capsys):
    vilbert, name, *arguments = shlex.split(example)
    assert vilbert == "vilbert"
    if name == "convert":
        shutil.rmtree(folder / "my_model")
    arguments += SIZES if name == "import-features" else []
    assert called(name, *arguments) == 0
    assert (folder / RUN[example]).is_file() or RUN[example] in capsys.readouterr().out


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_the_help_of_a_subcommand_explains_each_argument_and_ends_with_examples(name, capsys):
    assert called(name, "--help") == 0
    printed = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert f"Usage: vilbert {name}" in " ".join(printed)
    start = printed.index("Examples:") + 1
    examples = SUBCOMMANDS[name].examples.splitlines()
    assert printed[start : start + len(examples)] == examples
    assert [param.name for param in command_of(SUBCOMMANDS[name]).params if not param.help] == []


def test_the_list_of_subcommands_imports_none_of_them():
    code = "import sys; from vilbert.cli import main\ntry: main(['--help'])\nfinally: print(*sys.modules)"
    printed = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT)
    assert all(f"│ {name} " in printed for name in SUBCOMMANDS)
    assert not {"torch", "transformers", "numpy"} & set(printed.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["convrt"], "No such command 'convrt'. Did you mean 'convert'?"),
        (["inspect"], "Missing argument"),
        (["inspect", "a.lmdb", "--nothing"], "No such option: --nothing"),
    ],
)
def test_a_wrong_call_is_told(arguments, message, capsys):
    assert called(*arguments) == 2
    assert message in capsys.readouterr().err


def test_what_a_user_can_mend_is_one_line():
    assert str(called("convert", "nowhere.bin", "out")).startswith("error: ")


def test_the_version_is_that_of_the_package(capsys):
    assert called("--version") == 0
    assert re.fullmatch(r"vilbert \d+\.\d+\.\d+\n", capsys.readouterr().out)
