import json
import os
import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from places import REAL

from extract.drawn.scene import COLOURS, RELATIONS, SHAPES
from extract.drawn.task_images import make_task_images
from extract.drawn.tasks import draw_tasks

from .test_world import hashes, size_of
from .truth import is_true, stands

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
    assert [len(image_ids(tasks, split)) for split in SPLITS] == [31, 11, 13]
    assert not set.intersection(*(image_ids(tasks, split) for split in SPLITS))
    assert len({image.scene.shapes for image in make_task_images(world_settings)}) == 55
    for split in SPLITS:
        annotations = read(tasks, f"vqa/v2_drawn_{split}_annotations.json")["annotations"]
        assert {annotation["image_id"] for annotation in annotations} == image_ids(tasks, split)


def test_vqa_has_the_fields_of_the_real_questions(tasks):
    sample = json.loads(real("vqa/v2_OpenEnded_mscoco_val2014_questions_slice.json").read_text())
    ours = read(tasks, "vqa/v2_OpenEnded_drawn_val_questions.json")
    assert sample.keys() == ours.keys()
    assert sample["questions"][0].keys() == ours["questions"][0].keys()


def test_vqa_answers_are_ten_of_which_seven_agree(tasks):
    questions = read(tasks, "vqa/v2_OpenEnded_drawn_train_questions.json")["questions"]
    annotations = read(tasks, "vqa/v2_drawn_train_annotations.json")["annotations"]
    assert [each["question_id"] for each in questions] == [each["question_id"] for each in annotations]
    assert len({each["question_id"] for each in questions}) == 5 * 31
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
        assert metadata["names"] == line["objects"] == [shape.shape for shape in scene.shapes]
        for choices, label in (("answer_choices", "answer_label"), ("rationale_choices", "rationale_label")):
            truths = [vcr_holds(tokens, scene) for tokens in line[choices]]
            assert truths == [number == line[label] for number in range(4)], line


@pytest.mark.parametrize("split", SPLITS)
def test_only_the_colours_in_the_image_tell_which_looks_and_reasons_of_vcr_are_true(tasks, split):
    for line in map(json.loads, (tasks / "vcr" / f"{split}.jsonl").read_text().splitlines()):
        choices = [line["rationale_choices"]] + [line["answer_choices"]] * (line["question"][0] == "What")
        for four in choices:
            (words,) = {without_colours(tokens) for tokens in four}
            named = [token for token in words.split() if token in SHAPES]
            assert named == [line["objects"][token[0]] for token in four[0] if isinstance(token, list)][: len(named)]
        said = (line["answer_choices"][line["answer_label"]], line["rationale_choices"][0])
        answered, reasoned = ([words in without_colours(tokens) for words in RELATIONS] for tokens in said)
        assert answered == reasoned


def without_colours(tokens: list) -> str:
    words = [token if isinstance(token, str) else f"<{token[0]}>" for token in tokens]
    return " ".join({"an": "a"}.get(word, word) for word in words if word not in COLOURS)


def vcr_holds(tokens: list, scene) -> bool:
    """Whether one answer or reason is true: its relation, and the names that follow its objects."""
    text = " ".join(token if isinstance(token, str) else f"<{token[0]}>" for token in tokens)
    first, second = (scene.shapes[token[0]] for token in tokens if isinstance(token, list))
    words = next(words for words in ("left of", "right of", "above", "below") if words in text)
    named = [words for words in text.replace(" is ", " , ").split(" , ") if words.startswith(("a ", "an "))]
    names = [" ".join(words.removesuffix(" .").split()[1:3]) for words in named]
    return stands(first, words, second) and names == [first.name, second.name][: len(names)]


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


def test_karpathy_has_five_true_captions_an_image(tasks, world_settings):
    scenes = {image.image_id: image.scene for image in make_task_images(world_settings)}
    entries = read(tasks, "karpathy/dataset_drawn.json")["images"]
    assert Counter(entry["split"] for entry in entries) == {"train": 31, "val": 11, "test": 13}
    for entry in entries:
        assert (tasks / "images" / entry["filepath"] / entry["filename"]).exists()
        assert len(entry["sentences"]) == 5
        for sentence, sent_id in zip(entry["sentences"], entry["sentids"], strict=True):
            assert (sentence["sentid"], sentence["imgid"]) == (sent_id, entry["imgid"])
            assert is_true(sentence["raw"].lower().replace(",", " ,").removesuffix("."), scenes[entry["cocoid"]])
