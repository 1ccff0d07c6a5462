"""Published webdataset shards by the same door as downloads.

python -m extract.download.webdataset TAR OUT_ROWS OUT_TAR ..

A sample is key.jpg (or .png, .jpeg, .webp), key.txt and, from img2dataset, key.json with the url.
"""

import json
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from extract.command import run
from extract.download.shard_files import ShardTar, write_imported
from extract.images.decoder import Decoders
from extract.reasons import DownloadFailure, DownloadReason
from extract.tables import whole_file

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


@dataclass
class Sample:
    """The members of a tar that share a name."""

    name: str
    image: bytes | None = None
    texts: dict[str, str] = field(default_factory=dict)  # by suffix

    @property
    def caption(self) -> str | None:
        return self.texts.get(".txt", self._metadata().get("caption"))

    @property
    def url(self) -> str | None:
        return self._metadata().get("url")

    def read(self) -> bytes:
        """Raises: DownloadFailure without an image."""
        if self.image is None:
            raise DownloadFailure(DownloadReason.NO_IMAGE, self.name)
        return self.image

    def _metadata(self) -> dict:
        try:
            found = json.loads(self.texts.get(".json", "{}"))
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


def main(
    source: Path,
    rows: Path,
    tar: Path,
    table: Path,
    stats: Path,
    split: Annotated[str, typer.Option()],
    first_row: Annotated[int, typer.Option(help="of the split, from 0")],
    max_rows: Annotated[int, typer.Option(help="samples that the tar may hold")],
    max_pixels: Annotated[int, typer.Option(help="width x height of an image")],
    max_side: Annotated[int | None, typer.Option(help="pixels; larger images are stored smaller")] = None,
) -> None:
    """Take the samples of one published tar as the rows and images of one shard."""
    start_time = time.time()
    try:
        image_rows = import_tar(
            source, tar, split=split, first_row=first_row, max_rows=max_rows, max_pixels=max_pixels, max_side=max_side
        )
    except tarfile.TarError as error:
        raise ValueError(f"{source} is no whole tar: {error}") from error
    write_imported(rows, table, stats, image_rows, start_time=start_time)


def import_tar(
    source: Path,
    output: Path,
    *,
    split: str,
    first_row: int,
    max_rows: int,
    max_pixels: int,
    max_side: int | None,
) -> list[dict]:
    """Write the tar of a shard and give its rows of the images table.

    Raises: ValueError if the tar holds more samples than a shard has rows: two shards would share keys.
    """
    image_rows: list[dict] = []
    with (
        whole_file(output) as partial,
        tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as tar,
        Decoders(max_pixels=max_pixels, max_side=max_side) as decoders,
    ):
        shard = ShardTar(tar)
        for index, sample in enumerate(tqdm(read_samples(source), desc="samples", unit="sample")):
            if index == max_rows:
                raise ValueError(
                    f"{source} has more than {index} samples; raise source.rows_per_shard, and num_rows with it"
                )
            row: dict = {"key": f"{split}-{first_row + index:08d}", "url": sample.url, "caption": sample.caption}
            row |= shard.take(row, sample.read, decoders)
            image_rows.append(row)
    return image_rows


def read_samples(source: Path) -> Iterator[Sample]:
    """The samples of a tar, in its order: neighbours that share the part of their name before the first dot."""
    sample: Sample | None = None
    with tarfile.open(source) as tar:
        for member in tar:
            if not member.isfile() or (file := tar.extractfile(member)) is None:
                continue
            folder, _, base = member.name.rpartition("/")
            stem, _, rest = base.partition(".")
            name = f"{folder}/{stem}" if folder else stem
            if sample is None or sample.name != name:
                if sample is not None:
                    yield sample
                sample = Sample(name)
            suffix = f".{rest.lower()}"
            if suffix in IMAGE_SUFFIXES:
                sample.image = file.read()
            elif suffix in (".txt", ".json"):
                sample.texts[suffix] = file.read().decode("utf-8", errors="replace")
    if sample is not None:
        yield sample


if __name__ == "__main__":
    run(main)
