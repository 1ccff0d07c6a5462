"""Retrieval among pictures of your own: a csv with the columns file and caption."""

from vilbert.batches.padding import ANY_WIDTH
from vilbert.model.modeling_single_stream import VilbertSingleStreamForImageTextRetrieval
from vilbert.model.modeling_tasks import VilbertForImageTextRetrieval
from vilbert.settings import OwnTaskSettings
from vilbert.tasks.own_table import named_pictures, read_own_table
from vilbert.tasks.reading import Dropped, Reading
from vilbert.tasks.retrieval import Caption, RetrievalDataset
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
    splits = ["train", "val", *(["test"] if any(row.split == "test" for row in reading.examples) else [])]
    captions, dropped = by_split(reading, splits, source.store, path=path)
    datasets = {
        split: RetrievalDataset(
            captions[split],
            source.store,
            source.processor,
            max_tokens=settings.max_tokens,
            seed=source.settings.seed,
            neighbours=source.cache / "nearest_images.npz" if split == "train" else None,
            widths=source.widths(settings.max_tokens) if split == "train" else ANY_WIDTH,
        )
        for split in splits
    }
    return TaskData(
        training=datasets["train"],
        evaluation={split: datasets[split] for split in splits[1:]},
        count_baselines=RetrievalBaselines,
        dropped=dropped,
        files=[path],
    )


KIND = TaskKind(
    models=(VilbertForImageTextRetrieval, VilbertSingleStreamForImageTextRetrieval),
    pictures=named_pictures,
    data=own_retrieval_data,
)
