"""Draw the tasks' images and write their annotations in the formats of VQA v2, VCR, RefCOCO+ and Karpathy's splits, and
captions with foils: `python -m extract.drawn.tasks`."""

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from extract.command import run
from extract.drawn.karpathy import make_karpathy
from extract.drawn.picture import draw, jpeg_bytes
from extract.drawn.probes import Probe, make_probes
from extract.drawn.refcoco import make_refcoco, pickled
from extract.drawn.task_images import TaskImage, make_task_images
from extract.drawn.vcr import make_metadata, make_vcr, metadata_name
from extract.drawn.vqa import make_vqa
from extract.settings import WorldSettings
from extract.tables import whole_file


def main(
    out_dir: Path,
    *,
    settings: Annotated[WorldSettings, typer.Option(parser=WorldSettings.model_validate_json)],
):
    """Write OUT_DIR/images/{split}/ (with VCR's metadata beside each picture), vqa/, vcr/, refcoco+/, karpathy/ and
    probes/."""
    draw_tasks(out_dir, settings)


def draw_tasks(out_dir: Path, settings: WorldSettings) -> None:
    """Draw and write everything; the same settings give the same bytes."""
    images = make_task_images(settings)
    for image in tqdm(images, desc="drawing the tasks' images", unit="image"):
        folder = out_dir / "images" / image.split
        _write(folder / image.file_name, jpeg_bytes(draw(image.scene)))
        _write(folder / metadata_name(image), _json_bytes(make_metadata(image)))
    for split in settings.num_task_images:
        _write_split(out_dir, split, [image for image in images if image.split == split])
    refs, instances = make_refcoco(images)
    _write(out_dir / "refcoco+" / "refs(unc).p", pickled(refs))
    _write(out_dir / "refcoco+" / "instances.json", _json_bytes(instances))
    _write(out_dir / "karpathy" / "dataset_drawn.json", _json_bytes(make_karpathy(images)))


def _write_split(out_dir: Path, split: str, images: list[TaskImage]) -> None:
    """The files of which there is one a split."""
    questions, annotations = make_vqa(images, split=split)
    _write(out_dir / "vqa" / f"v2_OpenEnded_drawn_{split}_questions.json", _json_bytes(questions))
    _write(out_dir / "vqa" / f"v2_drawn_{split}_annotations.json", _json_bytes(annotations))
    _write(out_dir / "vcr" / f"{split}.jsonl", _json_lines(make_vcr(images, split=split)))
    if split != "train":
        _write(out_dir / "probes" / f"{split}.csv", _csv_bytes(make_probes(images)))


def _json_bytes(content: dict) -> bytes:
    return json.dumps(content).encode() + b"\n"


def _json_lines(lines: Iterable[dict]) -> bytes:
    return b"".join(_json_bytes(line) for line in lines)


def _csv_bytes(probes: Iterable[Probe]) -> bytes:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerows([Probe._fields, *probes])
    return file.getvalue().encode()


def _write(path: Path, content: bytes) -> None:
    with whole_file(path) as partial:
        partial.write_bytes(content)


if __name__ == "__main__":
    run(main)
