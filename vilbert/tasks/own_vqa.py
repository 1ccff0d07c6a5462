"""Questions of your own: a csv with the columns file, question and answer."""

from collections.abc import Sequence
from functools import partial

from vilbert.batches.padding import ANY_WIDTH, Widths
from vilbert.model.modeling_single_stream import VilbertSingleStreamForQuestionAnswering
from vilbert.model.modeling_tasks import VilbertForQuestionAnswering
from vilbert.settings import OwnTaskSettings
from vilbert.tasks.metrics import named_answer
from vilbert.tasks.own_table import has_to_say, named_pictures, parts_of, read_own_table, splits_of
from vilbert.tasks.reading import Dropped, Reading
from vilbert.tasks.task import TaskData, TaskKind, TaskSource, by_split, hold_out
from vilbert.tasks.vqa import Question, VqaDataset, answered_by
from vilbert.tasks.vqa_baselines import VqaBaselines, commonest_answer


def read_own_questions(source: TaskSource, settings: OwnTaskSettings) -> Reading[Question]:
    """The rows with a question and an answer, or without one in a test set of which no row has any.

    With a `separator` there may be several, as of several people; one that is given twice counts twice.
    """
    reading = read_own_table(source, settings, ["question", "answer"])
    answered, kept, dropped = has_to_say(reading.examples, "answer"), [], list(reading.dropped)
    for row in reading.examples:
        answers = parts_of(row.values["answer"], settings.separator)
        if not row.values["question"]:
            dropped.append(Dropped(row.annotation, "empty_question", ""))
        elif not answers and row.split in answered:
            dropped.append(Dropped(row.annotation, "no_answer", ""))
        else:
            kept.append(Question(row.annotation, row.image_key, row.values["question"], answers, row.split))
    return Reading(kept, dropped)


def own_vqa_data(source: TaskSource, settings: OwnTaskSettings) -> TaskData:
    """Accuracy is the share of the questions that are answered right; the official one where ten people answered."""
    path = source.annotations / settings.table
    reading = read_own_questions(source, settings)
    splits = splits_of(reading.examples)
    examples, dropped = by_split(reading, splits, source.store, path=path)
    answers = sorted({named_answer(answer) for question in examples["train"] for answer in question.answers})
    dropped += [
        Dropped(question.annotation, "unknown_answer", f"{question.answers[0]}, of no training row: counts as wrong")
        for split in splits[1:]
        for question in examples[split]
        if question.answers and not {named_answer(answer) for answer in question.answers} & {*answers}
    ]

    def make(questions: Sequence[Question], widths: Widths = ANY_WIDTH) -> VqaDataset:
        return VqaDataset(
            questions, source.store, source.processor, answers=answers, max_tokens=settings.max_tokens, widths=widths
        )

    training = make(examples["train"], source.widths(settings.max_tokens))
    unknown = answered_by(commonest_answer(training))
    held_out = {split: hold_out(examples[split], source.store, make=make, unknown=unknown) for split in splits[1:]}
    measured = [split for split in held_out if examples[split][0].answers]
    return TaskData(
        training=training,
        evaluation={split: held_out[split] for split in measured},
        count_baselines=partial(VqaBaselines, training),
        dropped=dropped,
        unlabelled={split: held_out[split] for split in held_out if split not in measured},
        answers=answers,
        files=[path],
    )


KIND = TaskKind(
    models=(VilbertForQuestionAnswering, VilbertSingleStreamForQuestionAnswering),
    pictures=named_pictures,
    data=own_vqa_data,
)
