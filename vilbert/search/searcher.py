"""An index, and what searches it: texts or pictures, by the dual encoder and by the model that it has learnt from."""

import math
from functools import cached_property
from pathlib import Path
from shlex import quote
from typing import Any

from extract.devices import DeviceChoice, best_device
from extract.finder import FoundRegions, RegionFinder
from extract.regions.store import RegionStore
from vilbert.model.directory import WEIGHTS, sha256_of
from vilbert.model.origin import PROVENANCE, demand_like_regions, demand_same_regions, read_object
from vilbert.pipelines import Pipeline, demand_text, finder_of, pipeline
from vilbert.search.embed import embed_images, embed_texts, load_encoder
from vilbert.search.index import Found, ImageIndex
from vilbert.tasks.reading import encode_texts

# `image`, its `path`, `store` and `similarity`, and `score` where the teacher was asked, or `reason`
Row = dict[str, Any]
NUM_BEST = 10


class Searcher:
    """An index, the dual encoder that made it, and the cross-encoder that it has learnt from."""

    def __init__(
        self,
        index: Path,
        *,
        model: Path | None = None,
        teacher: Path | None = None,
        detector: Path | None = None,
        device: DeviceChoice = DeviceChoice.AUTO,
    ):
        """Args:
            model: None: where it lay when the index was made.
            teacher: None: where it lay when the model learnt from it.
            detector: None: the weights that the model has learnt of, by their digest.
        Raises: FileNotFoundError, or ValueError for an index of another model.
        """
        self.device = best_device(device)
        self.index = ImageIndex(index)
        self.path = self.index.model if model is None else model
        self.index.demand_model(self.path)
        self.encoder, self.processor = load_encoder(self.path, device=self.device)
        self._teacher, self._detector = teacher, detector
        self._stores: dict[str, RegionStore] = {}

    def by_text(self, text: str, *, k: int | None = None, rerank: int = 0) -> list[Row]:
        """The best k images, the best `rerank` of them put in order anew with the cross-encoder's scores.

        Args:
            k: None: ten, or all that there are.
            rerank: more than there are: all.

        Raises: ValueError for an empty text, or more images than there are.
        """
        rerank = min(rerank, len(self.index))
        longest = self.encoder.config.max_position_embeddings
        tokens = encode_texts(self.processor.tokenizer, [demand_text(text)], max_tokens=longest)
        k = min(NUM_BEST, len(self.index)) if k is None else k
        (found,) = self.index.search(embed_texts(self.encoder, tokens, self.processor), k=max(k, rerank))
        rows = [row_of(one) for one in found]
        if rerank:
            rows[:rerank] = self._scored(rows[:rerank], text)
        return rows[:k]

    def by_image(self, picture: Path, *, k: int | None = None) -> list[Row]:
        """The k images that are most like a picture, by default ten; or a row with the reason why it cannot be read."""
        k = min(NUM_BEST, len(self.index)) if k is None else k
        (found,) = self.finder.find([picture])
        if found.regions is None:
            assert found.objection is not None
            return [{"image": found.name} | found.objection._asdict()]
        (best,) = self.index.search(embed_images(self.encoder, [found.regions], self.processor), k=k)
        return [row_of(one) for one in best]

    @cached_property
    def teacher(self) -> Pipeline:
        """Raises: FileNotFoundError if it is not where the model says."""
        said = read_object(self.path / PROVENANCE)
        path = Path(said["teacher"]) if self._teacher is None else self._teacher
        if not path.is_dir():
            raise FileNotFoundError(f"no model at {path}, which {self.path} has learnt from; name it with --teacher")
        learnt_from = said.get("inputs", {}).get("teacher")
        if self._teacher is None and learnt_from not in (None, sha256_of(path / WEIGHTS)):
            raise ValueError(
                f"{path} is another model by now than the one that {self.path} has learnt from, {learnt_from[:12]}; "
                f"train the dual encoder anew, or take it nevertheless with --teacher {quote(str(path))}"
            )
        demand_like_regions(path, self.path)
        return pipeline(path, detector=self._detector, device=self.device)

    @cached_property
    def finder(self) -> RegionFinder:
        """Finds in pictures what the model has learnt of.

        Raises: FileNotFoundError, or ValueError, where there is no such detector.
        """
        return finder_of(self.path, detector=self._detector, device=self.device)

    def regions(self, row: Row) -> FoundRegions:
        """Of an image that was found, by its store or else by the detector.

        Raises: ValueError if its store has it no longer, or holds other regions than the model has learnt of.
        """
        store = row["store"]
        if store is None:
            (one,) = self.finder.find([row["path"]])
            return one
        if store not in self._stores:
            self._stores[store] = RegionStore([Path(store)])
            demand_same_regions(self.path, self._stores[store])
        if row["image"] not in self._stores[store]:
            raise ValueError(
                f"{store} holds no image '{row['image']}' any more; make the index {self.index.folder} anew"
            )
        return FoundRegions(row["image"], self._stores[store][row["image"]], None)

    def _scored(self, rows: list[Row], text: str) -> list[Row]:
        """The rows with the `score` of each, or the reason why there is none, the best by both models first.

        Both say it in logits, the dual encoder by its temperature, and what they say is added: they err apart, so that
        both together find more than either.
        """
        scored = self.teacher.score([self.regions(row) for row in rows], text)
        both = [
            row | {name: value for name, value in said.items() if name != "image"}
            for row, said in zip(rows, scored, strict=True)
        ]
        temperature = self.encoder.temperature.item()

        def logit(row: Row) -> float:
            return row["similarity"] / temperature + row["score"] if "score" in row else -math.inf

        return sorted(both, key=logit, reverse=True)


def row_of(found: Found) -> Row:
    return {"image": found.key, "path": found.path, "store": found.store, "similarity": round(found.score, 4)}
