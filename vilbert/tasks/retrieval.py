"""Caption-based image retrieval on Flickr30k or COCO: which of all images a caption is of.

Dimension key:
    B: batch   M: pairs that compete, the first is right   I: images   D: feature size
"""

import json
import math
import sys
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from extract.regions.store import RegionStore
from vilbert.batches.masking import example_generator
from vilbert.batches.padding import ANY_WIDTH, Tokens, Widths, pad_images, pad_texts
from vilbert.batches.sampling import Draw
from vilbert.model.inputs import Batch
from vilbert.model.processing_vilbert import VilbertProcessor
from vilbert.retrieval.scoring import EncodedImage
from vilbert.tasks.metrics import retrieval_metrics
from vilbert.tasks.reading import Dropped, Reading, demand_fields, encode_texts, read_json, text_in, text_of
from vilbert.tasks.task import TaskSource
from vilbert.training.shares import score_in_shares

NUM_NEIGHBOURS = 100
NUM_WRITTEN = 10  # images a caption
ROWS_A_CHUNK = 1_024  # of the distances between images
DAMAGE = (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)  # what an .npz raises
IMAGE = ("filename", "imgid", "split", "sentences")
SENTENCE = ("sentid", "raw")


@dataclass(frozen=True)
class Caption:
    """One caption of one image."""

    annotation: str  # sentid, or '{imgid}-{sentid}' where these begin anew with each image
    image_key: str  # stem of the image's file name
    split: str
    text: str


def read_captions(path: Path) -> Reading[Caption]:
    """All splits of Karpathy's dataset_*.json; COCO's 'restval' is training data, as is usual.

    Raises: FileNotFoundError; ValueError for a file that is cut off or of another format.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        raise ValueError(f"{path} holds no list 'images', expected Karpathy's dataset_flickr30k.json or its like")
    kept, dropped, sentences = [], [], []
    for number, image in enumerate(demand_fields(content["images"], IMAGE, source=f"{path}, images")):
        name = f"row {number}"
        try:
            image_id = text_in(image, "imgid")
            name = f"image {image_id}"
            key, split = Path(text_in(image, "filename")).stem, text_in(image, "split")
            of_image = demand_fields(image["sentences"], SENTENCE, source="sentences")
            sentences += [(image_id, text_in(one, "sentid"), key, split, one["raw"]) for one in of_image]
        except ValueError as error:
            dropped.append(Dropped(name, "bad_value", str(error)))
            continue
        if not of_image:
            dropped.append(Dropped(name, "no_caption", image["filename"]))
    image_of: dict[str, str] = {}
    begin_anew = any(image_of.setdefault(sent_id, image_id) != image_id for image_id, sent_id, *_ in sentences)
    for image_id, sent_id, key, split, raw in sentences:
        annotation = f"{image_id}-{sent_id}" if begin_anew else sent_id
        try:
            text = " ".join(text_of(raw, name="raw").split())
        except ValueError as error:
            dropped.append(Dropped(annotation, "bad_value", str(error)))
            continue
        if not text:
            dropped.append(Dropped(annotation, "empty_caption", repr(raw)))
        else:
            kept.append(Caption(annotation, key, "train" if split == "restval" else split, text))
    return Reading(kept, dropped)


def nearest_images(store: RegionStore, keys: Sequence[str], *, cache: Path) -> np.ndarray:
    """Of each image the others that are nearest by the mean of their features, the nearest first: int32 [I, <= 100].

    Found once and kept in `cache`, an .npz that knows of which images and features it is.
    Source: Lu et al. 2019, section 3.3.
    """
    means = np.stack([store[key].features.mean(axis=0, dtype=np.float32) for key in keys])
    if (kept := kept_neighbours(cache, means)) is not None:
        return kept
    squares = (means**2).sum(axis=1)
    count = min(NUM_NEIGHBOURS, len(keys) - 1)
    nearest = np.empty((len(keys), count), np.int32)
    for start in range(0, len(keys), ROWS_A_CHUNK):
        rows = np.arange(start, min(start + ROWS_A_CHUNK, len(keys)))
        distances = squares[rows, None] + squares - 2 * means[rows] @ means.T
        distances[np.arange(len(rows)), rows] = np.inf
        nearest[rows] = np.argsort(distances, axis=1, kind="stable")[:, :count]
    with TemporaryDirectory(dir=cache.parent) as folder:  # every process of a training finds them
        partial = Path(folder) / cache.name
        np.savez(partial, means=means, nearest=nearest)
        partial.replace(cache)
    return nearest


def kept_neighbours(cache: Path, means: np.ndarray) -> np.ndarray | None:
    """What `nearest_images` kept; None: nothing, those of other features, or a file that was damaged since."""
    try:
        with cache.open("rb") as file, np.load(file) as kept:
            return kept["nearest"] if np.array_equal(kept["means"], means) else None
    except FileNotFoundError:
        return None
    except DAMAGE as error:
        print(f"{cache} is damaged ({type(error).__name__}: {error}); what it held is found anew", file=sys.stderr)
        return None


def make_dataset(captions: Sequence[Caption], split: str, source: TaskSource, *, max_tokens: int) -> "RetrievalDataset":
    """Of one split; 'train' is learnt from, and so knows each image's neighbours."""
    is_training = split == "train"
    return RetrievalDataset(
        captions,
        source.store,
        source.processor,
        max_tokens=max_tokens,
        seed=source.settings.seed,
        neighbours=source.cache / "nearest_images.npz" if is_training else None,
        widths=source.widths(max_tokens) if is_training else ANY_WIDTH,
    )


class RetrievalDataset(Dataset):
    """Captions as batches of four pairs each, `labels` 0: the right one is the first.

    The others: another image's caption, another image, and the caption of an image that looks alike.
    Source: Lu et al. 2019, section 3.3; vilbert_beta, where the hard negative is a caption as well.
    """

    def __init__(
        self,
        captions: Sequence[Caption],
        store: RegionStore,
        processor: VilbertProcessor,
        *,
        max_tokens: int,
        seed: int,
        neighbours: Path | None,
        widths: Widths = ANY_WIDTH,
    ):
        """Args:
            captions: in evaluation of images without features too, which then stand last for each caption.
            neighbours: cache of `nearest_images`; None: for evaluation alone.
        Raises: ValueError if there is but one image to learn from.
        """
        self.captions, self.store, self.seed = captions, store, seed
        self.processor, self.widths = processor, widths
        self.texts = encode_texts(processor.tokenizer, [caption.text for caption in captions], max_tokens=max_tokens)
        self.keys = list(dict.fromkeys(caption.image_key for caption in captions))
        self.columns_seen = [column for column, key in enumerate(self.keys) if key in store]
        columns = {key: column for column, key in enumerate(self.keys)}
        self.image_of = [columns[caption.image_key] for caption in captions]
        self.captions_of: list[list[int]] = [[] for _ in self.keys]
        for row, column in enumerate(self.image_of):
            self.captions_of[column].append(row)
        if neighbours is not None and len(self.keys) < 2:
            raise ValueError("all captions are of one image, expected at least two to tell apart")
        self.nearest = None if neighbours is None else nearest_images(store, self.keys, cache=neighbours)

    def __len__(self) -> int:
        return len(self.captions)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each caption, [N]."""
        return np.array([len(text.ids) for text in self.texts])

    def __getitems__(self, draws: Sequence[Draw]) -> Batch:
        """What VilbertForImageTextRetrieval.forward takes: texts [B, M, T], images [B, M, R, ...], labels [B]."""
        pairs = [pair for draw in draws for pair in self.competing(draw)]
        texts, images = [self.texts[text] for text, _ in pairs], [self.store[self.keys[image]] for _, image in pairs]
        batch = pad_texts(texts, pad_token_id=self.processor.tokenizer.pad_token_id, widths=self.widths)
        batch |= pad_images(images, has_whole_image=self.processor.has_whole_image, widths=self.widths)
        batch = {name: value.unflatten(0, (len(draws), -1)) for name, value in batch.items()}
        return batch | {"labels": torch.zeros(len(draws), dtype=torch.long)}

    def competing(self, draw: Draw) -> list[tuple[int, int]]:
        """Four pairs of a caption and an image."""
        assert self.nearest is not None
        generator = example_generator(self.seed, draw.epoch, draw.example)
        image, text = self.image_of[draw.example], self.texts[draw.example]
        other_text = self._caption_of(self._other_image(image, generator), text, generator)
        hard_text = self._caption_of(int(generator.choice(self.nearest[image])), text, generator)
        other_image = self._other_image(image, generator)
        return [(draw.example, image), (other_text, image), (draw.example, other_image), (hard_text, image)]

    def _other_image(self, image: int, generator: np.random.Generator) -> int:
        other = int(generator.integers(len(self.keys) - 1))
        return other + (other >= image)

    def _caption_of(self, image: int, text: Tokens, generator: np.random.Generator) -> int:
        """A caption of an image that does not say the same; any if all of them do."""
        captions = self.captions_of[image]
        others = [caption for caption in captions if not np.array_equal(self.texts[caption].ids, text.ids)]
        return int(generator.choice(others or captions))

    def predict(self, model: nn.Module) -> Tensor:
        """How well each caption fits each image, [captions, images]; of a pretraining model by its alignment head."""
        seen = (self.store[self.keys[column]] for column in self.columns_seen)
        images = [EncodedImage.of(regions, has_whole_image=self.processor.has_whole_image) for regions in seen]
        return self.of_all_images(score_in_shares(model, [torch.from_numpy(text.ids) for text in self.texts], images))

    def of_all_images(self, scores: Tensor) -> Tensor:
        """Scores of the images with features as those of all images, -inf for the others: [captions, images]."""
        everywhere = torch.full((len(self.captions), len(self.keys)), -math.inf)
        everywhere[:, self.columns_seen] = scores
        return everywhere

    def write(self, scores: Tensor, folder: Path, name: str) -> None:
        """{name}.json: of each caption the ten best images; a score that is no number is the worst."""
        known = scores.masked_fill(scores.isnan(), -math.inf)
        best = known.topk(min(NUM_WRITTEN, len(self.keys)), dim=1).indices.tolist()
        rows = [
            {"annotation": caption.annotation, "images": [self.keys[column] for column in columns]}
            for caption, columns in zip(self.captions, best, strict=True)
        ]
        (folder / f"{name}.json").write_text(json.dumps(rows))

    def measure(self, scores: Tensor) -> dict[str, float]:
        """Recalls and median ranks among all images, and all captions, of the data set."""
        texts = [caption.text for caption in self.captions]
        return retrieval_metrics(scores.numpy(), self.image_of, texts)
