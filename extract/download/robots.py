"""robots.txt: what a host asks robots not to fetch.

Source: RFC 9309, read by protego, which looks for wildcards without going back.
"""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from protego import Protego
from yarl import URL

from extract.reasons import DownloadFailure

ROBOT = "vilbert"  # the product token by which we are called in the files
MAX_FILE_BYTES = 500 << 10  # what is behind them is not read, RFC 9309, section 2.5
MAX_REMEMBERED = 4 << 20  # characters of all files; protego makes up to fifty bytes of each
AGENT_LINE = re.compile(r"\s*user[ -]?agent\b[\s:]*(?P<name>[^\s#/]*)", re.IGNORECASE)


class RobotsCache:
    """What the hosts allow; each is asked once, and again when its file was forgotten for those of others."""

    def __init__(self, read: Callable[[URL], Awaitable[str]]) -> None:
        """`read`: gives the text at an address, or raises DownloadFailure."""
        self._read = read
        self._asked: dict[URL, asyncio.Task[Protego]] = {}  # now, by origin
        self._known: OrderedDict[URL, tuple[Protego, int]] = OrderedDict()  # with its characters, latest use last
        self._num_characters = 0

    async def allows(self, address: URL) -> bool:
        """Whether `address` may be asked for.

        Raises: DownloadFailure where the host does not say so now.
        """
        origin = address.origin()
        if origin in self._known:
            self._known.move_to_end(origin)
            return self._known[origin][0].can_fetch(str(address), ROBOT)
        if origin not in self._asked:
            self._asked[origin] = asyncio.create_task(self._ask(origin))
        return (await asyncio.shield(self._asked[origin])).can_fetch(str(address), ROBOT)

    async def _ask(self, origin: URL) -> Protego:
        try:
            text = await self._read(origin.with_path("/robots.txt"))
        except DownloadFailure as failure:
            if failure.reason.is_passing:  # 5xx, 429, no answer: nothing may be fetched until it answers
                raise DownloadFailure(
                    failure.reason, f"robots.txt: {failure.detail}", retry_after=failure.retry_after
                ) from failure
            text = ""  # 4xx, or no file behind all redirects: there are no rules
        finally:
            del self._asked[origin]
        rules = parse_robots(text)
        self._remember(origin, rules, num_characters=len(text) + 1)
        return rules

    def _remember(self, origin: URL, rules: Protego, *, num_characters: int) -> None:
        self._known[origin] = rules, num_characters
        self._num_characters += num_characters
        while self._num_characters > MAX_REMEMBERED:
            _, (_, forgotten) = self._known.popitem(last=False)
            self._num_characters -= forgotten


def parse_robots(text: str) -> Protego:
    """The rules. Those for other robots are thrown together: protego would keep each rule once a robot."""
    return Protego.parse("\n".join(_for_us_or_another(line) for line in text.splitlines()))


def _for_us_or_another(line: str) -> str:
    match = AGENT_LINE.match(line)
    if match is None:
        return line
    return f"user-agent: {match['name'] if match['name'].lower() in {'*', ROBOT} else 'another'}"
