"""Search an index: vilbert search INDEX TEXT."""

import json
import math
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import typer

from extract.command import run
from extract.devices import DeviceChoice, best_device
from extract.finder import FoundRegions
from extract.regions.store import RegionStore
from vilbert.model.origin import PROVENANCE, demand_same_regions, read_object
from vilbert.pipelines import Pipeline, demand_text, finder_of, pipeline
from vilbert.search.embed import embed_images, embed_texts, load_encoder
from vilbert.search.index import Found, ImageIndex
from vilbert.search.sheet import draw_sheet
from vilbert.tasks.reading import encode_texts

Row = dict[
    str, Any
]  # `image`, its `path` and `store`, `similarity`, and `score` where the teacher was asked, or `reason`
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

    def by_text(self, text: str, *, k: int = NUM_BEST, rerank: int = 0) -> list[Row]:
        """The best k images, of which the cross-encoder has put the best `rerank` in order anew.

        Raises: ValueError for an empty text, or more images than there are.
        """
        longest = self.encoder.config.max_position_embeddings
        tokens = encode_texts(self.processor.tokenizer, [demand_text(text)], max_tokens=longest)
        (found,) = self.index.search(embed_texts(self.encoder, tokens, self.processor), k=max(k, rerank))
        rows = [row_of(one) for one in found]
        if rerank:
            rows[:rerank] = self._scored(rows[:rerank], text)
        return rows[:k]

    def by_image(self, picture: Path, *, k: int = NUM_BEST) -> list[Row]:
        """The k images that are most like a picture; of one that cannot be read, a row with the reason."""
        finder = finder_of(self.path, detector=self._detector, device=self.device)
        (found,) = finder.find([picture])
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
        return pipeline(path, detector=self._detector, device=self.device)

    def regions(self, row: Row) -> FoundRegions:
        """Of an image that was found, by its store or else by the detector."""
        store = row["store"]
        if store is None:
            (one,) = self.teacher.find([row["path"]])
            return one
        if store not in self._stores:
            self._stores[store] = RegionStore([Path(store)])
            demand_same_regions(self.path, self._stores[store])
        return FoundRegions(row["image"], self._stores[store][row["image"]], None)

    def _scored(self, rows: list[Row], text: str) -> list[Row]:
        """The rows with the `score` of each, or the reason why there is none, the best first."""
        scored = self.teacher.score([self.regions(row) for row in rows], text)
        both = [
            row | {name: value for name, value in said.items() if name != "image"}
            for row, said in zip(rows, scored, strict=True)
        ]
        return sorted(both, key=lambda row: row.get("score", -math.inf), reverse=True)


def row_of(found: Found) -> Row:
    return {"image": found.key, "path": found.path, "store": found.store, "similarity": round(found.score, 4)}


def main(
    index: Annotated[Path, typer.Argument(help="folder that `vilbert index` or the rule build_index made")],
    text: Annotated[str | None, typer.Argument(help="what the pictures are to show")] = None,
    image: Annotated[Path | None, typer.Option(help="a picture in place of the text: what is like it")] = None,
    k: Annotated[int, typer.Option(help="pictures to find")] = NUM_BEST,
    rerank: Annotated[
        int, typer.Option(help="of the best, those that the model puts in order anew which the encoder has learnt from")
    ] = 0,
    output: Annotated[Path | None, typer.Option(help="sheet of the pictures, .png; by default JSON is printed")] = None,
    model: Annotated[Path | None, typer.Option(help="dual encoder; by default the one that made the index")] = None,
    teacher: Annotated[Path | None, typer.Option(help="by default the one that the encoder has learnt from")] = None,
    detector: Annotated[Path | None, typer.Option(help="weights that find the regions of pictures")] = None,
    device: Annotated[DeviceChoice, typer.Option(help="auto: a GPU if there is one")] = DeviceChoice.AUTO,
    serves: Annotated[bool, typer.Option("--serve", help="a page on this machine to search by (extra `demo`)")] = False,
    port: Annotated[int, typer.Option(help="of the page")] = 7861,
) -> None:
    """Find pictures by a text or by a picture, the best first."""
    demand_one_question(text, image, serves=serves, rerank=rerank)
    searcher = Searcher(index, model=model, teacher=teacher, detector=detector, device=device)
    if serves:
        from vilbert.search.page import serve

        serve(searcher, port=port)
        return
    if image is None:
        rows, title = searcher.by_text(str(text), k=k, rerank=rerank), str(text)
    else:
        rows, title = searcher.by_image(image, k=k), image.name
    if output is None:
        print(json.dumps(rows, indent=1))
    else:
        draw_sheet(rows, title, output)


def demand_one_question(text: str | None, image: Path | None, *, serves: bool, rerank: int) -> None:
    """Raises: ValueError for none, two, or one that cannot be answered."""
    if not serves and (text is None) == (image is None):
        given = "neither" if text is None else "both"
        raise ValueError(f"expected a text or --image, got {given}")
    if text is not None:
        demand_text(text)
    if image is not None and rerank:
        raise ValueError("--rerank is for a text: the model scores a text and a picture, not two pictures")
    if rerank < 0:
        raise ValueError(f"--rerank is {rerank}, expected a number of pictures")


if __name__ == "__main__":
    run(main)
