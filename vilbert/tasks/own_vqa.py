"""Questions of your own: a csv with the columns file, question and answer."""

from collections.abc import Sequence
from functools import partial

from vilbert.batches.padding import ANY_WIDTH, Widths
from vilbert.model.modeling_single_stream import VilbertSingleStreamForQuestionAnswering
from vilbert.model.modeling_tasks import VilbertForQuestionAnswering
from vilbert.settings import OwnTaskSettings
from vilbert.tasks.held_out import HeldOut
from vilbert.tasks.metrics import normalised_answer
from vilbert.tasks.own_table import named_pictures, parts_of, read_own_table
from vilbert.tasks.reading import Dropped, Reading, apart
from vilbert.tasks.task import TaskData, TaskKind, TaskSource, by_split
from vilbert.tasks.vqa import Question, VqaDataset
from vilbert.tasks.vqa_baselines import VqaBaselines, commonest_answer


def read_own_questions(source: TaskSource, settings: OwnTaskSettings) -> Reading[Question]:
    """The rows with a question, and with an answer but in a test set. With a `separator` there may be several, as of
    several people; one that is given twice counts twice."""
    reading = read_own_table(source, settings, ["question", "answer"])
    kept, dropped = [], list(reading.dropped)
    for row in reading.examples:
        answers = parts_of(row.values["answer"], settings.separator)
        if not row.values["question"]:
            dropped.append(Dropped(row.annotation, "empty_question", ""))
        elif not answers and row.split != "test":
            dropped.append(Dropped(row.annotation, "no_answer", ""))
        else:
            kept.append(Question(row.annotation, row.image_key, row.values["question"], answers, row.split))
    return Reading(kept, dropped)


def own_vqa_data(source: TaskSource, settings: OwnTaskSettings) -> TaskData:
    """Accuracy is the share of the questions that are answered right; the official one where ten people answered."""
    path = source.annotations / settings.table
    reading = read_own_questions(source, settings)
    splits = ["train", "val", *(["test"] if any(row.split == "test" for row in reading.examples) else [])]
    examples, dropped = by_split(reading, splits, source.store, path=path)
    answers = sorted({normalised_answer(answer) for question in examples["train"] for answer in question.answers})
    dropped += [
        Dropped(question.annotation, "unknown_answer", f"{question.answers[0]}, of no training row: counts as wrong")
        for split in splits[1:]
        for question in examples[split]
        if question.answers and not {normalised_answer(answer) for answer in question.answers} & {*answers}
    ]

    def make(questions: Sequence[Question], widths: Widths = ANY_WIDTH) -> VqaDataset:
        return VqaDataset(
            questions, source.store, source.processor, answers=answers, max_tokens=settings.max_tokens, widths=widths
        )

    training = make(examples["train"], source.widths(settings.max_tokens))
    fixed = commonest_answer(training)

    def hold_out(questions: Sequence[Question]) -> HeldOut[VqaDataset]:
        seen, unseen = apart(questions, source.store)
        rows = [{"question_id": question.annotation, "answer": fixed} for question in unseen]
        return HeldOut(make(seen), num_examples=len(seen), unseen=rows)

    has_test_answers = all(question.answers for question in examples.get("test", []))
    measured = ["val", *(["test"] if "test" in splits and has_test_answers else [])]
    return TaskData(
        training=training,
        evaluation={split: hold_out(examples[split]) for split in measured},
        count_baselines=partial(VqaBaselines, training),
        dropped=dropped,
        unlabelled={split: hold_out(examples[split]) for split in splits[1:] if split not in measured},
        answers=answers,
        files=[path],
    )


KIND = TaskKind(
    models=(VilbertForQuestionAnswering, VilbertSingleStreamForQuestionAnswering),
    pictures=named_pictures,
    data=own_vqa_data,
)
