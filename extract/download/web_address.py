"""Addresses of the web: which text is one, which of them are not for us, and where a mirror has them."""

import ipaddress
import re
import socket
from urllib.parse import urljoin

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from extract.reasons import DownloadFailure, DownloadReason

AS_IT_CAME = re.compile(r"https?://[A-Za-z0-9.-]+(:\d+)?(/[A-Za-z0-9._~:/?@!$&'()*+,;=%-]*)?", re.IGNORECASE)
CONTROL = re.compile(r"[\x00-\x20\x7f]")


class PrivateAddressError(OSError):
    """A name that leads to this machine or its network."""


class PublicResolver(AbstractResolver):
    """Looks names up and refuses those of private addresses. The connection is made to the very address that was
    looked at, so a name that answers differently the second time (DNS rebinding) gains nothing."""

    def __init__(self) -> None:
        self._resolver = ThreadedResolver()
        self._missing: dict[str, OSError] = {}  # names that do not exist, which nobody else remembers

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if host in self._missing:
            raise self._missing[host]
        try:
            results = await self._resolver.resolve(host, port, family)
        except OSError as error:
            self._missing[host] = error
            raise
        for result in results:
            if not is_public(result["host"]):
                raise PrivateAddressError(f"{host} is {result['host']}")
        return results

    async def close(self) -> None:
        await self._resolver.close()


def is_public(ip_address: str) -> bool:
    """Whether an address is of the internet: not loopback, private, link-local, multicast, reserved, or one of these
    written as IPv6."""
    address = ipaddress.ip_address(ip_address.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        if address in ipaddress.ip_network("64:ff9b::/96"):  # NAT64
            address = ipaddress.ip_address(address.packed[12:])
        else:
            address = address.ipv4_mapped or address.sixtofour or address
    return address.is_global and not address.is_multicast


def parse_address(text: str, *, allow_private: bool) -> URL:
    """The address that `text` stands for, quoted only where it must be: signed urls do not survive more.

    Raises: DownloadFailure for what is no http address, and for private ones that the text itself shows.
    """
    text = text.strip().partition("#")[0]
    if CONTROL.search(text):
        raise DownloadFailure(DownloadReason.INVALID_URL, text)
    try:
        address = URL(text, encoded=AS_IT_CAME.fullmatch(text) is not None)
        host, port = address.host, address.port
    except (ValueError, UnicodeError) as error:
        raise DownloadFailure(DownloadReason.INVALID_URL, text) from error
    if address.scheme not in {"http", "https"}:
        reason = DownloadReason.UNSUPPORTED_SCHEME if address.scheme else DownloadReason.INVALID_URL
        raise DownloadFailure(reason, text)
    if not host or port is None or any(not 0 < len(label) < 64 for label in host.rstrip(".").split(".")):
        raise DownloadFailure(DownloadReason.INVALID_URL, text)
    if not allow_private and _shows_private(host):
        raise DownloadFailure(DownloadReason.PRIVATE_ADDRESS, host)
    return address


def follow_location(address: URL, location: str, *, allow_private: bool) -> URL:
    """The address to which `address` redirects.

    Raises: DownloadFailure as `parse_address` does.
    """
    try:
        text = urljoin(str(address), location)
    except ValueError as error:
        raise DownloadFailure(DownloadReason.INVALID_URL, location) from error
    return parse_address(text, allow_private=allow_private)


def mirrored(address: URL, mirror: str) -> URL:
    """Where `mirror` has `address`: the real host is the first segment of the path."""
    host = (address.raw_host or "").lower()
    authority = host if address.is_default_port() else f"{host}:{address.port}"
    return URL(f"{mirror.rstrip('/')}/{authority}{address.raw_path_qs}", encoded=True)


def _shows_private(host: str) -> bool:
    if host.lower().rstrip(".").split(".")[-1] == "localhost":
        return True
    try:
        return not is_public(host)
    except ValueError:  # a name: the resolver will see
        return False
