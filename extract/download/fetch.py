"""One image's bytes from the web: asked for politely, followed, bounded, and tried again only where that can help."""

import asyncio
import random
import re
import socket
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple, TypeVar

import aiohttp
from yarl import URL

from extract.download.politeness import Politeness
from extract.download.robots import MAX_FILE_BYTES, RobotsCache
from extract.download.web_address import (
    NO_SUCH_NAME,
    PrivateAddressError,
    Resolver,
    follow_location,
    mirrored,
    parse_address,
)
from extract.reasons import DownloadFailure, DownloadReason, http_reason, opted_out, too_many_bytes
from extract.settings import DownloadSettings

MAX_REDIRECTS = 5
CHUNK_SIZE = 1 << 16  # bytes
OPT_OUTS = frozenset({"noai", "noimageai", "noindex", "noimageindex"})
NUMBER = re.compile(r"\s*[0-9]+\s*")
REDIRECTS = frozenset({301, 302, 303, 307, 308})


def open_session(settings: DownloadSettings) -> aiohttp.ClientSession:
    """A session that names us, keeps no cookies, and reaches no private address unless the settings allow it."""
    is_free = settings.allow_private_addresses or settings.mirror is not None
    connector = aiohttp.TCPConnector(
        limit=settings.connections, resolver=Resolver(allow_private=is_free), ttl_dns_cache=300
    )
    contact = f" (+{settings.contact})" if settings.contact else ""
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": f"vilbert/0.1{contact}", "Accept": "image/*, text/plain;q=0.1"},
        timeout=aiohttp.ClientTimeout(total=None),
        auto_decompress=True,
        max_line_size=1 << 15,
        max_field_size=1 << 15,
    )


Taken = TypeVar("Taken")


class Answer(NamedTuple):
    """What lies at a url."""

    data: bytes
    opt_out: str  # what its X-Robots-Tag asks for; '': nothing


class Fetcher:
    """Fetches urls with one session and one set of manners.

    Args:
        mirror: address of the server that is asked for everything; None: each url's own.
    """

    def __init__(self, session: aiohttp.ClientSession, settings: DownloadSettings, *, mirror: str | None) -> None:
        self.session, self.settings, self.mirror = session, settings, mirror
        self.politeness = Politeness(
            connections=settings.connections,
            connections_per_host=settings.connections_per_host,
            gap_per_host=settings.gap_per_host,
        )
        self.robots = RobotsCache(lambda address: self._follow(address, self._take_robots, asks_robots=False))

    async def fetch(self, url: str) -> Answer:
        """What lies at `url`.

        Raises: DownloadFailure with the reason of the last try.
        """
        address = parse_address(url, allow_private=self.settings.allow_private_addresses)
        jitter = random.Random(url)
        for attempt in range(1, self.settings.tries + 1):
            try:
                return await self._follow(address, self._take_image, asks_robots=self.settings.honour_robots_txt)
            except DownloadFailure as failure:
                if not failure.reason.is_retried or attempt == self.settings.tries:
                    raise
                wait = self.settings.backoff * 2 ** (attempt - 1) * (0.5 + jitter.random())
                if failure.retry_after is not None:
                    if failure.retry_after > self.settings.max_retry_after:
                        raise
                    wait = max(wait, failure.retry_after)
                    self.politeness.pause(address.raw_host or "", seconds=failure.retry_after)
            await asyncio.sleep(wait)
        raise AssertionError("the last try returns or raises")

    async def _follow(
        self, address: URL, take: Callable[[aiohttp.ClientResponse], Awaitable[Taken]], *, asks_robots: bool
    ) -> Taken:
        """What `take` makes of the answer at the end of the redirects."""
        for _ in range(MAX_REDIRECTS + 1):
            if asks_robots and not await self.robots.allows(address):
                raise DownloadFailure(DownloadReason.ROBOTS_DISALLOWED, str(address))
            async with self.politeness.turn(address.raw_host or ""):
                answer = await self._ask(address, take)
            if not isinstance(answer, URL):
                return answer
            address = answer
        raise DownloadFailure(DownloadReason.TOO_MANY_REDIRECTS, f"more than {MAX_REDIRECTS}, last to {address}")

    async def _ask(self, address: URL, take: Callable[[aiohttp.ClientResponse], Awaitable[Taken]]) -> Taken | URL:
        """What `take` makes of the answer, or where it is instead."""
        target = mirrored(address, self.mirror) if self.mirror else address
        try:
            async with (
                asyncio.timeout(self.settings.timeout),
                self.session.get(target, allow_redirects=False) as response,
            ):
                if response.status in REDIRECTS and (location := response.headers.get("Location")):
                    return follow_location(address, location, allow_private=self.settings.allow_private_addresses)
                if response.status != 200:
                    raise DownloadFailure(
                        http_reason(response.status),
                        f"{response.status} {response.reason or ''}".strip(),
                        retry_after=retry_after(response.headers.get("Retry-After")),
                    )
                return await take(response)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise _connection_failure(error) from error

    async def _take_robots(self, response: aiohttp.ClientResponse) -> str:
        """The text, as far as it is read."""
        body = bytearray()
        async for chunk in response.content.iter_chunked(CHUNK_SIZE):
            body += chunk
            if len(body) >= MAX_FILE_BYTES:
                response.close()
                break
        return body[:MAX_FILE_BYTES].decode("utf-8-sig", errors="replace")

    async def _take_image(self, response: aiohttp.ClientResponse) -> Answer:
        """Raises: DownloadFailure for an image that may not be taken, or is too large."""
        opt_out = self._demand_permission(response)
        return Answer(await self._read(response), opt_out)

    def _demand_permission(self, response: aiohttp.ClientResponse) -> str:
        """What the answer asks not to be done with it, where that is not honoured.

        Raises: DownloadFailure where it is.
        """
        tags = ",".join(response.headers.getall("X-Robots-Tag", []))
        said = ", ".join(sorted({tag.rpartition(":")[2].strip().lower() for tag in tags.split(",")} & OPT_OUTS))
        if said and self.settings.honour_opt_out:
            raise opted_out(said)
        return said

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        limit = self.settings.max_bytes
        if (response.content_length or 0) > limit:
            raise too_many_bytes(f"{response.content_length}, at most {limit}")
        body = bytearray()
        async for chunk in response.content.iter_chunked(CHUNK_SIZE):
            body += chunk
            if len(body) > limit:
                response.close()
                raise too_many_bytes(f"more than {limit}")
        return bytes(body)


def retry_after(text: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, as a number or as a date; None for none or nonsense."""
    if text is None:
        return None
    if NUMBER.fullmatch(text):
        return float(text)  # inf for one of a thousand digits
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(0.0, (moment - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError):  # the latter: a zone of millions of years
        return None


def _connection_failure(error: Exception) -> DownloadFailure:
    """What a failed connection means; the cause that aiohttp wraps counts."""
    cause = getattr(error, "os_error", None) or error.__cause__
    detail = f"{type(error).__name__}: {error}"
    if isinstance(cause, PrivateAddressError):
        return DownloadFailure(DownloadReason.PRIVATE_ADDRESS, str(cause))
    if isinstance(cause, socket.gaierror) and cause.errno not in NO_SUCH_NAME:
        return DownloadFailure(DownloadReason.DNS_UNAVAILABLE, detail)
    for kinds, reason in FAILURES:
        if isinstance(error, kinds) or isinstance(cause, kinds):
            return DownloadFailure(reason, detail)
    return DownloadFailure(DownloadReason.UNREACHABLE, detail)


# In this order: the first kind that fits.
FAILURES: tuple[tuple[tuple[type[BaseException], ...], DownloadReason], ...] = (
    ((TimeoutError,), DownloadReason.TIMED_OUT),
    ((aiohttp.ClientConnectorDNSError,), DownloadReason.DNS_FAILURE),
    ((aiohttp.ClientSSLError, ssl.SSLError, ssl.CertificateError), DownloadReason.TLS_FAILURE),
    ((ConnectionRefusedError,), DownloadReason.CONNECTION_REFUSED),
    ((aiohttp.ClientConnectorError,), DownloadReason.UNREACHABLE),
    ((aiohttp.ClientPayloadError,), DownloadReason.INCOMPLETE_BODY),
    ((aiohttp.ServerDisconnectedError, ConnectionError, aiohttp.ClientOSError), DownloadReason.CONNECTION_RESET),
    ((aiohttp.InvalidURL,), DownloadReason.INVALID_URL),
    ((aiohttp.ClientResponseError, aiohttp.ClientError, ValueError), DownloadReason.BAD_RESPONSE),
)
