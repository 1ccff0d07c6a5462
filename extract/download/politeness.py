"""How often the hosts are asked: so many requests at once, and a gap between two of them, for each host."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass


@dataclass
class _Host:
    slots: asyncio.Semaphore
    free_at: float = 0.0  # of the loop's clock, seconds


class Politeness:
    """Gives out turns to make a request.

    Who waits for a host holds none of the connections, so that a slow or strict host delays nobody but itself.
    """

    def __init__(self, *, connections: int, connections_per_host: int, gap_per_host: float) -> None:
        self._connections = asyncio.Semaphore(connections)
        self._connections_per_host = connections_per_host
        self._gap_per_host = gap_per_host
        self._hosts: dict[str, _Host] = {}

    @asynccontextmanager
    async def turn(self, host: str) -> AsyncIterator[None]:
        """Wait until `host` may be asked; the request is made inside the block."""
        clock = asyncio.get_running_loop().time
        place = self._place(host)
        async with place.slots:
            while True:
                if (wait := place.free_at - clock()) > 0:
                    await asyncio.sleep(wait)
                async with self._connections:
                    if place.free_at > clock():  # another request went first
                        continue
                    place.free_at = clock() + self._gap_per_host
                    yield
                    return

    def pause(self, host: str, *, seconds: float) -> None:
        """Ask `host` nothing for a while, because it said so."""
        place = self._place(host)
        place.free_at = max(place.free_at, asyncio.get_running_loop().time() + seconds)

    def _place(self, host: str) -> _Host:
        if host not in self._hosts:
            self._hosts[host] = _Host(asyncio.Semaphore(self._connections_per_host))
        return self._hosts[host]
