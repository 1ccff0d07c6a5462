"""Why an image did not arrive: the one list of codes that the images table, the statistics and the journal use."""

from enum import StrEnum
from typing import Literal

MAX_DETAIL = 1_000  # characters
Status = Literal["success", "failed_to_download", "failed_to_resize", "skipped"]


class DownloadReason(StrEnum):
    """The code of a failure, `error_message` in the images table."""

    # never asked for
    CAPTION_DROPPED = "caption_dropped"  # a caption rule dropped every row that has the url
    NOT_FETCHED = "not_fetched"  # found later: a row that is kept now was dropped when the download ran
    NO_IMAGE = "no_image"  # a sample of a webdataset tar that holds none
    MALFORMED_SAMPLE = "malformed_sample"  # of such a tar: its json is none, or holds no text as caption or url
    NO_FILE = "no_file"  # a file of a folder that is not there, or may not be read
    OUTSIDE_FOLDER = "outside_folder"  # a file that a csv names by a path which leaves the folder of the pictures
    DUPLICATE_ROW = "duplicate_row"  # of a csv: an earlier row has the same file and caption
    INVALID_URL = "invalid_url"
    UNSUPPORTED_SCHEME = "unsupported_scheme"  # neither http nor https
    PRIVATE_ADDRESS = "private_address"  # of this machine or its network, not of the internet
    ROBOTS_DISALLOWED = "robots_disallowed"  # by the host's robots.txt
    # no answer
    DNS_FAILURE = "dns_failure"  # there is no such name
    DNS_UNAVAILABLE = "dns_unavailable"  # the name server did not say
    CONNECTION_REFUSED = "connection_refused"
    UNREACHABLE = "unreachable"
    TLS_FAILURE = "tls_failure"
    CONNECTION_RESET = "connection_reset"
    TIMED_OUT = "timed_out"
    BAD_RESPONSE = "bad_response"  # not HTTP
    # an answer without an image
    TOO_MANY_REDIRECTS = "too_many_redirects"
    RATE_LIMITED = "rate_limited"  # 429
    HTTP_400 = "http_400"
    HTTP_401 = "http_401"
    HTTP_403 = "http_403"
    HTTP_404 = "http_404"
    HTTP_405 = "http_405"
    HTTP_406 = "http_406"
    HTTP_410 = "http_410"
    HTTP_4XX = "http_4xx"  # any other
    HTTP_500 = "http_500"
    HTTP_502 = "http_502"
    HTTP_503 = "http_503"
    HTTP_504 = "http_504"
    HTTP_5XX = "http_5xx"  # any other
    HTTP_OTHER = "http_other"  # neither 200 nor an error, such as 204
    OPTED_OUT = "opted_out"  # X-Robots-Tag
    TOO_MANY_BYTES = "too_many_bytes"
    INCOMPLETE_BODY = "incomplete_body"  # the connection ended before Content-Length bytes had come
    # bytes that are no good image
    NOT_AN_IMAGE = "not_an_image"  # html under .jpg, an unknown format
    TOO_MANY_PIXELS = "too_many_pixels"
    TRUNCATED_IMAGE = "truncated_image"
    UNDECODABLE_IMAGE = "undecodable_image"
    TOO_COSTLY_IMAGE = "too_costly_image"  # to decode: time, memory, or scans of a JPEG

    @property
    def is_retried(self) -> bool:
        """Whether asking again within seconds can help: time-out, reset, 429, 5xx, a name server that is away."""
        return self.startswith("http_5") or self in {
            DownloadReason.DNS_UNAVAILABLE,
            DownloadReason.TIMED_OUT,
            DownloadReason.CONNECTION_RESET,
            DownloadReason.INCOMPLETE_BODY,
            DownloadReason.RATE_LIMITED,
        }

    @property
    def is_passing(self) -> bool:
        """Whether another run, on another day or another network, may well get the image."""
        return self.is_retried or self in {
            DownloadReason.DNS_FAILURE,
            DownloadReason.CONNECTION_REFUSED,
            DownloadReason.UNREACHABLE,
            DownloadReason.TLS_FAILURE,
        }

    @property
    def status(self) -> Status:
        """The stage at which img2dataset would say that it failed."""
        if self in {DownloadReason.CAPTION_DROPPED, DownloadReason.NOT_FETCHED}:
            return "skipped"
        if self in {
            DownloadReason.NOT_AN_IMAGE,
            DownloadReason.TOO_MANY_PIXELS,
            DownloadReason.TRUNCATED_IMAGE,
            DownloadReason.UNDECODABLE_IMAGE,
            DownloadReason.TOO_COSTLY_IMAGE,
        }:
            return "failed_to_resize"
        return "failed_to_download"


class DownloadFailure(Exception):  # noqa: N818 - it is what happened to a row, not an error of the program
    """An image that will not arrive: the reason and the value behind it."""

    def __init__(self, reason: DownloadReason, detail: str, *, retry_after: float | None = None) -> None:
        """`retry_after`: seconds that the server wants us to wait, null if it does not say."""
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = storable(detail)
        self.retry_after = retry_after


def storable(detail: str) -> str:
    """A text of a stranger that any table, file or terminal takes: valid Unicode, printable, of at most MAX_DETAIL
    characters. Bytes that aiohttp could not read as UTF-8 are read as Latin-1, in which old servers write."""
    detail = "".join(chr(ord(char) - 0xDC00) if "\udc80" <= char <= "\udcff" else char for char in detail[:MAX_DETAIL])
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in detail)


def opted_out(tags: str) -> DownloadFailure:
    return DownloadFailure(DownloadReason.OPTED_OUT, f"X-Robots-Tag: {tags}")


def too_many_bytes(detail: str) -> DownloadFailure:
    return DownloadFailure(DownloadReason.TOO_MANY_BYTES, detail)


def too_many_pixels(width: int, height: int, *, limit: int) -> DownloadFailure:
    return DownloadFailure(DownloadReason.TOO_MANY_PIXELS, f"{width} x {height}, at most {limit}")


def too_costly(detail: str) -> DownloadFailure:
    return DownloadFailure(DownloadReason.TOO_COSTLY_IMAGE, detail)


def http_reason(status: int) -> DownloadReason:
    """The reason for an answer that is neither 200 nor a redirect."""
    if status == 429:
        return DownloadReason.RATE_LIMITED
    if (code := f"http_{status}") in set(DownloadReason):
        return DownloadReason(code)
    return {4: DownloadReason.HTTP_4XX, 5: DownloadReason.HTTP_5XX}.get(status // 100, DownloadReason.HTTP_OTHER)
