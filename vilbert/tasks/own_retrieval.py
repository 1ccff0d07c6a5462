"""Retrieval among pictures of your own: a csv with the columns file and caption."""

from vilbert.model.modeling_single_stream import VilbertSingleStreamForImageTextRetrieval
from vilbert.model.modeling_tasks import VilbertForImageTextRetrieval
from vilbert.settings import OwnTaskSettings
from vilbert.tasks.own_table import named_pictures, read_own_table, splits_of
from vilbert.tasks.reading import Dropped, Reading
from vilbert.tasks.retrieval import Caption, make_dataset
from vilbert.tasks.retrieval_baselines import RetrievalBaselines
from vilbert.tasks.task import TaskData, TaskKind, TaskSource, by_split


def read_own_captions(source: TaskSource, settings: OwnTaskSettings) -> Reading[Caption]:
    """The rows with a caption."""
    reading = read_own_table(source, settings, ["caption"])
    kept, dropped = [], list(reading.dropped)
    for row in reading.examples:
        if text := " ".join(row.values["caption"].split()):
            kept.append(Caption(row.annotation, row.image_key, row.split, text))
        else:
            dropped.append(Dropped(row.annotation, "empty_caption", ""))
    return Reading(kept, dropped)


def own_retrieval_data(source: TaskSource, settings: OwnTaskSettings) -> TaskData:
    """Ranks among the pictures of a split."""
    path = source.annotations / settings.table
    reading = read_own_captions(source, settings)
    splits = splits_of(reading.examples)
    captions, dropped = by_split(reading, splits, source.store, path=path)
    training, *measured = (
        make_dataset(captions[split], split, source, max_tokens=settings.max_tokens) for split in splits
    )
    return TaskData(
        training=training,
        evaluation=dict(zip(splits[1:], measured, strict=True)),
        count_baselines=RetrievalBaselines,
        dropped=dropped,
        files=[path],
    )


KIND = TaskKind(
    models=(VilbertForImageTextRetrieval, VilbertSingleStreamForImageTextRetrieval),
    pictures=named_pictures,
    data=own_retrieval_data,
)
