"""An index of images: python -m vilbert.search.index MODEL OUTPUT EMBEDDINGS...

A folder: `images.faiss`, `images.parquet` with a row an image in its order, and `index.json` that says of which model.

Dimension key:
    N: images   Q: queries   E: width of an embedding   K: best
"""

import json
import os
import shutil
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from shlex import quote
from typing import Annotated, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from extract.command import run
from extract.hold import Hold
from extract.tables import naming, read_json, reading
from vilbert.model.directory import WEIGHTS, demand_model, sha256_of
from vilbert.search.embed import read_embeddings

VECTORS, IMAGES, NOTE = "images.faiss", "images.parquet", "index.json"
OF_INDEX = {VECTORS, IMAGES, NOTE, ".held", ".snakemake_timestamp"}  # all that may stand in its folder
FLAT = "Flat"
SHARE_PROBED = 4  # of the lists of an inverted file one in so many is looked through
LEAST_BEAM = 128  # candidates that a graph keeps on the way, or k
IMAGE_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        ("path", pa.string()),  # the picture, or the tar that has it; null: unknown
        ("store", pa.string()),  # of its regions; null: they are found in the picture
    ]
)


class Source(NamedTuple):
    """Where images of one file of embeddings lie; what is not known is None."""

    store: Path | None = None
    tar: Path | None = None
    folder: Path | None = None  # of pictures, which the keys name


class Found(NamedTuple):
    """An image that was found."""

    key: str
    score: float  # cosine
    path: str | None
    store: str | None


class ImageIndex:
    """An index on a disk, and of which model it is."""

    def __init__(self, folder: Path):
        """Raises: FileNotFoundError if there is none; ValueError for one that is damaged, or whose model is gone or
        another by now.
        """
        if not (folder / NOTE).is_file():
            raise FileNotFoundError(
                f"{folder} is no index: it holds no {NOTE}; `vilbert index MODEL PICTURES {quote(str(folder))}` makes "
                "one, or `snakemake build_index`"
            )
        note = read_json(folder / NOTE)
        if not isinstance(note, dict) or not {"model", "sha256"} <= {
            key for key, said in note.items() if isinstance(said, str)
        }:
            raise ValueError(f"{folder / NOTE} does not say of which model it is; make the index anew")
        self.folder, self.model, self.sha256 = folder, Path(note["model"]), note["sha256"]
        self.vectors = read_vectors(folder / VECTORS)
        self._images = read_images(folder / IMAGES)
        if len(self._images) != self.vectors.ntotal:
            raise ValueError(
                f"{folder} holds {self.vectors.ntotal} vectors of {len(self._images)} images; make it anew"
            )

    def __len__(self) -> int:
        return int(self.vectors.ntotal)

    def demand_model(self, path: Path) -> None:
        """Raises: FileNotFoundError, or ValueError if it is not the model that made the index."""
        demand_model(path)
        if (found := sha256_of(path / WEIGHTS)) != self.sha256:
            raise ValueError(
                f"{self.folder} was made by a model of the sha256 {self.sha256[:12]}, {path} is {found[:12]}; "
                "make the index anew with this model, or name the other with --model"
            )

    def search(self, queries: np.ndarray, *, k: int) -> list[list[Found]]:
        """Of each query [Q, E] the best images, the best first.

        Raises: ValueError if there are not so many.
        """
        if not 1 <= k <= len(self):
            raise ValueError(f"k is {k}, expected 1 to {len(self)}, the images of {self.folder}")
        scores, rows = search_widely(self.vectors, np.ascontiguousarray(queries, np.float32), k=k)
        return [
            [self._found(int(row), float(score)) for row, score in zip(*one, strict=True) if row >= 0]
            for one in zip(rows, scores, strict=True)
        ]

    def _found(self, row: int, score: float) -> Found:
        image = self._images.slice(row, 1).to_pylist()[0]
        return Found(image["key"], score, image["path"], image["store"])


def main(
    model: Path,
    output: Path,
    embeddings: list[Path],
    kind: Annotated[str, typer.Option(help="by faiss's factory")] = FLAT,
    stores: Annotated[list[Path] | None, typer.Option("--store", help="of each of the EMBEDDINGS")] = None,
    tars: Annotated[list[Path] | None, typer.Option("--tar", help="of the images of each of them")] = None,
) -> None:
    """Put the embeddings that MODEL has made into the folder OUTPUT, whole or not at all."""
    digest = sha256_of(model / WEIGHTS)
    sources = [
        Source(store=stores[place] if stores else None, tar=tars[place] if tars else None)
        for place in range(len(embeddings))
    ]
    parts = [read_embeddings(path, model=digest) for path in embeddings]
    write_index(output, parts, sources, model=model, sha256=digest, kind=kind)


def write_index(
    output: Path,
    parts: Sequence[tuple[Sequence[str], np.ndarray]],
    sources: Sequence[Source],
    *,
    model: Path,
    sha256: str,
    kind: str = FLAT,
) -> None:
    """Args:
        parts: keys and vectors.
        sources: of each part.
    Raises: FileExistsError; ValueError if there is no image, if the kind is none, or if another process is at it.
    """
    demand_replaceable(output)
    vectors = np.concatenate([vectors for _, vectors in parts]) if parts else np.empty((0, 1), np.float32)
    if not len(vectors):
        raise ValueError(f"there is no image to put into {output}")
    rows = [row_of(key, source) for (keys, _), source in zip(parts, sources, strict=True) for key in keys]
    partial = output.with_name(f".{output.name}.partial")
    held = Hold(partial)
    before = output.with_name(f".{output.name}.before")
    take_back(before, output)
    try:
        with naming(output):
            faiss().write_index(make_vectors(vectors, kind=kind), str(partial / VECTORS))
            pq.write_table(pa.Table.from_pylist(rows, schema=IMAGE_SCHEMA), partial / IMAGES, compression="zstd")
            note = {"model": os.path.abspath(model), "sha256": sha256, "kind": kind, "num_images": len(rows)}  # noqa: PTH100
            (partial / NOTE).write_text(json.dumps(note, indent=1))
        held.demand()
        if output.exists():
            output.rename(before)
        partial.rename(output)
        (output / ".held").unlink()
    finally:
        take_back(before, output)
        held.let_go()
        shutil.rmtree(partial, ignore_errors=True)


def take_back(before: Path, output: Path) -> None:
    """Let an index that was moved aside be the index again, unless another is."""
    if output.exists():
        shutil.rmtree(before, ignore_errors=True)
    elif before.exists():
        before.rename(output)


def demand_replaceable(output: Path) -> None:
    """Raises: FileExistsError for what is there and is no index: whatever an index takes the place of is removed."""
    if output.exists() and not (output.is_dir() and {path.name for path in output.iterdir()} <= OF_INDEX):
        raise FileExistsError(f"{output} is there and is no index; name a folder that is not there yet")


def row_of(key: str, source: Source) -> dict[str, str | None]:
    """What is known of an image."""
    path = source.tar if source.folder is None else source.folder / key
    return {
        "key": key,
        "path": None if path is None else os.path.abspath(path),  # noqa: PTH100
        "store": None if source.store is None else os.path.abspath(source.store),  # noqa: PTH100
    }


def make_vectors(vectors: np.ndarray, *, kind: str) -> Any:
    """A faiss index of [N, E], by inner product.

    Raises: ValueError for a kind that faiss does not know, or that needs more vectors to learn from.
    """
    try:
        index = faiss().index_factory(vectors.shape[1], kind, faiss().METRIC_INNER_PRODUCT)
        index.train(vectors)
        index.add(vectors)
    except RuntimeError as error:
        told = str(error).splitlines()[-1]
        raise ValueError(
            f"the kind of index is '{kind}', which faiss refuses for {len(vectors)} images: {told}"
        ) from error
    return index


def search_widely(vectors: Any, queries: np.ndarray, *, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores and rows [Q, K]. faiss by itself looks through one list of an inverted file, which finds one in six of the
    best ten images of a text: texts lie elsewhere than images. Where the lists hold fewer than k, all are.
    """
    lists = faiss().try_extract_index_ivf(vectors)
    if lists is not None:
        lists.nprobe = -(-lists.nlist // SHARE_PROBED)
    elif isinstance(core_of(vectors), faiss().IndexHNSW):
        faiss().ParameterSpace().set_index_parameter(vectors, "efSearch", max(k, LEAST_BEAM))
    scores, rows = vectors.search(queries, k)
    if lists is not None and (rows < 0).any():
        lists.nprobe = lists.nlist
        scores, rows = vectors.search(queries, k)
    return scores, rows


def core_of(vectors: Any) -> Any:
    """A faiss index without what its vectors go through before."""
    vectors = faiss().downcast_index(vectors)
    return core_of(vectors.index) if isinstance(vectors, faiss().IndexPreTransform) else vectors


def read_vectors(path: Path) -> Any:
    """Raises: ValueError for a file that is missing or damaged."""
    try:
        return faiss().read_index(str(path))
    except RuntimeError as error:
        raise ValueError(f"{path} is damaged ({str(error).splitlines()[-1]}); make the index anew") from error


def read_images(path: Path) -> pa.Table:
    """A row an image, by IMAGE_SCHEMA. pyarrow's `read_table` imports pandas, which takes longer than a query.

    Raises: FileNotFoundError; ValueError for a file that is damaged.
    """
    with reading(path), pq.ParquetFile(path) as file:
        return file.read(IMAGE_SCHEMA.names)


def faiss() -> Any:
    """The library, which an extra brings.

    Raises: ImportError that says so.
    """
    try:
        return import_module("faiss")
    except ImportError as error:
        raise ImportError("an index needs faiss; pip install 'vilbert[search]'") from error


if __name__ == "__main__":
    run(main)
