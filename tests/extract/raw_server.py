"""A server on 127.0.0.1 that sends whatever bytes it is told to, for answers that no proper server gives."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

IMAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nimage"


@dataclass
class RawServer:
    """Its port, and the request lines that it got."""

    port: int
    lines: list[bytes] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def answering(answer: bytes | Callable[[bytes, socket.socket], None]) -> Iterator[RawServer]:
    """A server that gives each connection one answer: these bytes, or what a function of the path and socket sends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = RawServer(listener.getsockname()[1])

        def serve() -> None:
            while True:
                try:
                    client = listener.accept()[0]
                except OSError:  # the test is over
                    return
                with client:
                    try:
                        line = client.recv(1 << 16).split(b"\r\n")[0]
                        if not line:
                            continue
                        server.lines.append(line)
                        if callable(answer):
                            answer(line.split(b" ")[1], client)
                        else:
                            client.sendall(answer)
                    except OSError:
                        continue  # the client went away

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
