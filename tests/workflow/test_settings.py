import copy
import json
import re
import subprocess
import sys

import pytest
import yaml
from places import ROOT

from workflow.settings import Settings, check

DEFAULT = yaml.safe_load((ROOT / "config.yaml").read_text())
BOTTOM_UP = {
    "url": None,
    "sha256": None,
    "class_names": None,
    "attribute_names": None,
    "shorter_side": 600,
    "longer_side": 1000,
    "num_proposals": 300,
    "box_source": "proposal",
}

LISTED = {name: {"url": f"{name}.csv", "sha256": None, "num_rows": 7} for name in ("train", "val")}


def with_changes(**changes) -> dict:
    """The default config with keys such as `download__tries` set."""
    config = copy.deepcopy(DEFAULT)
    for path, value in changes.items():
        *sections, key = path.split("__")
        section = config
        for name in sections:
            section = section[name]
        section[key] = value
    return config


def test_the_default_config_is_valid():
    assert check(DEFAULT).run == "drawn"


@pytest.mark.parametrize(
    ("path", "nearest"),
    [
        ("selektion", "selection"),
        ("download__retries", "tries"),
        ("source__splits__train__rows", "num_rows"),
        ("world__noise__dead_urls", "dead_url"),
        ("detector_training__learning_rte", "learning_rate"),
    ],
)
def test_an_unknown_key_is_an_error_that_names_the_nearest(path, nearest):
    with pytest.raises(ValueError, match=rf"{path.replace('__', '.')}: unknown key, did you mean '{nearest}'\?"):
        check(with_changes(**{path: 1}))


def test_every_wrong_value_is_named_at_once():
    with pytest.raises(ValueError, match=r"(?s)captions\.min_words.*selection\.threshold"):
        check(with_changes(captions__min_words=0, selection__threshold=1.5))


def test_a_file_of_an_older_version_is_told_what_it_lacks():
    config = with_changes(download__retries=3)
    del config["download"]["tries"], config["source"]["pictures"]
    with pytest.raises(ValueError, match="is wrong") as raised:
        check(config)
    lines = str(raised.value).splitlines()[1:]
    assert [line.split(",")[0] for line in lines] == [
        "  source.pictures: missing",
        "  download.tries: missing",
        "  download.retries: unknown key",
    ]


def test_a_section_without_its_keys_is_named():
    with pytest.raises(ValueError, match=r"selection: got 0\.3, expected a section of keys"):
        check(with_changes(selection=0.3))


@pytest.mark.parametrize(
    ("image_key", "message"),
    [
        ("COCO_val2014", r"has no \{image_id\} in it"),
        ("COCO_{image}", r"asks for 'image', expected \{image_id\} alone"),
        ("COCO_{}", r"expected \{image_id\} alone"),
        ("COCO_{image_id", "expected '}'"),
    ],
)
def test_a_pattern_that_names_no_image_fails_before_the_first_job(image_key, message):
    with pytest.raises(ValueError, match=rf"(?s)finetuning\.vqa\.validation\.image_key.*{message}"):
        check(with_changes(finetuning__vqa__validation__image_key=image_key))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"world": None}, "needs the section world"),
        ({"source__kind": "urls"}, r"splits\.train\.url is null"),
        ({"source__pictures": "my/pictures"}, r"source\.pictures is my/pictures: .* got 'drawn'"),
        ({"source__kind": "folder", "source__splits": LISTED}, "source.kind 'folder' needs the folder of the pictures"),
        ({"detector_training": None}, r"detector\.weights is null"),
        ({"detector__bottom_up": BOTTOM_UP}, r"detector\.bottom_up needs the path of its weights"),
        ({"detector__backend": "detectron2"}, r"detector\.bottom_up is null"),
        ({"finetuning__features": "mine.lmdb"}, r"vcr needs features of given boxes .* set finetuning\.vcr to null"),
        ({"source__splits": {"train/x": {"url": None, "sha256": None, "num_rows": 1}}}, "letters and digits"),
        ({"source__splits": {"prüfung": {"url": None, "sha256": None, "num_rows": 1}}}, "ASCII letters and digits"),
    ],
)
def test_sections_that_do_not_fit_together_are_an_error(changes, message):
    with pytest.raises(ValueError, match=message):
        check(with_changes(**changes))


def test_the_real_servers_are_not_asked_without_a_contact():
    split = {"url": "https://lists.example/train.tsv", "sha256": None, "num_rows": 7}
    urls = {"source__kind": "urls", "source__splits": {"train": split}, "download__mirror": None}
    urls |= {"detector__weights": "weights.safetensors", "pretraining__validation_split": "train"}
    with pytest.raises(ValueError, match=r"download\.contact is null"):
        check(with_changes(**urls))


def test_a_split_that_is_not_there_cannot_be_trained_on():
    with pytest.raises(ValueError, match=r"pretraining\.validation_split is 'test', expected one of train, val"):
        check(with_changes(pretraining__validation_split="test"))


def test_a_fine_tune_is_told_of_its_own_section_alone():
    told = json.loads(check(DEFAULT).finetuning_json("vcr", seed=7))
    assert (told["seed"], told["vqa"], told["refcoco"], told["retrieval"]) == (7, None, None, None)
    assert told["vcr"]["train"] == "vcr/train.jsonl"


def test_a_task_without_files_is_named():
    with pytest.raises(ValueError, match=r"finetuning\.vqa is null: name the task's files there"):
        check(with_changes(finetuning__vqa=None)).finetuning_json("vqa")


def test_boxes_stand_in_the_files_of_their_task():
    settings = check(with_changes(finetuning__refcoco__detections="dets.json"))
    assert settings.box_file("vcr") == "images"
    assert settings.box_file("refcoco") == "refcoco+/instances.json"
    assert settings.box_file("refcoco_detections") == "dets.json"
    assert settings.box_names("refcoco_detections", "data") == ["--instances", "data/refcoco+/instances.json"]
    assert settings.chooses_among_detections("refcoco")
    assert not settings.chooses_among_detections("vcr")
    assert not check(DEFAULT).chooses_among_detections("refcoco")


def test_the_last_shard_holds_what_is_left():
    settings = check(with_changes(source__rows_per_shard=7, source__splits__train__num_rows=15))
    assert settings.shards("train") == ["00000", "00001", "00002"]
    assert settings.rows_of("train", "00001") == "--first-row 7 --num-rows 7"
    assert settings.rows_of("train", "00002") == "--first-row 14 --num-rows 1"


def test_a_shard_beyond_the_rows_is_an_error():
    settings = check(with_changes(source__rows_per_shard=7, source__splits__train__num_rows=15))
    with pytest.raises(ValueError, match="shard 00005 of train begins at row 35"):
        settings.rows_of("train", "00005")
    with pytest.raises(ValueError, match=r"split 'dev' is not in source\.splits"):
        settings.rows_of("dev", "00000")


def test_what_a_result_is_made_of_knows_no_order_of_keys_and_no_manner():
    settings = check(with_changes(source__splits=dict(reversed(DEFAULT["source"]["splits"].items()))))
    assert list(settings.source.splits) == ["train", "val"]
    assert settings.made_of("download") == check(with_changes(download__contact="me@x.example")).made_of("download")
    assert set(json.loads(settings.made_of("download"))["download"]) == {
        *("mirror", "max_bytes", "max_pixels", "max_side", "honour_opt_out", "honour_robots_txt"),
        "allow_private_addresses",
    }


def test_the_name_of_a_bert_is_not_part_of_what_is_made_of_it(tmp_path):
    """What it holds is, as an input."""
    settings = check(with_changes(model__text_init="a-hub/bert"))
    assert json.loads(settings.made_of_pretraining())["model"]["text_init"] is None


def test_evaluation_splits_come_before_training():
    assert check(DEFAULT).splits_by_priority() == ["val", "train"]
    splits = dict.fromkeys(("learn", "train", "x"), DEFAULT["source"]["splits"]["val"])
    renamed = with_changes(source__splits=splits, pretraining__train_split="learn", pretraining__validation_split="x")
    assert check(renamed).splits_by_priority() == ["train", "x", "learn"]


def test_nothing_heavy_is_imported_while_snakemake_parses():
    code = "import sys, workflow.settings; print(sorted({'torch', 'pandas', 'numpy', 'pyarrow'} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT).strip() == "[]"


def test_the_real_run_names_every_key_itself():
    overlay = yaml.safe_load((ROOT / "workflow/configs/conceptual_captions.yaml").read_text())
    assert set(overlay) == set(Settings.model_fields)
    for section, value in overlay.items():
        if isinstance(value, dict) and isinstance(DEFAULT[section], dict):
            assert set(value) == set(DEFAULT[section]), section


def test_every_key_is_explained_in_the_docs():
    """docs/settings.md is made from the models: python -m workflow.settings > docs/settings.md."""
    made = subprocess.check_output([sys.executable, "-m", "workflow.settings"], text=True, cwd=ROOT)
    assert made == (ROOT / "docs/settings.md").read_text()
    assert re.search(r"`relatedness.threshold`", made)


@pytest.mark.parametrize("name", ["vqa", "task", "cell", "attention", "pretraining", "zero_shot_retrieval"])
def test_a_task_of_ones_own_takes_no_name_that_is_taken(name):
    own = {name: {"kind": "vqa", "table": "table.csv"}}
    with pytest.raises(ValueError, match=f"'{name}' is the name of a task or rule that there is; give yours another"):
        check(with_changes(finetuning__tasks=own))
