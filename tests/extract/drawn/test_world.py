import csv
import io
import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from extract.drawn.noise import BOILERPLATE, MARKUP
from extract.drawn.noise_plan import COPIES, plan_noise
from extract.drawn.phrases import named_classes
from extract.drawn.scene import scene_and_twin
from extract.drawn.world import draw_world, read_splits

from .truth import is_true

NUM_ROWS = {"train": 601, "val": 151}


@pytest.fixture(scope="module")
def world(tmp_path_factory, world_settings) -> Path:
    directory = tmp_path_factory.mktemp("world")
    draw_world(directory, world_settings, num_rows=NUM_ROWS, train_split="train")
    return directory


def hashes(directory: Path) -> dict[str, str]:
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): sha256(path.read_bytes()).hexdigest() for path in files}


def read_rows(world: Path) -> dict[str, tuple[str, str]]:
    return {
        f"{split}-{number:08d}": tuple(line.split("\t"))
        for split in NUM_ROWS
        for number, line in enumerate((world / f"{split}.tsv").read_text().splitlines())
    }


def read_key(world: Path) -> dict[str, dict]:
    with (world / "key.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["key"] for row in rows}) == len(rows)
    return {row["key"]: row for row in rows}


def scene_of_row(key: str, world_settings):
    split, row = key.split("-")
    number = int(row) // world_settings.captions_per_image
    original = plan_noise(world_settings, NUM_ROWS, train_split="train")[split].originals.get(number, (split, number))
    return scene_and_twin(*original, world_settings)[0]


def behaviour_of(world: Path, url: str) -> dict:
    return json.loads((world / "site" / "behaviours.json").read_text())["/" + url.split("://")[1]]


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def picture_of(world: Path, url: str) -> bytes:
    behaviour = behaviour_of(world, url)
    return (world / "site" / behaviour.get("then", behaviour)["file"]).read_bytes()


def test_the_lists_have_the_rows_asked_for_and_adjacent_rows_share_an_image(world):
    urls: dict[str, list[str]] = defaultdict(list)
    for split, num_rows in NUM_ROWS.items():
        lines = (world / f"{split}.tsv").read_text().splitlines()
        assert len(lines) == num_rows
        for number, line in enumerate(lines):
            _, url = line.split("\t")
            urls[url].append(f"{split} {number // 3}")
    assert all(len(set(images)) == 1 for images in urls.values())
    assert len(urls) == 201 + 51
    assert {url.split("/")[2].split(".")[-1] for url in urls} == {"example"}


def test_the_same_settings_give_the_same_bytes_in_another_process(world, tmp_path, world_settings):
    """Another hash seed orders sets in another way."""
    command = [sys.executable, "-m", "extract.drawn.world", tmp_path, "--settings", world_settings.model_dump_json()]
    command += ["--splits", json.dumps(NUM_ROWS), "--train-split", "train"]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"PYTHONHASHSEED": "3"})
    assert hashes(tmp_path) == hashes(world)


def test_the_key_has_each_kind_as_often_as_asked(world, world_settings):
    counts = Counter(row["kind"] for row in read_key(world).values())
    assert set(counts) == set(type(world_settings.noise).model_fields)
    for kind, count in counts.items():
        if kind.endswith("_caption"):
            assert count == round(0.04 * 601) + round(0.04 * 151)
        else:
            assert (round(0.04 * 201) + round(0.04 * 51)) * 3 - 2 <= count <= (8 + 2) * 3


def test_rows_outside_the_key_are_good(world, world_settings):
    key, pictures = read_key(world), {}
    for row, (caption, url) in read_rows(world).items():
        if row in key:
            continue
        assert is_true(caption, scene_of_row(row, world_settings))
        pictures[url] = picture_of(world, url)
        assert Image.open(io.BytesIO(pictures[url])).convert("L").size == (96, 96)
    assert len(set(pictures.values())) == len(pictures)


def test_rows_of_the_key_are_bad_in_the_way_it_says(world, world_settings):
    rows = read_rows(world)
    for key, bad in read_key(world).items():
        caption, url = rows[key]
        match bad["kind"]:
            case "wrong_caption":
                assert not named_classes(caption) & scene_of_row(key, world_settings).classes
            case "boilerplate_caption" | "markup_caption":
                assert bad["detail"] in BOILERPLATE + MARKUP
                assert bad["detail"].split("{")[0] in caption
            case "dead_url":
                assert 400 <= behaviour_of(world, url)["status"] < 500
            case "html_as_image":
                assert "<html>" in behaviour_of(world, url)["body"]
                assert behaviour_of(world, url)["content_type"] == "image/jpeg"
            case "truncated_image":
                with pytest.raises(OSError, match="truncated"):
                    Image.open(io.BytesIO(picture_of(world, url))).load()
            case "tiny_image":
                assert max(Image.open(io.BytesIO(picture_of(world, url))).size) < 64
            case "wide_image":
                width, height = Image.open(io.BytesIO(picture_of(world, url))).size
                assert width > 3 * height
                assert height >= 64
            case "flat_placeholder":
                assert np.asarray(Image.open(io.BytesIO(picture_of(world, url))).convert("L")).std() < 4
            case kind:
                assert kind in COPIES


def test_copies_come_after_their_originals_which_are_good(world):
    rows, key = read_rows(world), read_key(world)
    copies = {row: bad for row, bad in key.items() if bad["kind"] in COPIES}
    across = 0
    for row, bad in copies.items():
        original = bad["detail"].removeprefix("the image of ").split(",")[0]
        assert not {f"{original[:-8]}{int(original[-8:]) + offset:08d}" for offset in range(3)} & key.keys()
        (split, number), (other, other_number) = row.split("-"), original.split("-")
        assert (split, number) > (other, other_number) if split == other else (split, other) == ("train", "val")
        across += split != other
        one, two = (picture_of(world, rows[name][1]) for name in (row, original))
        assert (one == two) == (bad["kind"] == "exact_duplicate")
        assert rows[row][1] != rows[original][1]
    assert across


def test_the_training_split_has_the_copies_whatever_its_name(world_settings):
    plans = plan_noise(world_settings, {"abc": 601, "train": 601, "x": 151}, train_split="abc")
    sources = {split: {source for source, _ in plan.originals.values()} for split, plan in plans.items()}
    assert sources == {"abc": {"abc", "train", "x"}, "train": {"train"}, "x": {"x"}}


def test_boxes_are_those_of_the_good_images(world, world_settings):
    key, rows = read_key(world), read_rows(world)
    faulty = {rows[row][1] for row, bad in key.items() if not bad["kind"].endswith("_caption")}
    for split in NUM_ROWS:
        instances = json.loads((world / "boxes" / f"{split}.json").read_text())
        urls = {url for row, (_, url) in rows.items() if row.startswith(split)}
        assert len(instances["images"]) == len(urls - faulty)
        assert [category["id"] for category in instances["categories"]] == list(range(1, 25))
        names = {category["id"]: category["name"] for category in instances["categories"]}
        by_image = defaultdict(list)
        for annotation in instances["annotations"]:
            by_image[annotation["image_id"]].append(annotation)
        for image in instances["images"]:
            number = int(Path(image["file_name"]).stem)
            shapes = scene_and_twin(split, number, world_settings)[0].shapes
            assert [names[annotation["category_id"]] for annotation in by_image[image["id"]]] == [
                s.name for s in shapes
            ]
            for annotation, shape in zip(by_image[image["id"]], shapes, strict=True):
                x, y, width, height = annotation["bbox"]
                assert (x, y, x + width, y + height) == pytest.approx(shape.box, abs=0.02)
            assert size_of(world / "site" / image["file_name"]) == (image["width"], image["height"])


def test_some_good_pictures_come_at_the_second_try(tmp_path, world_settings):
    draw_world(tmp_path, world_settings, num_rows={"train": 601}, train_split="train")
    behaviours = json.loads((tmp_path / "site" / "behaviours.json").read_text()).values()
    retried = [behaviour for behaviour in behaviours if behaviour.get("times")]
    assert retried
    assert all(behaviour["status"] == 503 and behaviour["then"]["file"] for behaviour in retried)


def test_the_contact_sheet_shows_24_scenes(world):
    assert min(size_of(world / "contact_sheet.png")) > 1000


def test_noise_that_does_not_fit_is_an_error(world_settings):
    noise = world_settings.noise.model_copy(update={"tiny_image": 0.9, "dead_url": 0.9})
    noisy = world_settings.model_copy(update={"noise": noise})
    with pytest.raises(ValueError, match=r"split 'train' of 1 images is too small for its noise.*num_rows"):
        plan_noise(noisy, {"train": 2}, train_split="train")


def test_splits_that_are_no_numbers_are_an_error():
    assert read_splits('{"train": 7}') == {"train": 7}
    with pytest.raises(ValueError, match="expected rows by split"):
        read_splits('{"train": "7"}')
