import csv
import json
import os
import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from places import REAL

from extract.drawn.scene import RELATIONS, Scene
from extract.drawn.task_images import make_task_images
from extract.drawn.tasks import draw_tasks

from .test_world import hashes, size_of
from .truth import is_true, on_side

SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def tasks(tmp_path_factory, world_settings) -> Path:
    directory = tmp_path_factory.mktemp("tasks")
    draw_tasks(directory, world_settings)
    return directory


def real(name: str) -> Path:
    if not (REAL / name).exists():
        pytest.skip(f"no real sample at {REAL / name}")
    return REAL / name


def read(tasks: Path, name: str) -> dict:
    return json.loads((tasks / name).read_text())


def image_ids(tasks: Path, split: str) -> set[int]:
    return {int(path.stem) for path in (tasks / "images" / split).glob("*.jpg")}


def test_the_same_settings_give_the_same_bytes_in_another_process(tasks, tmp_path, world_settings):
    command = [sys.executable, "-m", "extract.drawn.tasks", tmp_path, "--settings", world_settings.model_dump_json()]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"PYTHONHASHSEED": "5"})
    assert hashes(tmp_path) == hashes(tasks)


def test_splits_share_no_image_and_no_scene(tasks, world_settings):
    assert [len(image_ids(tasks, split)) for split in SPLITS] == [31, 41, 43]
    assert not set.intersection(*(image_ids(tasks, split) for split in SPLITS))
    assert len({image.scene.shapes for image in make_task_images(world_settings)}) == 115
    for split in SPLITS:
        annotations = read(tasks, f"vqa/v2_drawn_{split}_annotations.json")["annotations"]
        assert {annotation["image_id"] for annotation in annotations} <= image_ids(tasks, split)


def test_neighbours_of_a_split_are_twins(world_settings):
    images = make_task_images(world_settings)
    for split in SPLITS:
        scenes = [(image.scene, image.twin) for image in images if image.split == split]
        for (one, its_twin), (other, others_twin) in zip(scenes[::2], scenes[1::2], strict=False):
            assert (one, its_twin) == (others_twin, other)
    seeds = Counter(frozenset((image.scene.seed, image.twin.seed)) for image in images)
    assert sorted(seeds.values()) == [1, 1, 1] + [2] * 56  # 31, 41 and 43 images


def test_vqa_has_the_fields_of_the_real_questions(tasks):
    sample = json.loads(real("vqa/v2_OpenEnded_mscoco_val2014_questions_slice.json").read_text())
    ours = read(tasks, "vqa/v2_OpenEnded_drawn_val_questions.json")
    assert sample.keys() == ours.keys()
    assert sample["questions"][0].keys() == ours["questions"][0].keys()


def test_vqa_answers_are_ten_of_which_seven_agree(tasks):
    questions = read(tasks, "vqa/v2_OpenEnded_drawn_train_questions.json")["questions"]
    annotations = read(tasks, "vqa/v2_drawn_train_annotations.json")["annotations"]
    assert [each["question_id"] for each in questions] == [each["question_id"] for each in annotations]
    assert len({each["question_id"] for each in questions}) == len(questions) in (5 * 31 - 1, 5 * 31)
    for annotation in annotations:
        answers = [each["answer"] for each in annotation["answers"]]
        assert [each["answer_id"] for each in annotation["answers"]] == list(range(1, 11))
        assert Counter(answers)[annotation["multiple_choice_answer"]] >= 7
        assert annotation["answer_type"] in ("yes/no", "number", "other")


def test_vcr_has_the_fields_of_the_real_rows(tasks):
    sample = json.loads(real("gd_vcr/first_500.jsonl").read_text().splitlines()[0])
    only_there = {"video_name", "ep_num", "timestamp", "link", "keywords", "cultural_or_not", "region"}
    ours = json.loads((tasks / "vcr" / "val.jsonl").read_text().splitlines()[0])
    assert sample.keys() - only_there <= ours.keys()


@pytest.mark.parametrize("split", SPLITS)
def test_vcr_has_four_choices_of_which_the_one_labelled_is_true(tasks, split, world_settings):
    scenes = {image.image_id: image.scene for image in make_task_images(world_settings)}
    lines = [json.loads(line) for line in (tasks / "vcr" / f"{split}.jsonl").read_text().splitlines()]
    assert len({line["annot_id"] for line in lines}) == len(lines) > 11
    for line in lines:
        scene = scenes[int(Path(line["img_fn"]).stem)]
        metadata = read(tasks, f"images/{line['metadata_fn']}")
        assert size_of(tasks / "images" / line["img_fn"]) == (metadata["width"], metadata["height"])
        assert len(metadata["boxes"]) == len(metadata["segms"]) == len(line["objects"])
        assert metadata["names"] == line["objects"] == [shape.name for shape in scene.shapes]
        for choices, label in (("answer_choices", "answer_label"), ("rationale_choices", "rationale_label")):
            truths = [vcr_holds(tokens, scene) for tokens in line[choices]]
            assert truths == [number == line[label] for number in range(4)], line


@pytest.mark.parametrize("split", SPLITS)
def test_whatever_stands_in_one_choice_of_vcr_stands_in_two_and_names_are_of_one_object(tasks, split):
    for line in map(json.loads, (tasks / "vcr" / f"{split}.jsonl").read_text().splitlines()):
        for four in (line["answer_choices"], line["rationale_choices"]):
            counts = Counter(
                part for tokens in four for part in {token if isinstance(token, str) else token[0] for token in tokens}
            )
            assert set(counts.values()) <= {2, 4}
            assert len({json.dumps(tokens) for tokens in four}) == 4
        for tokens in (line["question"], *line["answer_choices"], *line["rationale_choices"]):
            named = [line["objects"][token[0]] for token in tokens if isinstance(token, list)]
            assert all(line["objects"].count(name) == 1 for name in named)


def vcr_holds(tokens: list, scene: Scene) -> bool:
    """Whether one answer or reason is true in the widest sense of its words."""
    text = " ".join(token if isinstance(token, str) else f"<{token[0]}>" for token in tokens).removesuffix(" .")
    one, *others = (scene.shapes[token[0]] for token in tokens if isinstance(token, list))
    if not others:
        size, where = text.split(" is ")[1].split(" and ")
        return size == one.size and on_side(one, where, scene.image_size)
    first, *rest = text.split(" , which is ")
    if " as big as " in text:
        if one.size != others[0].size:
            return False
        pairs = [(rest[0], others[0], one)]
    else:
        pairs = [(first, one, others[0])] + [(part, *others) for said in rest for part in said.split(" and ")]
    gaps = {"left": "x", "right": "x", "above": "y", "below": "y"}
    truths = []
    for said, shape, other in pairs:
        (words,) = {words.split()[0] for words in RELATIONS if words in said}
        gap = getattr(shape, gaps[words]) - getattr(other, gaps[words])
        truths.append(gap < 0 if words in ("left", "above") else gap > 0)
    return all(truths)


def test_refcoco_points_at_the_boxes_of_its_own_image(tasks):
    refs = pickle.loads((tasks / "refcoco+" / "refs(unc).p").read_bytes(), encoding="latin1")
    instances = read(tasks, "refcoco+/instances.json")
    annotations = {each["id"]: each for each in instances["annotations"]}
    images = {each["id"]: each for each in instances["images"]}
    assert {ref["split"] for ref in refs} == {"train", "val", "testA", "testB"}
    for ref in refs:
        annotation = annotations[ref["ann_id"]]
        assert (annotation["image_id"], annotation["category_id"]) == (ref["image_id"], ref["category_id"])
        assert ref["file_name"].rsplit("_", 1)[0] + ".jpg" == images[ref["image_id"]]["file_name"]
        assert ref["sent_ids"] == [sentence["sent_id"] for sentence in ref["sentences"]]
        assert ref["image_id"] in image_ids(tasks, "test" if ref["split"].startswith("test") else ref["split"])
    assert len({ref["ref_id"] for ref in refs}) == len(refs)
    sent_ids = [sent_id for ref in refs for sent_id in ref["sent_ids"]]
    assert sent_ids == list(range(len(sent_ids)))


def test_the_two_halves_of_refcocos_test_share_no_image(tasks):
    refs = pickle.loads((tasks / "refcoco+" / "refs(unc).p").read_bytes())
    halves = [{ref["image_id"] for ref in refs if ref["split"] == split} for split in ("testA", "testB")]
    assert not set.intersection(*halves)


def test_the_pickle_holds_builtins_only(tasks):
    class NoClasses(pickle.Unpickler):
        def find_class(self, module, name):
            raise pickle.UnpicklingError(f"{module}.{name}")

    with (tasks / "refcoco+" / "refs(unc).p").open("rb") as file:
        assert NoClasses(file).load()


@pytest.mark.parametrize("split", ["val", "test"])
def test_probes_are_a_true_and_a_false_sentence_that_differ_in_one_respect(tasks, split, world_settings):
    scenes = {image.file_name: image.scene for image in make_task_images(world_settings) if image.split == split}
    with (tasks / f"probes/{split}.csv").open(newline="") as file:
        probes = list(csv.DictReader(file))
    assert len(probes) > 30
    for probe in probes:
        scene = scenes[f"{probe['image']}.jpg"]
        assert is_true(probe["caption"], scene)
        assert not is_true(probe["foil"], scene)
        words, others = (
            [word for word in probe[name].split() if word not in ("a", "an")] for name in ("caption", "foil")
        )
        changed = {(one, other) for one, other in zip(words, others, strict=True) if one != other}
        assert len(changed) == (2 if probe["kind"] == "swapped_colours" else 1)
        if probe["kind"] == "swapped_colours":
            assert {pair[::-1] for pair in changed} == changed
    assert Counter((probe["kind"], probe["caption"], probe["foil"]) for probe in probes) == Counter(
        (probe["kind"], probe["foil"], probe["caption"]) for probe in probes
    )


def test_karpathy_has_five_true_captions_an_image(tasks, world_settings):
    images = {image.image_id: image for image in make_task_images(world_settings)}
    entries = read(tasks, "karpathy/dataset_drawn.json")["images"]
    assert Counter(entry["split"] for entry in entries) == {"train": 31, "val": 41, "test": 43}
    for entry in entries:
        assert (tasks / "images" / entry["filepath"] / entry["filename"]).exists()
        assert len(entry["sentences"]) == 5
        for sentence, sent_id in zip(entry["sentences"], entry["sentids"], strict=True):
            assert (sentence["sentid"], sentence["imgid"]) == (sent_id, entry["imgid"])
            said = sentence["raw"].lower().replace(",", " ,").removesuffix(".")
            assert is_true(said, images[entry["cocoid"]].scene)
            assert not is_true(said, images[entry["cocoid"]].twin)
