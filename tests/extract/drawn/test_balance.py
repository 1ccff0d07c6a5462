"""How much of the drawn tasks comes right by words alone, counted on train, or by the classes of the true boxes."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from statistics import mean

import pytest
import yaml
from places import ROOT

from extract.drawn.balance import Candidate, choose_balanced
from extract.drawn.probes import make_probes
from extract.drawn.refcoco import make_refcoco
from extract.drawn.scene import COLOURS, RELATIONS, SHAPES, Scene, Shape
from extract.drawn.sentences import make_captions
from extract.drawn.task_images import TaskImage, make_task_images
from extract.drawn.vcr import make_vcr
from extract.drawn.vqa import make_vqa

LEAD = 0.05  # over chance, which a count on other images may have by chance
FIRST_OF_RELATIONS = {words.split()[0] for words in RELATIONS}


class NaiveBayes:
    """How likely each label is with some words."""

    def __init__(self, examples: Iterable[tuple[Sequence[str], str]]):
        self.labels: Counter[str] = Counter()
        self.words: dict[str, Counter[str]] = defaultdict(Counter)
        for words, label in examples:
            self.labels[label] += 1
            self.words[label].update(words)
        self.num_words = len(set().union(*self.words.values()))

    def score(self, words: Sequence[str], label: str) -> float:
        counts, total = self.words[label], self.words[label].total() + self.num_words
        return math.log(self.labels[label]) + sum(math.log((counts[word] + 1) / total) for word in words)

    def best(self, words: Sequence[str]) -> str:
        return max(self.labels, key=lambda label: self.score(words, label))


@pytest.fixture(scope="module")
def images(world_settings) -> dict[str, list[TaskImage]]:
    """By split."""
    return scenes_of_the_default_run(world_settings, train=300, val=150)


def scenes_of_the_default_run(world_settings, **num_images: int) -> dict[str, list[TaskImage]]:
    """By split; nothing is drawn."""
    world = yaml.safe_load((ROOT / "config.yaml").read_text())["world"]
    changed = {name: world[name] for name in ("image_size", "min_objects", "max_objects")}
    made = make_task_images(world_settings.model_copy(update=changed | {"num_task_images": num_images}))
    return {split: [image for image in made if image.split == split] for split in num_images}


@pytest.fixture(scope="module")
def asked(images) -> dict[str, list[tuple[int, list[str], str]]]:
    """VQA's image, words of the question and answer, by split."""
    files = {split: make_vqa(of_split, split=split) for split, of_split in images.items()}
    return {
        split: [
            (one["image_id"], one["question"].removesuffix("?").split(), two["multiple_choice_answer"])
            for one, two in zip(questions["questions"], annotations["annotations"], strict=True)
        ]
        for split, (questions, annotations) in files.items()
    }


@pytest.mark.slow
def test_every_vqa_question_is_asked_of_another_image_with_another_answer(asked):
    for split, rows in asked.items():
        answers = defaultdict(set)
        for _, words, answer in rows:
            answers[" ".join(words)].add(answer)
        assert min(map(len, answers.values())) > 1
        assert len(rows) == pytest.approx({"train": 1500, "val": 750}[split], abs=8)


def test_the_words_of_a_vqa_question_do_not_tell_its_answer(asked):
    by_template = {}
    for split, rows in asked.items():
        for _, words, answer in rows:
            by_template.setdefault(" ".join(words[:2]), {"train": [], "val": []})[split].append((words, answer))
    assert len(by_template) == 8
    are_right, are_commonest, chances = [], [], []
    for rows in by_template.values():
        counted = NaiveBayes(rows["train"])
        commonest = counted.labels.most_common(1)[0][0]
        are_right += [counted.best(words) == answer for words, answer in rows["val"]]
        are_commonest += [commonest == answer for _, answer in rows["val"]]
        chances += [1 / len(counted.labels)] * len(rows["val"])
    assert mean(are_right) < mean(chances) + LEAD
    assert mean(are_commonest) < mean(chances) + LEAD


def test_yes_and_no_and_the_numbers_are_equally_frequent(asked):
    for rows in asked.values():
        counts = Counter(answer for _, _, answer in rows)
        assert counts["yes"] == counts["no"]
        assert len({counts[number] for number in "01234"}) == 1


@pytest.fixture(scope="module")
def vcr_lines(world_settings) -> dict[str, list[dict]]:
    """By split, so many that a count that tells nothing is right about 25 % with a standard error of 1 %."""
    images = scenes_of_the_default_run(world_settings, train=600, val=600)
    return {split: make_vcr(of_split, split=split) for split, of_split in images.items()}


@pytest.mark.slow
@pytest.mark.parametrize("step", ["answer", "rationale"])
def test_the_words_of_a_vcr_choice_do_not_tell_that_it_is_true(vcr_lines, step):

    def words_of(line: dict, choice: list) -> list[str]:
        said = [line["question"], choice]
        if step == "rationale":
            said.append(line["answer_choices"][line["answer_label"]])
        texts = [
            [word for token in tokens for word in ([token] if isinstance(token, str) else [line["objects"][token[0]]])]
            for tokens in said
        ]
        return [*(f"asked {word}" for text in (texts[0], *texts[2:]) for word in text), *texts[1], *pairwise(texts[1])]

    counted = NaiveBayes(
        (words_of(line, choice), str(place == line[f"{step}_label"]))
        for line in vcr_lines["train"]
        for place, choice in enumerate(line[f"{step}_choices"])
    )
    are_right = []
    for line in vcr_lines["val"]:
        four = [words_of(line, choice) for choice in line[f"{step}_choices"]]
        leads = [counted.score(words, "True") - counted.score(words, "False") for words in four]
        are_right.append(leads.index(max(leads)) == line[f"{step}_label"])
    assert len(are_right) > 1700
    assert mean(are_right) < 0.25 + LEAD
    places = Counter(line[f"{step}_label"] for line in vcr_lines["train"])
    assert max(places.values()) < 0.3 * places.total()


def named(shape: Shape, words: Iterable[str]) -> int:
    """How many of the words are its colour or shape."""
    return len({shape.colour, shape.shape} & set(words))


def test_the_classes_in_an_expression_leave_several_regions(images):
    """Who picks a region by the words of the noun, or by all words, is right in less than half of the cases."""
    scenes = {image.image_id: image.scene for image in images["val"]}
    by_noun, by_any, by_most = [], [], []
    refs, _ = make_refcoco(images["val"])
    for ref in refs:
        shapes = scenes[ref["image_id"]].shapes
        meant = shapes[int(ref["file_name"].removesuffix(".jpg").rsplit("_", 1)[1])]
        for sentence in ref["sentences"]:
            words = sentence["tokens"]
            end = next((place for place, word in enumerate(words) if word in FIRST_OF_RELATIONS), len(words))
            noun = {*words[:end]} & {*COLOURS, *SHAPES}
            most = max(named(shape, words) for shape in shapes)
            for shares, fit in (
                (by_noun, [shape for shape in shapes if named(shape, noun) == len(noun)]),
                (by_any, [shape for shape in shapes if named(shape, words)]),
                (by_most, [shape for shape in shapes if named(shape, words) == most]),
            ):
                shares.append(fit.count(meant) / len(fit))
    assert mean(by_noun) < 0.42
    assert mean(by_any) < 0.35
    assert mean(by_most) < 0.35


@pytest.mark.slow
def test_the_words_of_a_probe_do_not_tell_the_foil(images):
    probes = make_probes(images["val"])
    assert Counter(probe.kind for probe in probes) == dict.fromkeys(
        ("colour", "relation", "shape", "size", "swapped_colours"), 200
    )
    pairs = Counter(
        pair
        for image in images["train"]
        for caption in make_captions(image.scene, image.rng("counted"), count=5, others=[image.twin])
        for pair in pairwise(["", *caption.split(), ""])
    )
    firsts = Counter(first for first, _ in pairs.elements())

    def likelihood(text: str) -> float:
        successive = pairwise(["", *text.split(), ""])
        return sum(math.log((pairs[pair] + 1) / (firsts[pair[0]] + len(firsts))) for pair in successive)

    for kind in {probe.kind for probe in probes}:
        of_kind = [probe for probe in probes if probe.kind == kind]
        leads = [likelihood(probe.caption) - likelihood(probe.foil) for probe in of_kind]
        assert mean(1 if lead > 0 else 0.5 * (lead == 0) for lead in leads) == pytest.approx(0.5)
        captions, foils = (
            Counter(" ".join(texts).split()) for texts in zip(*(one[1:3] for one in of_kind), strict=True)
        )
        assert captions == foils


def image(number: int, twin: int) -> TaskImage:
    scenes = [Scene(f"seed {name}", 96, (0, 0, 0), "plain", ()) for name in (number, twin)]
    return TaskImage(number, f"{number}.jpg", scenes[0], "train", scenes[1])


def test_twins_with_two_answers_come_before_other_images():
    images = [image(number, number ^ 1) for number in range(2, 12)]
    answers = ["yes", "yes", "no", "no", "yes", "no", "yes", "yes", "no", "no"]
    candidates = [Candidate(one, "red?", answer, None) for one, answer in zip(images, answers, strict=True)]
    first, second, *rest = choose_balanced(candidates, images[0].rng("a"), num_answers=2, count=5)
    assert {first.image.image_id, second.image.image_id} == {6, 7}
    assert sorted(one.answer for one in rest) == ["no", "yes"]


def test_a_question_that_has_too_few_answers_is_not_asked():
    images = [image(number, number ^ 1) for number in (2, 3, 5)]
    candidates = [Candidate(one, "red?", "yes", None) for one in images[:2]]
    candidates += [Candidate(one, "blue?", answer, None) for one, answer in zip(images, "001", strict=True)]
    chosen = choose_balanced(candidates, images[0].rng("a"), num_answers=2, count=100)
    assert [one.asked for one in chosen] == ["blue?", "blue?"]
