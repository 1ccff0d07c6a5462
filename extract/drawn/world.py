"""Draw a small world in the format of Conceptual Captions, a site that serves it, and a key to what is bad in it:
`python -m extract.drawn.world`."""

import csv
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from extract.command import run
from extract.drawn.contact_sheet import make_contact_sheet
from extract.drawn.image_list import BadRow, WorldImage, make_images
from extract.drawn.instances import NamedScene, make_instances
from extract.drawn.noise_plan import plan_noise
from extract.settings import WorldSettings
from extract.tables import whole_file

NUM_SHOWN = 24  # scenes on the contact sheet


def read_splits(text: str) -> dict[str, int]:
    """Rows by split, from JSON such as '{"train": 20000, "val": 500}'.

    Raises: ValueError if it says anything else.
    """
    splits = json.loads(text)
    if not isinstance(splits, dict) or not all(isinstance(rows, int) and rows > 0 for rows in splits.values()):
        raise ValueError(f'--splits is {text}, expected rows by split, such as {{"train": 20000, "val": 500}}')
    return splits


def main(
    out_dir: Path,
    *,
    settings: Annotated[WorldSettings, typer.Option(parser=WorldSettings.model_validate_json)],
    splits: Annotated[dict, typer.Option(parser=read_splits, help="rows by split, as JSON")],
    train_split: Annotated[str, typer.Option(help="the split that has copies of the others' images")],
):
    """Write OUT_DIR/{split}.tsv, key.csv, site/, boxes/{split}.json and contact_sheet.png."""
    draw_world(out_dir, settings, num_rows=splits, train_split=train_split)


def draw_world(out_dir: Path, settings: WorldSettings, *, num_rows: Mapping[str, int], train_split: str) -> None:
    """Draw every split. The same settings and numbers of rows give the same bytes.

    Raises: ValueError if the noise does not fit into a split.
    """
    plans = plan_noise(settings, num_rows, train_split=train_split)
    site, partial_site = out_dir / "site", out_dir / ".site.partial"
    shutil.rmtree(partial_site, ignore_errors=True)
    behaviours: dict[str, dict] = {}
    bad_rows: list[BadRow] = []
    for split, rows in num_rows.items():
        (partial_site / "images" / split).mkdir(parents=True)
        drawn = make_images(split, settings, num_rows=rows, plan=plans[split])
        images = [
            _save_picture(image, partial_site)
            for image in tqdm(drawn, f"drawing {split}", -(-rows // settings.captions_per_image), unit="image")
        ]
        _write_captions(out_dir / f"{split}.tsv", images)
        _write_boxes(out_dir / "boxes" / f"{split}.json", images)
        behaviours.update((image.path, image.behaviour) for image in images)
        bad_rows += [row for image in images for row in image.bad_rows]
        if split == next(iter(num_rows)):
            _write_contact_sheet(out_dir / "contact_sheet.png", images)
    (partial_site / "behaviours.json").write_text(json.dumps(behaviours, indent=0, sort_keys=True) + "\n")
    shutil.rmtree(site, ignore_errors=True)
    partial_site.rename(site)
    _write_key(out_dir / "key.csv", bad_rows)


def _save_picture(image: WorldImage, site: Path) -> WorldImage:
    """Put an image's bytes where the site has them, and forget them."""
    if image.picture is not None:
        (site / image.file_name).write_bytes(image.picture)
        image.picture = None
    return image


def _write_captions(path: Path, images: list[WorldImage]) -> None:
    """caption TAB url, no header."""
    with whole_file(path) as partial, partial.open("w", newline="\n", encoding="utf-8") as file:
        for image in images:
            file.writelines(f"{caption}\t{image.url}\n" for caption in image.captions)


def _write_boxes(path: Path, images: list[WorldImage]) -> None:
    """The boxes of the good images; ids are their numbers in the split, from 1."""
    scenes = [
        NamedScene(number, image.file_name, image.scene)
        for number, image in enumerate(images, start=1)
        if image.is_good
    ]
    with whole_file(path) as partial:
        partial.write_text(json.dumps(make_instances(scenes)) + "\n")


def _write_contact_sheet(path: Path, images: list[WorldImage]) -> None:
    """The first good images whose captions are good, too."""
    good = [image for image in images if image.is_good and not image.bad_rows]
    with whole_file(path) as partial:
        shown = [(image.scene, image.captions) for image in good[:NUM_SHOWN]]
        make_contact_sheet(shown).save(partial, "PNG")


def _write_key(path: Path, bad_rows: list[BadRow]) -> None:
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("key", "kind", "detail"))
        writer.writerows((row.key, row.kind, row.detail) for row in bad_rows)


if __name__ == "__main__":
    run(main)
