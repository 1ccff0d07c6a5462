"""Every setting, and the rules that a change of it runs again; one row a key, so that a new key needs a row.

The same of the files that settings name.

The outputs are empty files that Snakemake takes for finished ones: what is compared is what it knows jobs by.
"""

import copy
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from places import ROOT
from pydantic import BaseModel
from snakemake.utils import update_config

from vilbert.settings import OwnTaskSettings
from workflow.settings import Settings, _types_in

# What runs behind each rule when that runs: the arrows of docs/rulegraph.svg.
FOLLOWS = {
    "fetch_caption_list": {"cut_rows"},
    "fetch_tar": {"import_webdataset"},
    "import_webdataset": {"clean_captions", "count_captions", "check_images", "judge_pairs"},
    "import_folder": {"clean_captions", "count_captions", "check_images", "judge_pairs"},
    "draw_world": {"cut_rows", "download", "train_detector", "score_cleaning"},
    "draw_tasks": {
        *("pack_task_images", "extract_given_boxes", "finetune_task", "zero_shot_retrieval", "probe"),
        *("list_named_pictures", "pack_named_pictures", "zero_shot_cell"),
    },
    "cut_rows": {"count_captions", "clean_captions", "download", "judge_pairs"},
    "count_captions": {"clean_captions", "judge_pairs"},
    "clean_captions": {"find_duplicates", "judge_pairs"},
    "download": {
        *("check_images", "find_duplicates", "extract_regions", "judge_pairs", "build_index"),
        *("show_retrieval", "show_attention"),
    },
    "check_images": {"find_duplicates", "judge_pairs"},
    "find_duplicates": {"judge_pairs"},
    "train_detector": {"extract_regions", "extract_task_regions", "extract_named_regions", "extract_given_boxes"},
    "fetch_tokenizer": {"tokenize_captions"},
    "fetch_text_init": {"pretrain", "pretrain_cell", "start_cell"},
    "fetch_detector": {"extract_regions", "extract_task_regions", "extract_named_regions", "extract_given_boxes"},
    "extract_regions": {
        *("judge_pairs", "pretrain", "pretrain_cell", "start_cell", "describe_features"),
        *("show_retrieval", "show_attention"),
        *("distil_retriever", "embed_images", "build_index", "score_every_pair", "measure_search"),
    },
    "judge_pairs": {"collect_pairs"},
    "collect_pairs": {
        *("tokenize_captions", "describe_features", "score_cleaning", "probe", "show_attention"),
        *("distil_retriever", "score_every_pair", "measure_search"),
    },
    "describe_features": {"make_page"},
    "score_cleaning": {"make_page"},
    "tokenize_captions": {"pretrain", "pretrain_cell", "start_cell", "show_retrieval"},
    "pretrain": {
        *("show_retrieval", "show_attention", "make_page", "compare_cells"),
        *("finetune_task", "zero_shot_retrieval", "probe"),
        *("distil_retriever", "score_every_pair", "measure_search"),
    },
    "show_retrieval": {"make_page"},
    "show_attention": {"make_page"},
    "show_answers": {"make_page"},
    "make_page": {"all", "features", "finetune", "search", "comparisons"},
    "pretrain_cell": {"finetune_cell", "zero_shot_cell", "compare_cells"},
    "start_cell": {"finetune_cell", "zero_shot_cell"},
    "zero_shot_cell": {"compare_cells"},
    "zero_shot_retrieval": {"compare_cells"},
    "compare_cells": {"comparisons", "make_page"},
    "pack_task_images": {"extract_task_regions", "extract_given_boxes"},
    "extract_task_regions": {"finetune_task", "finetune_cell", "zero_shot_retrieval", "zero_shot_cell", "probe"},
    "extract_given_boxes": {"finetune_task", "finetune_cell"},
    "list_named_pictures": {"pack_named_pictures"},
    "pack_named_pictures": {"extract_named_regions", "finetune_task", "finetune_cell"},
    "extract_named_regions": {"finetune_task", "finetune_cell"},
    "finetune_task": {"describe_finetuning", "show_answers", "compare_cells"},
    "finetune_cell": {"compare_cells"},
    "describe_finetuning": {"finetune", "make_page"},
    "distil_retriever": {"embed_images", "build_index", "measure_search"},
    "embed_images": {"build_index"},
    "build_index": {"search"},
    "score_every_pair": {"measure_search"},
    "measure_search": {"search", "make_page"},
}
FOLLOWS["import_webdataset"] |= FOLLOWS["download"]
FOLLOWS["import_folder"] |= FOLLOWS["download"]
FOLLOWS["draw_tasks"] |= {"finetune_cell"}

IMPORTS = {"fetch_tar", "import_webdataset", "import_folder"}  # a published tar is gone when it has been imported
EXTRACTS = {"extract_regions", "extract_task_regions", "extract_named_regions", "extract_given_boxes"}
PRETRAINS = {"pretrain", "pretrain_cell"}
STARTS = PRETRAINS | {"start_cell"}
FINETUNES = {"finetune_task", "finetune_cell"}
RETRIEVES = {"zero_shot_retrieval", "zero_shot_cell"}
ASKS_TEACHER = {"distil_retriever", "score_every_pair", "measure_search"}
SHOWS_PRETRAINED = {"show_retrieval", "show_attention"}
NOTHING: set[str] = set()

# Key: another value, the first rules that it runs again (of those that a source kind has), and the kinds of source with
# which the value can be given alone; none: every kind whose settings have the section.
Row = tuple[Any, set[str], tuple[str, ...]]
ROWS: dict[str, Row] = {}


def add(section: str, rules: set[str], *kinds: str, **values: Any) -> None:
    ROWS.update({f"{section}.{name}".strip("."): (value, rules, kinds) for name, value in values.items()})


add("", NOTHING, gpus_per_job=1, gpus_per_training=1, processes_per_training=2)
add("", NOTHING, nodes_per_training=2)
add("source", {"cut_rows"} | IMPORTS, rows_per_shard=70)
add("source.splits.val", {"draw_world", "cut_rows", "import_folder"}, num_rows=31)
add("source.splits.val", NOTHING, sha256="0" * 64)
# An address, and the path of a file in a folder called "file:".
add("source.splits.val", {"fetch_caption_list", "import_folder"}, "urls", "folder", url="file:/other_val.csv")
add("source", NOTHING, "folder", pictures="moved")
add("world", {"draw_world", "draw_tasks"}, "drawn", seed=2, image_size=128, min_objects=4, max_objects=11)
add("world", {"draw_world"}, "drawn", captions_per_image=2)
add("world", {"draw_tasks"}, "drawn", num_task_images={"train": 9})
NOISE = ("dead_url", "html_as_image", "truncated_image", "tiny_image", "wide_image", "flat_placeholder")
NOISE += ("exact_duplicate", "near_duplicate", "boilerplate_caption", "markup_caption", "wrong_caption")
add("world.noise", {"draw_world"}, "drawn", **dict.fromkeys(NOISE, 0.015))
add("captions", {"clean_captions"}, min_words=2, max_words=9, min_latin_share=0.5, boilerplate=["x"], max_repeats=7)
add("download", NOTHING, contact="someone@library.example", connections=7, connections_per_host=3, gap_per_host=1)
add("download", NOTHING, timeout=7, tries=5, backoff=0.7, max_retry_after=7, min_success=0.1)
add("download", {"download"}, mirror="http://127.0.0.1:9", max_bytes=7_000, honour_opt_out=False)
add("download", {"download"}, allow_private_addresses=True, honour_robots_txt=False)
add("download", {"download"} | IMPORTS, max_pixels=7_000, max_side=99)
add("images", {"check_images"}, min_side=7, max_aspect_ratio=7, min_contrast=7)
add("duplicates", {"find_duplicates"}, max_distance=7)
add("relatedness", {"judge_pairs"}, threshold=0.7, min_regions=7)
add("detector", EXTRACTS | {"train_detector"}, dtype="bfloat16")
add("detector", EXTRACTS, "urls", "webdataset", backend="detectron2")
add("detector", EXTRACTS, "drawn", "urls", "folder", weights="other_weights.pth")
add("detector", NOTHING, batch_size=7)
add("detector.bottom_up", {"fetch_detector"}, "webdataset", url="file:///other.pth")
add("detector.bottom_up", NOTHING, sha256="0" * 64)
add("detector.bottom_up", EXTRACTS, class_names="other_names.txt", attribute_names="other_names.txt")
add("detector.bottom_up", EXTRACTS, shorter_side=500, longer_side=900, num_proposals=70, box_source="regressed")
add("detector_training", {"train_detector"}, seed=2, steps=4, batch_size=3, learning_rate=0.1, weight_decay=0.1)
add("detector_training", {"train_detector"}, warmup_steps=2, max_gradient_norm=7)
add("selection", EXTRACTS - {"extract_given_boxes"}, threshold=0.7, min_regions=7, max_regions=37, nms_iou=0.7)
add("store", EXTRACTS - {"extract_given_boxes"}, num_classes_kept=7)
add("text", {"fetch_tokenizer"}, "urls", tokenizer="a-hub/name")
add("text", {"tokenize_captions"}, vocab_size=399, max_tokens=35)
add("model", PRETRAINS, architecture="single_stream")
add("model", {"fetch_text_init"}, "urls", text_init="a-hub/name")
add("model", STARTS, visual_feature_size=255, visual_target="features", dropout=0.7)
add("model", STARTS, visual_embedding_norm="joint", text_hidden_size=48, text_num_layers=4, text_num_heads=2)
add("model", STARTS, text_intermediate_size=7, visual_hidden_size=48, visual_num_layers=3, visual_num_heads=2)
add("model", STARTS, visual_intermediate_size=7, co_hidden_size=48, co_num_heads=2, text_co_layers=[1])
add("model", STARTS, visual_co_layers=[0], fusion="mul", initializer_range=0.7)
add("pretraining", PRETRAINS | SHOWS_PRETRAINED, seed=2)
add(
    "pretraining",
    PRETRAINS | SHOWS_PRETRAINED | {"draw_world", "train_detector", "find_duplicates", "probe"} | ASKS_TEACHER,
    train_split="val",
)
add("pretraining", PRETRAINS | SHOWS_PRETRAINED | {"train_detector"} | ASKS_TEACHER, validation_split="train")
add("pretraining.objective", PRETRAINS, token_mask_probability=0.7, region_mask_probability=0.7, mask_overlap_iou=0.7)
add("pretraining.objective", PRETRAINS, mismatch_probability=0.7, contrast_words=[], contrast_mask_probability=0.7)
add("pretraining.objective", PRETRAINS, masked_losses_on="all")
add("pretraining.objective.late", PRETRAINS, from_epoch=7, mismatch_probability=0.7)
add("pretraining.objective.late", PRETRAINS, contrast_words=[], changed_share=0.7)
add("pretraining.objective", PRETRAINS, masked_token=7, masked_region=7, alignment=7)
add("pretraining.evaluation", PRETRAINS, every_steps=7, num_pairs=7, num_retrieval_images=6)
add("finetuning", FINETUNES | RETRIEVES, "drawn", seed=2)
add("finetuning", FINETUNES | RETRIEVES | {"probe"} | ASKS_TEACHER, "drawn", start_from="my_model")
READS_ANNOTATIONS = FINETUNES | RETRIEVES | {"extract_given_boxes", "list_named_pictures", "probe"}
add("finetuning", READS_ANNOTATIONS, "drawn", annotations="mine")
add("finetuning", {"pack_task_images", "pack_named_pictures"}, "drawn", images="moved")
add("finetuning", FINETUNES | RETRIEVES | {"probe", "describe_finetuning"}, features="my.lmdb")
add("finetuning", {"probe"}, "drawn", probes="other.csv")
for task in ("vqa", "vcr", "refcoco", "retrieval"):
    reads = FINETUNES | (RETRIEVES if task == "retrieval" else set())
    add(f"finetuning.{task}", reads, "drawn", max_tokens=19)
    numbers = {"batch_size": 7, "num_epochs": 7, "learning_rate": 0.7, "warmup_share": 0.7, "weight_decay": 0.7}
    add(f"finetuning.{task}.optimizer", FINETUNES, "drawn", **numbers, beta2=0.7, max_gradient_norm=7)
add("pretraining.optimizer", PRETRAINS, **numbers, beta2=0.7, max_gradient_norm=7)
add("finetuning.tasks.mine", FINETUNES | {"list_named_pictures"}, "drawn", kind="retrieval", table="other.csv")
add("finetuning.tasks.mine", FINETUNES, "drawn", held_out=0.7, separator="|", class_weights="balanced", max_tokens=19)
add("finetuning.tasks.mine.optimizer", FINETUNES, "drawn", **numbers, beta2=0.7, max_gradient_norm=7)
for split in ("train", "validation", "test"):
    files = {"questions": "other.json", "annotations": "others.json", "image_key": "{image_id}"}
    add(f"finetuning.vqa.{split}", FINETUNES, "drawn", **files)
add("finetuning.vqa", FINETUNES, "drawn", minival_size=7, answers="other.json", min_answer_count=7)
add("finetuning.vcr", FINETUNES, "drawn", train="x.jsonl", validation="x.jsonl", test="x.jsonl")
add("finetuning.vcr", FINETUNES | {"extract_given_boxes"}, "drawn", metadata="others")
add("finetuning.refcoco", FINETUNES, "drawn", refs="other.p", validation_splits=["val"])
add("finetuning.refcoco", FINETUNES | {"extract_given_boxes"}, "drawn", instances="x.json", detections="x.json")
add("finetuning.retrieval", FINETUNES | RETRIEVES, "drawn", captions="x.json", validation_split="test")
add("search", {"distil_retriever"}, seed=2, embedding_size=7, temperature=0.7, num_mined=7, num_hard=7)
add("search", {"distil_retriever"}, num_distilled=7, contrastive=7, distillation=7)
add("search.optimizer", {"distil_retriever"}, **numbers, beta2=0.7, max_gradient_norm=7)
add("search", ASKS_TEACHER, "drawn", teacher="retrieval")
add("search", {"build_index"}, index="HNSW8")
add("search", {"score_every_pair", "measure_search"}, num_images=7, num_queries=7)
add("search", {"measure_search"}, reranked=[1, 2])
add("comparison", {"pretrain_cell", "start_cell"}, "drawn", seeds=[1, 3])
add("comparison", {"pretrain_cell", "compare_cells"}, "drawn", data_shares=[0, 0.5, 1], depths=[1])
add("comparison", {"pretrain_cell", "compare_cells"}, "drawn", text_inits={"other": "my_bert"})
add("comparison", {"compare_cells"}, "drawn", finetunes=["vcr"], architectures=["two_stream"])
add("runtime", NOTHING, micro_batch_size=7, dtype="float32", num_workers=1, gradient_checkpointing=True, fsdp=True)
add("runtime", NOTHING, peak_tflops=7, trackers=[], log_every_steps=7, checkpoint_minutes=7, checkpoint_steps=7)
add("runtime", NOTHING, num_checkpoints_kept=7, num_earlier_kept=7, compile=True, scratch="$TMPDIR")
GONE = {"finetuning.features": {"show_answers"}, "model.architecture": {"show_attention"}}  # with the other value
# Another run, or another workflow: nothing of the one before is there.
NOT_WALKED = {"run", "source.kind"}

TARGETS = {  # not by name those that have an output: a target is left out of the comparison
    "drawn": [
        *("all", "finetune", "search", "comparisons"),
        *("results/tiny/zero_shot_retrieval/metrics.json", "results/tiny/report/probes.csv"),
    ]
}


def keys_of(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key that holds a value, by its path."""
    for name, field in model.model_fields.items():
        sections = [kind for kind in _types_in(field.annotation) if issubclass(kind, BaseModel)]
        path = f"{prefix}{name}" + {"splits": ".val", "tasks": ".mine"}.get(name, "")
        yield from keys_of(sections[0], f"{path}.") if sections else [path]


def test_every_key_has_a_row_and_every_row_a_key():
    assert ROWS.keys() | NOT_WALKED == set(keys_of(Settings))


BOTTOM_UP = {
    "url": None,
    "sha256": None,
    "class_names": "names.txt",
    "attribute_names": "names.txt",
    "shorter_side": 600,
    "longer_side": 1000,
    "num_proposals": 300,
    "box_source": "proposal",
}


def config_of(kind: str, folder: Path) -> dict:
    """Whole settings of a source kind, with the files that they name below `folder`."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    update_config(config, yaml.safe_load((ROOT / "tests/workflow/tiny.yaml").read_text()))
    for name in ("pictures", "moved", "my_model", "mine"):
        (folder / name).mkdir()
    for name in ("a.jpg", "b.jpg"):
        (folder / "pictures" / name).write_text(name)
        (folder / "moved" / name).write_text(name)
    for number, name in enumerate(
        ("weights.pth", "other_weights.pth", "names.txt", "other_names.txt", "my.json", "my.lmdb")
    ):
        (folder / name).write_text(f"file {number}")
    finetuning = Settings.model_validate(config)
    for task in ("vqa", "vcr", "refcoco", "retrieval"):
        for file in [*finetuning.annotation_files(task), "vcr/images/x.json", "probes/val.csv", "mine.csv"]:
            (folder / "mine" / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / "mine" / file).write_text(file)
    (folder / "mine/images").mkdir()
    (folder / "my_bert").mkdir()
    sizes = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    (folder / "my_bert/config.json").write_text(json.dumps(dict.fromkeys(sizes, 12)))
    if kind == "drawn":
        own = OwnTaskSettings(kind="classification", table="mine.csv").model_dump()
        config["finetuning"]["tasks"] = {"mine": own}
        config["comparison"] |= {"seeds": [1], "finetunes": None, "depths": [], "data_shares": [0, 1]}
        return config
    config["source"]["kind"] = kind
    config["download"] |= {"mirror": None, "contact": "you@library.example"}
    config["detector"] |= {"weights": "weights.pth"}
    config["pretraining"]["optimizer"]["num_epochs"] = 1
    urls = {"urls": "file:///{split}.tsv", "webdataset": "file:///{{shard}}-{split}.tar", "folder": "{split}.csv"}
    for split, settings in config["source"]["splits"].items():
        settings["url"] = urls[kind].format(split=split)
    if kind == "folder":
        config["source"]["pictures"] = "pictures"
        (folder / "file:").mkdir()
        for split, start in (("train", ""), ("val", ""), ("file:/other_val", "other ")):
            rows = "".join(f"a.jpg,{start}picture {row}\n" for row in range(160))
            (folder / f"{split}.csv").write_text(f"file,caption\n{rows}")
    else:
        config["text"]["tokenizer"] = config["model"]["text_init"] = "a-hub/first"
        url = "file:///weights.pth" if kind == "webdataset" else None
        config["detector"]["bottom_up"] = BOTTOM_UP | {"url": url}
    return config


def overlay_of(key: str, value: Any, config: dict) -> dict | None:
    """The settings that differ where a key has another value; null where there is no section of the key."""
    *sections, name = key.split(".")
    section = config
    for part in sections:
        section = section.get(part)
        if section is None:
            return None
        if isinstance(section, list):
            section = section[0]
    overlay: Any = {name: value}
    for depth in range(len(sections), 0, -1):
        here = config
        for part in sections[: depth - 1]:
            here = here[part]
        overlay = {
            sections[depth - 1]: [here[sections[depth - 1]][0] | overlay]
            if isinstance(here[sections[depth - 1]], list)
            else overlay
        }
    if key == "finetuning.features":  # boxes that files name need the detector of the images
        overlay["finetuning"] |= {"vcr": None, "refcoco": None}
    if key == "nodes_per_training":  # which share its processes
        overlay["processes_per_training"] = 2
    return overlay


# File that settings name: the first rules that run again when it gets other bytes.
FILES: dict[str, dict[str, set[str]]] = {
    "drawn": {
        "tokens/vocab.txt": {"tokenize_captions"},
        "bert/model.safetensors": STARTS,
        "photos/harbour/a.jpg": {"pack_task_images", "pack_named_pictures"},
        "mine/vqa/v2_drawn_val_annotations.json": FINETUNES,
        "mine/vqa/v2_OpenEnded_drawn_test_questions.json": FINETUNES,
        "mine/vcr/val.jsonl": FINETUNES,
        "mine/images/x.json": {"extract_given_boxes"},
        "mine/refcoco+/refs(unc).p": FINETUNES,
        "mine/refcoco+/instances.json": FINETUNES | {"extract_given_boxes"},
        "mine/karpathy/dataset_drawn.json": FINETUNES | RETRIEVES,
        "mine/probes/val.csv": {"probe"},
        "mine/mine.csv": FINETUNES | {"list_named_pictures"},
        "mine/notes.txt": NOTHING,
    },
    "urls": {"names.txt": EXTRACTS, "weights.pth": EXTRACTS},
    "folder": {
        "pictures/harbour/c.jpg": {"import_folder"},
        "pictures/b.jpg": NOTHING,  # in no csv
        "train.csv": NOTHING,  # the last row, which is beyond num_rows
        "weights.pth": EXTRACTS,
    },
}


def with_files(kind: str, folder: Path) -> dict:
    """Settings that name those files."""
    config = config_of(kind, folder)
    for file in FILES[kind]:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        if not (folder / file).exists():
            (folder / file).write_text(file)
    if kind == "drawn":
        config["text"]["tokenizer"], config["model"]["text_init"] = "tokens", "bert"
        config["finetuning"] |= {"annotations": "mine", "images": "photos"}
    if kind == "folder":
        rows = (folder / "val.csv").read_text()
        (folder / "val.csv").write_text(rows.replace("a.jpg", "harbour/c.jpg", 1))
    return config


def all_that_follows(first: set[str]) -> set[str]:
    found, new = set(first), set(first)
    while new := set().union(*(FOLLOWS.get(rule, set()) for rule in new)) - found:
        found |= new
    return found


def differences(folder: Path, kind: str, config: dict, edits: list[tuple[str, set[str], dict | str]]) -> dict:
    """What was planned otherwise than expected, by the name of the edit.

    Args:
        edits: a name, the first rules that it runs again, and what `plan.py` takes.
    """
    (folder / "base.yaml").write_text(yaml.safe_dump(config))
    targets = TARGETS.get(kind, ["all"])
    plan = [sys.executable, str(Path(__file__).with_name("plan.py")), str(folder), str(folder / "base.yaml")]
    done = subprocess.run(
        [*plan, *targets],
        input="\n".join(json.dumps(edit) for _, _, edit in edits),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    known, *planned = [set(json.loads(line)) - set(targets) for line in done.stdout.splitlines()]
    return {
        name: {"ran": sorted(ran - expected), "did not": sorted((expected - ran) & known)}
        for (name, first, _), ran in zip(edits, planned, strict=True)
        if ran != (expected := all_that_follows(first & known) - GONE.get(name, set())) & known - set(targets)
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["drawn", "urls", "webdataset", "folder"])
def test_a_change_runs_the_rules_of_its_row_and_what_follows_them(tmp_path, kind):
    config = config_of(kind, tmp_path)
    edits: list[tuple[str, set[str], dict | str]] = []
    for key, (value, first, kinds) in ROWS.items():
        overlay = overlay_of(key, copy.deepcopy(value), config)
        if overlay is not None and (not kinds or kind in kinds):
            edits.append((key, first, overlay))
    splits = config["source"]["splits"]
    edits.append(("the order of the splits", NOTHING, {"source": {"splits": dict(reversed(splits.items()))}}))
    assert differences(tmp_path, kind, config, edits) == {}


@pytest.mark.slow
@pytest.mark.parametrize("kind", FILES)
def test_other_bytes_in_a_file_that_settings_name_run_what_reads_it_and_none_when_they_are_back(tmp_path, kind):
    config = with_files(kind, tmp_path)
    edits: list[tuple[str, set[str], dict | str]] = []
    for file, first in FILES[kind].items():
        edits += [(file, first, file), (f"{file} undone", NOTHING, {})]
    assert differences(tmp_path, kind, config, edits) == {}
