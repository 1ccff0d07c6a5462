"""One published file (a caption list, a tar, weights), fetched whole and checked.

python -m extract.download.published_file
"""

import hashlib
import urllib.error
import urllib.request
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from extract.command import run
from extract.tables import whole_file

CHUNK_SIZE = 1 << 20  # bytes


def main(url: str, output: Path, sha256: Annotated[str | None, typer.Option(help="that the file must have")] = None):
    """Copy what lies at an https:, http: or file: address to `output`, and print its sha256."""
    found = fetch_published_file(url, output, sha256=sha256)
    print(f"{output} has the sha256 {found}, {'as expected' if sha256 else 'which was not checked'}")


def fetch_published_file(url: str, output: Path, *, sha256: str | None) -> str:
    """Copy `url` to `output`, whole or not at all; give its sha256.

    Raises: ValueError if the scheme is another or the digest is not `sha256`; FileNotFoundError, OSError if `url`
        gives no file.
    """
    if not url.startswith(("https:", "http:", "file:")):
        raise ValueError(f"address '{url}' has no scheme; write https://... or file:///absolute/path")
    digest = hashlib.sha256()
    request = urllib.request.Request(url, headers={"User-Agent": "vilbert"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response, whole_file(output) as partial:
            size = int(response.headers.get("Content-Length") or 0)
            with partial.open("wb") as file, tqdm(total=size, unit="B", unit_scale=True, desc=output.name) as bar:
                while chunk := response.read(CHUNK_SIZE):
                    file.write(chunk)
                    digest.update(chunk)
                    bar.update(len(chunk))
            if size and bar.n != size:
                raise OSError(f"{url} broke off after {bar.n} of {size} bytes; run it again")
            if sha256 and digest.hexdigest() != sha256:
                raise ValueError(f"{url} has the sha256 {digest.hexdigest()}, expected {sha256}")
    except urllib.error.URLError as error:
        raise FileNotFoundError(f"{url} gives no file: {error.reason}") from error
    return digest.hexdigest()


if __name__ == "__main__":
    run(main)
