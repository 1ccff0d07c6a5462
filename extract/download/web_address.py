"""Addresses of the web: which text is one, which of them are not for us, and where a mirror has them."""

import asyncio
import ipaddress
import re
import socket
from urllib.parse import quote, urljoin

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from extract.reasons import DownloadFailure, DownloadReason

MAX_PATH = 8_000  # characters; servers take 8,190, and a robots.txt has 40,000 patterns to look for in them
HTTP_URL = re.compile(r"(https?)://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)  # scheme, authority, the rest
SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
NEVER_PUBLISHED = re.compile(r"[\x00-\x1f\x7f\ufffd]")  # U+FFFD stands for bytes that are lost
OF_A_PATH = "/?:@!$&'()*+,;=%"  # as RFC 3986 has it, with %, by which the publisher quoted what is quoted already
HOST_NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*", re.IGNORECASE)
NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)", re.IGNORECASE)  # what no name ends in
NAT64 = ipaddress.ip_network("64:ff9b::/96")
GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")  # all of IPv6 that has been given to anybody
NO_SUCH_NAME = {socket.EAI_NONAME, socket.EAI_NODATA, socket.EAI_ADDRFAMILY}


class PrivateAddressError(OSError):
    """A name that leads to this machine or its network."""


class Resolver(AbstractResolver):
    """Looks names up, and refuses those of private addresses unless they are allowed.

    The connection is made to the very address that was looked at, so a name that answers differently the second time
    (DNS rebinding) gains nothing. Names that do not exist are remembered for a while, as aiohttp does of those that do;
    a name server that does not answer is asked again.
    """

    def __init__(self, *, allow_private: bool, missing_for: float = 300) -> None:
        """`missing_for`: seconds for which a name that does not exist is not looked up again."""
        self._resolver = ThreadedResolver()  # of aiohttp's two the one that says what kind of failure it was
        self._allow_private = allow_private
        self._missing_for = missing_for
        self._missing: dict[str, tuple[float, str]] = {}  # by name: until when, and the message

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        clock = asyncio.get_running_loop().time
        until, message = self._missing.get(host, (0.0, ""))
        if clock() < until:
            raise socket.gaierror(socket.EAI_NONAME, message)
        try:
            results = await self._resolver.resolve(host, port, family)
        except socket.gaierror as error:
            if error.errno in NO_SUCH_NAME:
                self._missing[host] = clock() + self._missing_for, error.strerror or ""
            raise
        if not self._allow_private:
            for result in results:
                if not is_public(result["host"]):
                    raise PrivateAddressError(f"{host} is {result['host']}")
        return results

    async def close(self) -> None:
        await self._resolver.close()


def is_public(ip_address: str) -> bool:
    """Whether an address is of the internet: not loopback, private, link-local, multicast, reserved, or one of these
    written as IPv6.

    Raises: ValueError for what is no address.
    """
    address = ipaddress.ip_address(ip_address.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        if address in NAT64:
            address = ipaddress.ip_address(address.packed[12:])
        else:
            address = address.ipv4_mapped or address.sixtofour or address
    if isinstance(address, ipaddress.IPv6Address) and address not in GLOBAL_UNICAST:
        return False
    return address.is_global and not address.is_multicast


def parse_address(text: str, *, allow_private: bool) -> URL:
    """The address that `text` stands for, as it was published: what a url cannot hold, such as a blank, is quoted,
    nothing is unquoted or quoted twice, as signed urls do not survive that.

    Raises: DownloadFailure for what is no http address, and for private ones that the text itself shows.
    """
    text = text.strip().partition("#")[0]
    match = HTTP_URL.fullmatch(text)
    if not match:
        reason = DownloadReason.UNSUPPORTED_SCHEME if SCHEME.match(text) else DownloadReason.INVALID_URL
        raise DownloadFailure(reason, text)
    scheme, authority, rest = match.groups()
    try:
        if NEVER_PUBLISHED.search(text):
            raise ValueError("a character that no url has")
        origin = _with_plain_host(URL(f"{scheme.lower()}://{authority}"))
        path = quote(rest if rest.startswith("/") else f"/{rest}", safe=OF_A_PATH, errors="surrogateescape")
        if len(path) > MAX_PATH:
            raise ValueError(f"a path of {len(path)} characters")
    except ValueError as error:
        raise DownloadFailure(DownloadReason.INVALID_URL, text) from error
    address = URL(f"{scheme.lower()}://{origin.raw_authority}{path}", encoded=True)
    if not allow_private and _shows_private(address.raw_host or ""):
        raise DownloadFailure(DownloadReason.PRIVATE_ADDRESS, f"{authority} is {address.raw_host}")
    return address


def follow_location(address: URL, location: str, *, allow_private: bool) -> URL:
    """The address to which `address` redirects.

    Raises: DownloadFailure as `parse_address` does.
    """
    location = location.strip()
    try:
        text = location if HTTP_URL.match(location) else urljoin(str(address), location)
    except ValueError as error:
        raise DownloadFailure(DownloadReason.INVALID_URL, location) from error
    return parse_address(text, allow_private=allow_private)


def mirrored(address: URL, mirror: str) -> URL:
    """Where `mirror` has `address`: the real host is the first segment of the path."""
    host = (address.raw_host or "").lower()
    authority = host if address.is_default_port() else f"{host}:{address.port}"
    return URL(f"{mirror.rstrip('/')}/{authority}{address.raw_path_qs}", encoded=True)


def _with_plain_host(origin: URL) -> URL:
    """The same origin; an IPv4 address that is spelled otherwise, such as 127.1, 0x7f.1 or 2130706433, in four numbers.

    Whoever connects would read such a spelling as the address that it is, without asking any resolver.
    Raises: ValueError for a host that is neither an address nor a name.
    """
    host = (origin.raw_host or "").removesuffix(".")
    if ":" in host:
        return origin.with_host(str(ipaddress.IPv6Address(host)))
    if not HOST_NAME.fullmatch(host):
        raise ValueError(f"host '{host}'")
    if NUMBER.fullmatch(host):
        try:
            return origin.with_host(socket.inet_ntoa(socket.inet_aton(host)))
        except OSError as error:
            raise ValueError(f"host '{host}'") from error
    return origin


def _shows_private(host: str) -> bool:
    if host.removesuffix(".").rpartition(".")[2] == "localhost":
        return True
    try:
        return not is_public(host)
    except ValueError:  # a name: the resolver will see
        return False
