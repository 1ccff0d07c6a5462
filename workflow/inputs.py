"""What rules read that settings may name: where it lies, and the input by which Snakemake knows when it is another."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from workflow.contents import Contents
from workflow.settings import Settings


class Named(NamedTuple):
    """What a command is told, and the input of its rule."""

    path: str | None
    input: str | list[str]

    @property
    def is_made(self) -> bool:
        """Whether a rule makes it."""
        return self.path == self.input


class Inputs:
    """Of one run. What a rule makes is its own input; what a user names is known by a table of what it holds."""

    def __init__(self, settings: Settings, contents: Contents, *, results: str) -> None:
        self.settings, self.contents, self.results = settings, contents, results
        self._rows: dict[str, list] = {}  # of the csv of a split

    @property
    def detector(self) -> Named:
        """Weights: a user's, or fetched to where the setting says, or trained."""
        detector = self.settings.detector
        if detector.weights is None or self.settings.fetches_detector:
            return self._made(detector.weights or f"{self.results}/detector/model.safetensors")
        return self._named("detector.weights", detector.weights)

    @property
    def names(self) -> list[str]:
        """Of the detector's classes and attributes."""
        bottom_up = self.settings.detector.bottom_up
        if bottom_up is None:
            return []
        files = {name: getattr(bottom_up, name) for name in ("class_names", "attribute_names")}
        return [
            self.contents.of(f"detector.bottom_up.{name}", file) for name, file in files.items() if file is not None
        ]

    @property
    def tokenizer(self) -> Named:
        return self._of_hub("text.tokenizer", self.settings.text.tokenizer)

    @property
    def text_init(self) -> Named:
        return self._of_hub("model.text_init", self.settings.model.text_init)

    def compared_text_init(self, name: str) -> Named:
        """BERT weights that only a comparison reads."""
        folder = self.settings.comparison.text_inits[name]
        return Named(None, []) if folder is None else self._named(f"comparison.text_inits.{name}", folder)

    @property
    def task_images(self) -> Named:
        """The folder of the images that the tasks' annotations speak of."""
        images = self.settings.finetuning.images
        if images is None:
            return Named(f"{self.results}/tasks/images", f"{self.results}/tasks")
        return self._named("finetuning.images", images)

    @property
    def start(self) -> Named:
        """The model directory that fine-tunes start from."""
        start = self.settings.finetuning.start_from
        if start is None:
            return self._made(f"{self.results}/pretrain/model")
        return self._named("finetuning.start_from", start)

    @property
    def teacher(self) -> Named:
        """The model directory that a dual encoder learns from."""
        if self.settings.search.teacher == "pretrained":
            return self.start
        return self._made(f"{self.results}/finetune/retrieval/model")

    @property
    def detected(self) -> Named:
        """The store of the tasks' images. Of a user's the manifest is looked at: it has the sha256 of the records."""
        store = self.settings.finetuning.features
        if store is None:
            return self._made(f"{self.results}/tasks_features/detected.lmdb")
        return Named(store, self.contents.of("finetuning.features", Path(store).with_suffix(".json")))

    @property
    def annotations(self) -> str:
        """The folder of the tasks' annotations."""
        return self.settings.finetuning.annotations or f"{self.results}/tasks"

    def annotation(self, file: str) -> str:
        """The path of a file that stands below `annotations`."""
        return str(Path(self.annotations, file))

    def annotation_files(self, files: list[str]) -> str | list[str]:
        """What these files below `annotations` are known by; the drawn world's have one input for all."""
        if self.settings.finetuning.annotations is None:
            return self.annotations
        return [self.contents.of(f"finetuning.annotations/{name_for(file)}", self.annotation(file)) for file in files]

    def store_of(self, task: str) -> Named:
        """The store of the regions that a task chooses among."""
        if self.settings.chooses_among_detections(task):
            return self._made(f"{self.results}/tasks_features/refcoco_detections.lmdb")
        if self.packs_pictures_of(task):
            return self._made(f"{self.results}/tasks_features/own/{task}.lmdb")
        return self.detected

    def packs_pictures_of(self, task: str) -> bool:
        """Whether a task of one's own reads regions of the pictures that its table names."""
        return task in self.settings.finetuning.tasks and self.settings.finetuning.features is None

    def shard_of_folder(self, split: str, shard: str) -> str:
        """The rows of a csv that a shard has, which of them stood in it before, and the pictures that they name."""
        from extract.captions.csv_lists import picture_path, read_captions  # not for every run: it brings pyarrow

        source = self.settings.source
        assert source.pictures is not None
        if split not in self._rows and self.contents.looks:
            first_of: dict = {}
            listed = read_captions(Path(source.splits[split].url or ""))
            self._rows[split] = [(*row, first_of.setdefault(row, number)) for number, row in enumerate(listed)]
        first = int(shard) * source.rows_per_shard
        rows = self._rows.get(split, [])[first : min(first + source.rows_per_shard, source.splits[split].num_rows)]
        pictures = Path(source.pictures)
        named = [picture_path(pictures, file) for file, caption, _ in rows if caption is not None]
        files = [path for path in named if path is not None]
        return self.contents.of_rows(f"source/{split}/{shard}", rows, pictures, files)

    def _made(self, path: str) -> Named:
        return Named(path, path)

    def _named(self, setting: str, path: str) -> Named:
        return Named(path, self.contents.of(setting, path))

    def _of_hub(self, setting: str, name: str | None) -> Named:
        """A folder, or what a hub has under a name, which is fetched."""
        if name is None:
            return Named(None, [])
        if Path(name).exists():
            return self._named(setting, name)
        return self._made(f"{self.results}/hub/{setting.rpartition('.')[2]}")


def name_for(path: str) -> str:
    """A name for what lies at a path, whatever that holds: '..', a slash before it, 300 letters."""
    return hashlib.sha256(path.encode()).hexdigest()[:16]
