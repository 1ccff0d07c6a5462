"""Questions and annotations in the format of VQA v2."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from extract.drawn.balance import Candidate, choose_balanced
from extract.drawn.questions import TEMPLATES, Asked, Template, mistakes
from extract.drawn.scene import Scene
from extract.drawn.task_images import TaskImage

QUESTIONS_PER_IMAGE = 5  # on average
NUM_ANSWERS = 10
MISTAKEN_SHARE = 0.3  # of the questions, those of which up to three of the ten are mistaken
NUM_MISTAKES = 2  # different ones, at most
LICENSE = {"url": "https://www.apache.org/licenses/LICENSE-2.0", "name": "Apache License 2.0"}


class TemplateQuestion(NamedTuple):
    """A question, and of which template it is."""

    template: Template
    asked: Asked


def make_vqa(images: Sequence[TaskImage], *, split: str) -> tuple[dict, dict]:
    """The questions file and the annotations file of one split, as VQA v2 has them; ids are image_id * 1000 + n.

    Each question is asked of images with different answers, all equally often: who sees no image answers by chance.
    Who sees it can be right about all: a true answer is that of seven in ten, which is worth 100 %.
    """
    head = {
        "info": {"description": "questions about drawn scenes", "version": "2.0"},
        "license": LICENSE,
        "data_subtype": split,
    }
    questions, annotations = [], []
    of_images = choose_questions(images)
    for image in images:
        rng = image.rng("vqa")
        of_image = of_images[image.image_id]
        for number, (template, asked) in enumerate(rng.sample(of_image, len(of_image))):
            ids = {"image_id": image.image_id, "question_id": image.image_id * 1000 + number}
            questions.append({**ids, "question": asked.question})
            annotations.append({**ids, **_annotation(template, asked.answer, image.scene, rng)})
    task = {"task_type": "Open-Ended", "data_type": "drawn"}
    return {**head, **task, "questions": questions}, {**head, "data_type": "drawn", "annotations": annotations}


def choose_questions(images: Sequence[TaskImage]) -> dict[int, list[TemplateQuestion]]:
    """Questions by image_id, of all templates equally many where the images hold them; or more of the last ones."""
    of_images = defaultdict(list)
    num_left = QUESTIONS_PER_IMAGE * len(images)
    for number, template in enumerate(TEMPLATES):
        candidates = [
            Candidate(image, asked.question, asked.answer, TemplateQuestion(template, asked))
            for image in images
            for asked in template.ask(image.scene)
        ]
        chosen = choose_balanced(
            candidates,
            images[0].rng(f"vqa/{number}"),
            num_answers=template.num_answers,
            count=num_left // (len(TEMPLATES) - number),
        )
        num_left -= len(chosen)
        for candidate in chosen:
            of_images[candidate.image.image_id].append(candidate.content)
    return of_images


def _annotation(template: Template, answer: str, scene: Scene, rng: random.Random) -> dict:
    """Ten people's answers: at least seven are right."""
    num_mistaken = rng.randint(1, 3) if rng.random() < MISTAKEN_SHARE else 0
    possible = mistakes(template, answer, scene)
    made = rng.sample(possible, min(NUM_MISTAKES, len(possible)))
    answers = [answer] * (NUM_ANSWERS - num_mistaken) + [rng.choice(made) for _ in range(num_mistaken)]
    rng.shuffle(answers)
    return {
        "question_type": template.question_type,
        "answer_type": template.answer_type,
        "multiple_choice_answer": Counter(answers).most_common(1)[0][0],
        "answers": [
            {
                "answer": given,
                "answer_confidence": "yes" if given == answer else "maybe",
                "answer_id": answer_id,
            }
            for answer_id, given in enumerate(answers, start=1)
        ],
    }
