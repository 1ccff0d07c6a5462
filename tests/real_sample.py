"""The whole workflow on real rows, photos and annotations, by one command: python tests/real_sample.py FOLDER.

The lists' 8,000 urls are asked of a server on 127.0.0.1. Where no photo belongs to an annotation, or no annotation to
a photo (of VQA's questions, VCR's objects and RefCOCO's expressions neither is at hand), they are put together anyhow:
it is the files' formats that are real. The detector's weights are random numbers.
"""

import importlib.util
import json
import os
import pickle
import random
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
import yaml
from PIL import Image
from places import DETECTOR, REAL, ROOT
from real_web import (
    CAPTION_LIST,
    coco_photos,
    open_images_photos,
    photos_in_turn,
    plan_answers,
    write_site,
)
from snakemake.utils import update_config
from transformers import BertTokenizerFast

from extract.regions.store import RegionStore
from workflow.settings import check

WEIGHTS = DETECTOR / "golden_tiny_weights.npz"
CONFIG = ROOT / "workflow/configs/real_sample.yaml"
NUM_VAL_PHOTOS = 7  # of COCO's 34
NUM_VCR_QUESTIONS = {"train": 60, "val": 20}
NUM_VQA_TRAIN = 48  # of 68 questions
EXPRESSIONS_PER_OBJECT = 2


def main(
    folder: Path,
    num_rows: Annotated[int, typer.Option(max=8000, help="of Conceptual Captions")] = 8000,
    cores: int = 2,
) -> None:
    """Prepare, serve, download, clean, extract, pretrain, fine-tune, report, in FOLDER, which must be new."""
    begun = time.monotonic()
    if folder.exists() and any(folder.iterdir()):
        raise SystemExit(f"error: {folder} is not empty, expected a new folder")
    num_of = prepare(folder / "sample", num_rows=num_rows)
    with served(folder / "sample/site") as address:
        overlay = folder / "sample/here.yaml"
        overlay.write_text(yaml.safe_dump(what_lies_here(folder / "sample", num_of, mirror=address)))
        workflow = f"snakemake --cores {cores} --directory {folder} --snakefile {ROOT / 'Snakefile'}".split()
        configs = ["--configfile", str(CONFIG), str(overlay)]
        targets = ["--", "all", "finetune", "zero_shot_retrieval"]
        run([*workflow, *configs, *targets])
        run([*workflow, "--report", str(folder / "report.html"), *configs, *targets])
    imported = folder / "results/real_sample/imported/five_images.lmdb"
    published = REAL / "bottom_up_features/five_images_36_boxes.tsv"
    run(["python", "-m", "extract.published.import_features", "lxmert_tsv", str(published), str(imported)])
    run(["python", "-m", "extract.regions.inspect", str(imported)])
    if importlib.util.find_spec("detectron2"):
        extract_by_detectron2(folder, overlay)
    else:
        print("detectron2 cannot be imported: its backend was not run")
    print(f"all of it took {time.monotonic() - begun:.0f} s; open {folder / 'report.html'}")


def run(command: Sequence[str]) -> None:
    """Run it with this Python's packages; print it, and how long it took."""
    begun = time.monotonic()
    print("$", shlex.join(command), flush=True)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    packages = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    subprocess.run(command, check=True, env={**os.environ, "PATH": path, "PYTHONPATH": packages})
    print(f"# {time.monotonic() - begun:.0f} s", flush=True)


def extract_by_detectron2(folder: Path, overlay: Path) -> None:
    """The validation images once more, by the other backend; print how far the two are apart."""
    config: dict = {}
    for path in (ROOT / "config.yaml", CONFIG, overlay):
        update_config(config, yaml.safe_load(path.read_text()))
    settings = check(config)
    results = folder / "results/real_sample"
    outputs = [results / f"detectron2/00000{suffix}" for suffix in (".lmdb", ".json", ".parquet")]
    outputs[0].parent.mkdir(exist_ok=True)
    inputs = [results / "images/val/00000.tar", results / "images/val/00000.parquet", folder / "sample/detector.pkl"]
    options = ["--detector", settings.detector.model_copy(update={"backend": "detectron2"}).model_dump_json()]
    options += ["--selection", settings.json("selection"), "--store", settings.json("store")]
    run(["python", "-m", "extract.regions.extract", *map(str, inputs + outputs), *options])
    ours, theirs = RegionStore([results / "features/val/00000.lmdb"]), RegionStore(outputs[:1])
    apart = {
        name: max(float(abs(getattr(ours[key], name).astype(float) - getattr(theirs[key], name)).max()) for key in ours)
        for name in ("boxes", "scores", "features", "class_probs")
    }
    print(f"{len(ours)} images, torchvision against detectron2, largest difference: {apart}")
    assert list(ours) == list(theirs)
    assert max(apart.values()) < 1e-2


@contextmanager
def served(site: Path) -> Iterator[str]:
    """The address of a server for the folder, while the block lasts."""
    with subprocess.Popen(
        [sys.executable, "-m", "extract.download.site", str(site)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def prepare(sample: Path, *, num_rows: int) -> dict[str, int]:
    """Everything that a user would have, in files as they are published; give the number of rows by split."""
    photos = coco_photos()
    shown = {"val": photos[:NUM_VAL_PHOTOS], "train": photos[NUM_VAL_PHOTOS:]}
    num_of = write_lists(sample, shown, num_rows=num_rows)
    write_karpathy(sample / "annotations/karpathy/dataset_coco.json", shown)
    write_refcoco(sample / "annotations/refcoco+", shown)
    write_vqa(sample, photos)
    write_vcr(sample, photos)
    for photo in photos:
        shutil.copy(photo, sample / "images")
    BertTokenizerFast(str(REAL / "bert_vocab/vocab.txt")).save_pretrained(sample / "tokenizer")
    with np.load(WEIGHTS) as arrays:
        (sample / "detector.pkl").write_bytes(pickle.dumps({"model": dict(arrays), "__author__": "nobody"}, protocol=2))
    return num_of


def what_lies_here(sample: Path, num_of: dict[str, int], *, mirror: str) -> dict:
    """The overlay of settings that name this machine's files."""
    here = sample.absolute()
    splits = {name: {"url": (here / f"{name}.tsv").as_uri(), "num_rows": number} for name, number in num_of.items()}
    return {
        "source": {"splits": splits},
        "download": {"mirror": mirror},
        "detector": {"weights": str(here / "detector.pkl")},
        "text": {"tokenizer": str(here / "tokenizer")},
        "finetuning": {"annotations": str(here / "annotations"), "images": str(here / "images")},
    }


def write_lists(sample: Path, shown: dict[str, list[Path]], *, num_rows: int) -> dict[str, int]:
    """The real rows, after COCO's captions with their own photos: so these photos keep their captions, and the same
    photos at other urls are duplicates. Each split has photos of its own."""
    rows = [tuple(line.split("\t")) for line in CAPTION_LIST.read_text(encoding="utf-8").splitlines()[:num_rows]]
    of_split = {"val": rows[: num_rows // 8], "train": rows[num_rows // 8 :]}
    others = open_images_photos()
    more_photos = {"val": others[: len(others) // 2], "train": others[len(others) // 2 :]}
    content = json.loads((REAL / "coco/captions.json").read_text())
    url_of = {image["id"]: image["coco_url"] for image in content["images"]}
    told, photo_of = {}, {}
    for split, photos in shown.items():
        names = {photo.stem: photo for photo in photos}
        owned = [
            (" ".join(row["caption"].lower().split()), url_of[row["image_id"]])
            for row in sorted(content["annotations"], key=lambda row: row["image_id"])
            if f"{row['image_id']:012d}" in names
        ]
        told |= dict.fromkeys((url for _, url in owned), "success") | plan_answers(url for _, url in of_split[split])
        photo_of |= {url: names[Path(url).stem] for _, url in owned}
        photo_of |= photos_in_turn((url for _, url in of_split[split]), [*photos, *more_photos[split]])
        of_split[split] = [*owned, *of_split[split]]
    write_site(sample / "site", told, photo_of=photo_of)
    for split, lines in of_split.items():
        (sample / f"{split}.tsv").write_text("".join(f"{caption}\t{url}\n" for caption, url in lines), encoding="utf-8")
    return {split: len(lines) for split, lines in of_split.items()}


def write_karpathy(path: Path, shown: dict[str, list[Path]]) -> None:
    """COCO's captions of COCO's photos."""
    captions: dict[str, list[str]] = {}
    for row in json.loads((REAL / "coco/captions.json").read_text())["annotations"]:
        captions.setdefault(f"{row['image_id']:012d}", []).append(row["caption"])
    images = [
        {
            "filename": photo.name,
            "imgid": number,
            "split": split,
            "sentences": [{"raw": raw, "sentid": number * 9 + place} for place, raw in enumerate(captions[photo.stem])],
        }
        for split, photos in shown.items()
        for number, photo in enumerate(photos, start=100 * (split == "val"))
    ]
    write_json(path, {"images": images, "dataset": "coco"})


def write_refcoco(folder: Path, shown: dict[str, list[Path]]) -> None:
    """COCO's objects, called by real expressions for others."""
    instances = json.loads((REAL / "coco/instances.json").read_text())
    write_json(folder / "instances.json", instances)
    said = cycle(row["sent"] for row in real_expressions() if row["sent"])
    splits = dict.fromkeys((photo.stem for photo in shown["train"]), "train")
    splits |= dict(zip((photo.stem for photo in shown["val"]), cycle(("val", "testA", "testB")), strict=False))
    refs: list[dict] = []
    for number, annotation in enumerate(instances["annotations"]):
        if annotation["iscrowd"]:
            continue
        sentences = [
            {"sent": sent, "raw": sent, "tokens": sent.split(), "sent_id": number * EXPRESSIONS_PER_OBJECT + place}
            for place, sent in enumerate(islice(said, EXPRESSIONS_PER_OBJECT))
        ]
        refs.append(
            {
                "ref_id": number,
                "ann_id": annotation["id"],
                "image_id": annotation["image_id"],
                "category_id": annotation["category_id"],
                "file_name": f"COCO_train2014_{annotation['image_id']:012d}_{number}.jpg",
                "split": splits[f"{annotation['image_id']:012d}"],
                "sentences": sentences,
                "sent_ids": [sentence["sent_id"] for sentence in sentences],
            }
        )
    (folder / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))


def real_expressions() -> list[dict]:
    return json.loads((REAL / "refcoco/sample_expressions_testA.json").read_text())["predictions"]


def write_vqa(sample: Path, photos: Sequence[Path]) -> None:
    """Real questions and the real list of answers; what was answered is drawn, as the photos are."""
    rng = random.Random(1)
    folder = sample / "annotations/vqa"
    content = json.loads((REAL / "vqa/v2_OpenEnded_mscoco_val2014_questions_slice.json").read_text())
    answers = json.loads((REAL / "vqa/label2ans.json").read_text())
    write_json(folder / "label2ans.json", answers)
    questions = content.pop("questions")
    for split, asked in {"train": questions[:NUM_VQA_TRAIN], "val": questions[NUM_VQA_TRAIN:]}.items():
        rows = []
        for question in asked:
            ten = rng.choices(rng.sample(answers[:40], 3), [6, 3, 1], k=10)
            rows.append(
                {
                    "question_id": question["question_id"],
                    "image_id": question["image_id"],
                    "question_type": "what",
                    "answer_type": "other",
                    "multiple_choice_answer": max(set(ten), key=ten.count),
                    "answers": [
                        {"answer": answer, "answer_confidence": "yes", "answer_id": number}
                        for number, answer in enumerate(ten, start=1)
                    ],
                }
            )
        write_json(folder / f"{split}_questions.json", {**content, "questions": asked})
        write_json(folder / f"{split}_annotations.json", {"annotations": rows})
    (sample / "images").mkdir()
    for image_id, photo in zip(sorted({row["image_id"] for row in questions}), cycle(photos), strict=False):
        shutil.copy(photo, sample / f"images/COCO_val2014_{image_id:012d}.jpg")


def write_vcr(sample: Path, photos: Sequence[Path]) -> None:
    """Real questions about people; the photo and the boxes of its objects are COCO's."""
    folder = sample / "annotations/vcr"
    boxes_of: dict[str, list[list[float]]] = {}
    for row in json.loads((REAL / "coco/instances.json").read_text())["annotations"]:
        x, y, width, height = row["bbox"]
        boxes_of.setdefault(f"{row['image_id']:012d}", []).append([x, y, x + width, y + height, 1.0])
    with_boxes = [photo for photo in photos if photo.stem in boxes_of]
    lines = iter((REAL / "gd_vcr/first_500.jsonl").read_text(encoding="utf-8").splitlines())
    photo_of: dict[str, Path] = {}
    turn = cycle(with_boxes)
    (folder / "metadata").mkdir(parents=True)
    for split, number in NUM_VCR_QUESTIONS.items():
        chosen = list(islice(lines, number))
        (folder / f"{split}.jsonl").write_text("".join(f"{line}\n" for line in chosen), encoding="utf-8")
        for row in map(json.loads, chosen):
            key = Path(row["img_fn"]).stem
            if key in photo_of:
                continue
            photo_of[key] = next(turn)
            boxes = list(islice(cycle(boxes_of[photo_of[key].stem]), len(row["objects"])))
            with Image.open(photo_of[key]) as photo:
                size = {"width": photo.width, "height": photo.height}
            write_json(folder / f"metadata/{key}.json", {"boxes": boxes, "names": row["objects"], **size})
            shutil.copy(photo_of[key], sample / f"images/{key}.jpg")


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


if __name__ == "__main__":
    typer.run(main)
