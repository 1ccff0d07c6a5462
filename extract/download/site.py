"""A small web server on 127.0.0.1 for a folder of images: the drawn world's web, and every way in which a web fails.

`python -m extract.download.site SITE_DIR` serves by hand. The site's `behaviours.json` maps a path,
'/<host>/<path and query>', to the `Behaviour` that answers it; a path that it lacks is a 404.
"""

import asyncio
import json
import mimetypes
import socket
import struct
import time
from collections import Counter
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import unquote

import typer
from pydantic import BaseModel, ConfigDict, TypeAdapter

from extract.command import run
from extract.tables import reading

CHUNK = bytes(1 << 16)


class Behaviour(BaseModel):
    """How one path answers: with a file, a text or nothing, and what goes wrong on the way."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str | None = None  # relative to the site
    body: str | None = None
    content_type: str | None = None  # null: what the suffix of the file says
    status: int = 200
    headers: dict[str, str] = {}  # sent as they are; one that the server would send itself replaces it
    redirect: str | None = None  # a 302 to this location
    truncate: int | None = None  # bytes of the body that are sent, under the Content-Length of the whole
    cut: bool = False  # the connection is reset, nothing is sent
    hang: float = 0  # seconds before the answer
    drip: float = 0  # seconds between two bytes of the body
    huge: int = 0  # zero bytes sent as the body, with no Content-Length
    times: int | None = None  # requests that are answered so, before `then` holds
    then: "Behaviour | None" = None


MISSING = Behaviour(status=404, body="no such page", content_type="text/plain")


@dataclass
class Request:
    """A request that the site got: the path, and monotonic times in seconds."""

    path: str
    user_agent: str
    began: float
    ended: float | None = None  # null: under way, or the client went away
    bytes_sent: int = 0  # of the body

    @property
    def host(self) -> str:
        return self.path.split("/")[1]


class Site:
    """The server, as an asynchronous context: `async with Site(directory) as site: site.address`.

    Raises: ValueError if behaviours.json is malformed or missing.
    """

    def __init__(self, directory: Path, *, port: int = 0) -> None:
        """`port` 0: one that the system chooses."""
        self.requests: list[Request] = []
        self._directory = directory
        self._port = port
        self._behaviours = read_behaviours(directory / "behaviours.json")
        self._counts: Counter[str] = Counter()
        self._connections: set[asyncio.Task] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port, backlog=1024)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: requests one after another, until either side closes it."""
        connection = asyncio.current_task()
        assert connection is not None
        self._connections.add(connection)
        try:
            while await self._answer_next(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client went away, or the site closes
        finally:
            self._connections.discard(connection)
            writer.close()

    async def _answer_next(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Read one request and answer it. Returns: whether the connection may be used again."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        path = head.split(" ", 2)[1]
        request = Request(path, user_agent=_header(head, "user-agent"), began=time.monotonic())
        self.requests.append(request)
        behaviour = self._behaviour(path)
        if behaviour.hang:
            await asyncio.sleep(behaviour.hang)
        if behaviour.cut:
            _reset(writer)
        else:
            await self._send(behaviour, request, writer)
        request.ended = time.monotonic()
        return not behaviour.cut and behaviour.truncate is None and not behaviour.huge

    def _behaviour(self, path: str) -> Behaviour:
        name = path if path in self._behaviours else unquote(path)
        behaviour = self._behaviours.get(name, MISSING)
        self._counts[name] += 1
        num_before = self._counts[name] - 1
        while behaviour.times is not None and behaviour.then is not None and num_before >= behaviour.times:
            num_before -= behaviour.times
            behaviour = behaviour.then
        return behaviour

    async def _send(self, behaviour: Behaviour, request: Request, writer: asyncio.StreamWriter) -> None:
        body = (behaviour.body or "").encode()
        if behaviour.file is not None:
            body = (self._directory / behaviour.file).read_bytes()
        head = _head(behaviour, num_bytes=None if behaviour.huge else len(body))
        body = body[: behaviour.truncate]
        if behaviour.drip:
            writer.write(head)
            for position in range(len(body)):
                writer.write(body[position : position + 1])
                await writer.drain()
                request.bytes_sent += 1
                await asyncio.sleep(behaviour.drip)
        elif behaviour.huge:
            writer.write(head)
            while request.bytes_sent < behaviour.huge:
                writer.write(CHUNK)
                await writer.drain()
                request.bytes_sent += len(CHUNK)
        else:
            writer.write(head + body)
            await writer.drain()
            request.bytes_sent = len(body)


def read_behaviours(path: Path) -> dict[str, Behaviour]:
    """The behaviours of a site by path.

    Raises: ValueError for unknown keys and wrong types.
    """
    with reading(path):
        return TypeAdapter(dict[str, Behaviour]).validate_json(path.read_bytes())


def write_behaviours(directory: Path, behaviours: dict[str, dict]) -> None:
    """Make `directory` a site that answers so."""
    directory.mkdir(parents=True, exist_ok=True)
    text = json.dumps(behaviours, indent=1, sort_keys=True, ensure_ascii=False)
    (directory / "behaviours.json").write_text(text + "\n", encoding="utf-8")


def _head(behaviour: Behaviour, *, num_bytes: int | None) -> bytes:
    status = 302 if behaviour.redirect is not None else behaviour.status
    headers = {"Content-Type": behaviour.content_type or mimetypes.guess_type(behaviour.file or "")[0] or "text/html"}
    if num_bytes is not None:
        headers["Content-Length"] = str(num_bytes)
    if behaviour.redirect is not None:
        headers["Location"] = behaviour.redirect
    if num_bytes is None or behaviour.truncate is not None:
        headers["Connection"] = "close"
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Unknown"
    lines = [f"{name}: {value}" for name, value in (headers | behaviour.headers).items()]
    return "\r\n".join([f"HTTP/1.1 {status} {phrase}", *lines, "\r\n"]).encode("latin-1")


def _header(head: str, name: str) -> str:
    lines = (line.partition(":") for line in head.split("\r\n")[1:])
    return next((value.strip() for key, _, value in lines if key.lower() == name), "")


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close so that the client reads 'connection reset', not an end of the stream."""
    linger_for_nothing = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_for_nothing)
    writer.transport.abort()


async def _serve_forever(directory: Path, port: int) -> None:
    async with Site(directory, port=port) as site:
        print(site.address, flush=True)
        await asyncio.Event().wait()


def main(
    site: Annotated[Path, typer.Argument(help="folder with behaviours.json", exists=True, file_okay=False)],
    port: Annotated[int, typer.Option(help="0: one that is free")] = 0,
) -> None:
    """Serve a site on 127.0.0.1 until interrupted; its address is the first line printed."""
    try:
        asyncio.run(_serve_forever(site, port))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


if __name__ == "__main__":
    run(main)
