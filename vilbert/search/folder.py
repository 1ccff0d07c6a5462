"""An index of one's own pictures, or of a feature store: vilbert index MODEL PICTURES OUTPUT."""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from extract.command import run
from extract.devices import DeviceChoice, best_device
from extract.finder import FoundRegions, RegionFinder, files_to_look_at, names_below
from extract.hold import Hold
from extract.regions.store import RegionStore
from vilbert.model.directory import WEIGHTS, sha256_of
from vilbert.model.origin import demand_same_regions
from vilbert.pipelines import finder_of
from vilbert.search.embed import embed_images, load_encoder, read_embeddings, write_embeddings
from vilbert.search.index import FLAT, Source, demand_replaceable, write_index

AT_ONCE = 256  # pictures of a part, after each of which a killed build goes on


def main(
    model: Annotated[Path, typer.Argument(help="folder of a dual encoder")],
    pictures: Annotated[Path, typer.Argument(help="a folder of pictures, or a feature store (.lmdb)")],
    output: Annotated[Path, typer.Argument(help="folder of the index")],
    kind: Annotated[str, typer.Option(help="of index, by faiss's factory")] = FLAT,
    detector: Annotated[
        Path | None, typer.Option(help="weights that find the regions; by default those that MODEL has learnt of")
    ] = None,
    device: Annotated[DeviceChoice, typer.Option(help="auto: a GPU if there is one")] = DeviceChoice.AUTO,
) -> None:
    """Make an index of pictures, to search with `vilbert search`. Started again after a kill, it goes on.

    Prints a row with the reason for each file that is no picture, or cannot be read.
    """
    output = Path(os.path.abspath(output))  # noqa: PTH100
    demand_replaceable(output)
    encoder, processor = load_encoder(model, device=best_device(device))
    digest = sha256_of(model / WEIGHTS)
    if pictures.suffix == ".lmdb":
        store = RegionStore([pictures])
        demand_same_regions(model, store)
        vectors = embed_images(encoder, store.values(), processor)
        write_index(output, [(list(store), vectors)], [Source(store=pictures)], model=model, sha256=digest, kind=kind)
        return
    files, others = files_to_look_at(pictures)
    folder = pictures if pictures.is_dir() else pictures.parent
    all_names, nameless = names_below(folder, files)
    left_out = [{"image": name} | objection._asdict() for name, objection in others + nameless]
    kept = output.with_name(f".{output.name}.parts")
    held = Hold(kept)
    finder: RegionFinder | None = None
    parts = []
    for start in tqdm(range(0, len(all_names), AT_ONCE), desc="pictures", unit="part", disable=None):
        names = all_names[start : start + AT_ONCE]
        part = kept / f"{digest_of(folder, names, digest)}.npz"
        reasons = part.with_suffix(".json")
        if not part.exists():
            finder = finder or finder_of(model, detector=detector, device=best_device(device))
            found = finder.find([folder / name for name in names])
            reasons.write_text(json.dumps(rows_left_out(names, found)))
            seen = {name: one.regions for name, one in zip(names, found, strict=True) if one.regions is not None}
            write_embeddings(part, list(seen), embed_images(encoder, seen.values(), processor), model=digest)
        held.demand()
        left_out += json.loads(reasons.read_text())
        parts.append(read_embeddings(part, model=digest))
    if left_out:
        print(json.dumps(left_out, indent=1), flush=True)
    write_index(output, parts, [Source(folder=folder)] * len(parts), model=model, sha256=digest, kind=kind)
    held.let_go()
    shutil.rmtree(kept)
    print(f"{output} holds {sum(len(keys) for keys, _ in parts)} pictures", file=sys.stderr)


def digest_of(folder: Path, names: Sequence[str], model: str) -> str:
    """Of a model and of files by their names, sizes and times."""
    stats = [(name, (folder / name).stat()) for name in names]
    told = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
    return hashlib.sha256(json.dumps([model, told]).encode()).hexdigest()[:24]


def rows_left_out(names: Sequence[str], found: Sequence[FoundRegions]) -> list[dict[str, str]]:
    return [
        {"image": name} | one.objection._asdict()
        for name, one in zip(names, found, strict=True)
        if one.objection is not None
    ]


if __name__ == "__main__":
    run(main)
