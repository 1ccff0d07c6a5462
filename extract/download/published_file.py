"""One published file (a caption list, a tar, weights), fetched whole and checked.

python -m extract.download.published_file
"""

import asyncio
import hashlib
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, NamedTuple
from urllib.parse import urlsplit
from urllib.request import url2pathname

import aiohttp
import typer
from tqdm import tqdm

from extract.command import run
from extract.reasons import storable
from extract.section import demand_address
from extract.tables import whole_file

CHUNK_SIZE = 1 << 20  # bytes
PATIENCE = 60.0  # seconds to the first byte, and for PACE bytes after that: 1 kB/s at least
PACE = 1 << 16  # bytes
MAX_BYTES = 1 << 36  # 64 GiB: a body that is longer has no end


class Source(NamedTuple):
    """What lies at an address."""

    num_bytes: int | None  # null: not known before the end
    chunks: AsyncIterator[bytes]


def main(url: str, output: Path, sha256: Annotated[str | None, typer.Option(help="that the file must have")] = None):
    """Copy what lies at an https:, http: or file: address to `output`, and print its sha256."""
    found = fetch_published_file(url, output, sha256=sha256)
    print(f"{output} has the sha256 {found}, {'as expected' if sha256 else 'which was not checked'}")


def fetch_published_file(
    url: str, output: Path, *, sha256: str | None, patience: float = PATIENCE, max_bytes: int = MAX_BYTES
) -> str:
    """Copy `url` to `output`, whole or not at all; give its sha256.

    Args:
        patience: seconds to the first byte, and for PACE bytes after that.
    Raises: ValueError if the scheme is another or the digest is not `sha256`; FileNotFoundError, OSError if `url`
        gives no file, or one that breaks off, is too slow, does not fit on the disk or has more than `max_bytes`.
    """
    demand_address(url)
    with whole_file(output) as partial:
        try:
            found = asyncio.run(copy(url, partial, patience=patience, max_bytes=max_bytes))
        except TimeoutError as error:
            raise OSError(f"{url} gave less than {PACE} bytes in {patience:g} s; run it again") from error
        except aiohttp.ClientPayloadError as error:
            raise OSError(f"{url} broke off; run it again") from error
        except aiohttp.ClientError as error:
            raise FileNotFoundError(f"{url} gives no file: {error or type(error).__name__}") from error
        if sha256 and found != sha256:
            raise ValueError(f"{url} has the sha256 {found}, expected {sha256}")
    return found


async def copy(url: str, output: Path, *, patience: float, max_bytes: int) -> str:
    """Copy `url` to `output` and give its sha256."""
    digest = hashlib.sha256()
    clock = asyncio.get_running_loop().time
    num_bytes, num_due = 0, PACE
    async with asyncio.timeout(patience) as limit, opened(url) as source:
        limit.reschedule(clock() + patience)
        demand_room(url, output, source.num_bytes or 0, max_bytes=max_bytes)
        with output.open("wb") as file, tqdm(total=source.num_bytes, unit="B", unit_scale=True) as bar:
            async for chunk in source.chunks:
                file.write(chunk)
                digest.update(chunk)
                bar.update(len(chunk))
                num_bytes += len(chunk)
                if num_bytes >= num_due:
                    num_due = num_bytes + PACE
                    limit.reschedule(clock() + patience)
                if num_bytes > max_bytes:
                    raise OSError(f"{url} has more than {max_bytes} bytes")
    return digest.hexdigest()


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Source]:
    """What lies at `url`.

    Raises: FileNotFoundError if nothing does.
    """
    if url.startswith("file:"):
        path = Path(url2pathname(urlsplit(url).path))
        if not path.is_file():
            raise FileNotFoundError(f"{url} gives no file: there is none at {path}")
        yield Source(path.stat().st_size, read_chunks(path))
        return
    session = aiohttp.ClientSession(
        headers={"User-Agent": "vilbert/0.1", "Accept-Encoding": "identity"},
        timeout=aiohttp.ClientTimeout(total=None),
        auto_decompress=False,  # the digest is that of the published bytes
        trust_env=True,  # proxies, as curl takes them
    )
    async with session, session.get(url) as response:
        if response.status != 200:
            raise FileNotFoundError(f"{url} gives no file: {response.status} {storable(response.reason or '')}")
        yield Source(response.content_length, response.content.iter_chunked(CHUNK_SIZE))


async def read_chunks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_SIZE):
            yield chunk


def demand_room(url: str, output: Path, num_bytes: int, *, max_bytes: int) -> None:
    """Raises: OSError where so many bytes are too many, or too many for the disk."""
    if num_bytes > max_bytes:
        raise OSError(f"{url} has {num_bytes} bytes, more than {max_bytes}")
    if num_bytes > (free := shutil.disk_usage(output.parent).free):
        raise OSError(
            f"{url} has {num_bytes} bytes, the disk of {output.parent} has room for {free}; make room and start again"
        )


if __name__ == "__main__":
    run(main)
