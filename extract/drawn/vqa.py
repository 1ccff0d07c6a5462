"""Questions and annotations in the format of VQA v2."""

import random
from collections import Counter
from collections.abc import Sequence

from extract.drawn.questions import Question, make_questions
from extract.drawn.task_images import TaskImage

QUESTIONS_PER_IMAGE = 5
NUM_ANSWERS = 10
MISTAKEN_SHARE = 0.3  # of the questions, those of which up to three of the ten are mistaken
LICENSE = {"url": "https://www.apache.org/licenses/LICENSE-2.0", "name": "Apache License 2.0"}


def make_vqa(images: Sequence[TaskImage], *, split: str) -> tuple[dict, dict]:
    """The questions file and the annotations file of one split, as VQA v2 has them; ids are image_id * 1000 + n."""
    head = {
        "info": {"description": "questions about drawn scenes", "version": "2.0"},
        "license": LICENSE,
        "data_subtype": split,
    }
    questions, annotations = [], []
    for image in images:
        rng = image.rng("vqa")
        for number, question in enumerate(make_questions(image.scene, rng, count=QUESTIONS_PER_IMAGE)):
            ids = {"image_id": image.image_id, "question_id": image.image_id * 1000 + number}
            questions.append({**ids, "question": question.question})
            annotations.append({**ids, **_annotation(question, rng)})
    task = {"task_type": "Open-Ended", "data_type": "drawn"}
    return {**head, **task, "questions": questions}, {**head, "data_type": "drawn", "annotations": annotations}


def _annotation(question: Question, rng: random.Random) -> dict:
    """Ten people's answers: at least seven are right."""
    num_mistaken = rng.randint(1, 3) if rng.random() < MISTAKEN_SHARE else 0
    answers = [question.answer] * (NUM_ANSWERS - num_mistaken)
    answers += [rng.choice(question.mistakes or (question.answer,)) for _ in range(num_mistaken)]
    rng.shuffle(answers)
    return {
        "question_type": question.question_type,
        "answer_type": question.answer_type,
        "multiple_choice_answer": Counter(answers).most_common(1)[0][0],
        "answers": [
            {
                "answer": answer,
                "answer_confidence": "yes" if answer == question.answer else "maybe",
                "answer_id": answer_id,
            }
            for answer_id, answer in enumerate(answers, start=1)
        ],
    }
