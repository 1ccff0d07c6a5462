"""One url at a time, against answers that no proper server gives."""

import asyncio
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from raw_server import IMAGE, answering

from extract.download.fetch import Answer, Fetcher, open_session, retry_after
from extract.download.web_address import Resolver
from extract.reasons import MAX_DETAIL, DownloadFailure, storable
from extract.settings import DownloadSettings


@pytest.fixture
def fetch(download_settings):
    """A function from urls to what each gave; changes of the settings by keyword. Private addresses are allowed."""

    def fetched(*urls: str, **changes) -> list[Answer | DownloadFailure]:
        values = {**download_settings, "allow_private_addresses": True, "honour_robots_txt": False, **changes}
        return asyncio.run(fetch_each(urls, DownloadSettings.model_validate(values)))

    return fetched


async def fetch_each(
    urls: tuple[str, ...], manners: DownloadSettings, *, mirror: str | None = None
) -> list[Answer | DownloadFailure]:
    async with open_session(manners) as session:
        fetcher = Fetcher(session, manners, mirror=mirror)
        outcomes = []
        for url in urls:
            try:
                outcomes.append(await fetcher.fetch(url))
            except DownloadFailure as failure:
                outcomes.append(failure)
        return outcomes


@pytest.mark.parametrize(
    ("head", "reason", "detail"),
    [
        (b"HTTP/1.1 404 Non trouv\xe9", "http_404", "404 Non trouvé"),
        (b"HTTP/1.1 404 Non trouv\xc3\xa9", "http_404", "404 Non trouvé"),
        (b"HTTP/1.1 404 \x1b[31m", "http_404", r"404 \x1b[31m"),
        (b"HTTP/1.1 403 " + b"a" * 9_000, "http_403", f"403 {'a' * (MAX_DETAIL - 4)}"),
        (b"HTTP/1.1 503 x\r\nRetry-After: Wed, 21 Oct 2015 07:28:00 +99999999", "http_503", "503 x"),
        (b"HTTP/1.1 503 x\r\nRetry-After: Wed, 21 Oct 2015 07:28:00 +99999999999999", "http_503", "503 x"),
        (b"HTTP/1.1 503 x\r\nRetry-After: Fri, 31 Dec 9999 23:59:59 -2300", "http_503", "503 x"),
        (b"HTTP/1.1 503 x\r\nRetry-After: \xc2\xb2", "http_503", "503 x"),
        (b"HTTP/1.1 503 x\r\nRetry-After: " + b"9" * 5_000, "http_503", "503 x"),
        (b"HTTP/1.1 200 x\r\nX-Robots-Tag: \xff\xfe, a: NoAI ", "opted_out", "X-Robots-Tag: noai"),
        (b"HTTP/1.1 302 x\r\nLocation: http://[::1", "invalid_url", "http://[::1"),
        (b"HTTP/1.1 302 x\r\nLocation: http://caf\xe9%", "invalid_url", "http://café%"),
        (b"HTTP/1.1 302 x\r\nLocation: gopher://old.example/", "unsupported_scheme", "gopher://old.example/"),
        (b"HTTP/1.1 302 x\r\nLocation:", "http_other", "302 x"),
        (b"ICY 200 OK", "bad_response", None),
    ],
)
def test_whatever_a_head_says_it_is_a_reason_that_a_table_can_hold(fetch, head, reason, detail):
    with answering(head + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n") as server:
        (failure,) = fetch(f"{server.address}/a.jpg", tries=1)
    assert failure.reason == reason
    assert detail is None or failure.detail == detail
    assert failure.detail.encode()


def test_a_url_is_asked_for_as_it_was_published(fetch):
    """A blank, a bar and Chinese are quoted; what the publisher quoted or signed stays as it is."""
    paths = {
        "/my image.jpg": "/my%20image.jpg",
        "/my%20image.jpg": "/my%20image.jpg",
        "/a|b.jpg?x=%2F%2B&y=a+b": "/a%7Cb.jpg?x=%2F%2B&y=a+b",
        "/é%2Fx.jpg?sig=ab%2Bc%3D": "/%C3%A9%2Fx.jpg?sig=ab%2Bc%3D",
        "/港.jpg": "/%E6%B8%AF.jpg",
        "/a%zz.jpg?50%": "/a%zz.jpg?50%",
        "/a/../b//c.jpg;d=1": "/a/../b//c.jpg;d=1",
        "/[1].jpg#top": "/%5B1%5D.jpg",
        '/"a".jpg': "/%22a%22.jpg",
        "?id=7": "/?id=7",
        "": "/",
    }
    with answering(IMAGE) as server:
        answers = fetch(*(server.address + path for path in paths))
    assert [answer.data for answer in answers] == [b"image"] * len(paths)
    assert [line.split(b" ")[1].decode() for line in server.lines] == list(paths.values())


@pytest.mark.parametrize(
    ("location", "asked"),
    [
        (b"/my image.jpg", "/my%20image.jpg"),
        (b" /a.jpg ", "/a.jpg"),
        ("/café.jpg".encode(), "/caf%C3%A9.jpg"),
        (b"/caf\xe9.jpg", "/caf%E9.jpg"),
        (b"/a|b?x=%2F#top", "/a%7Cb?x=%2F"),
        (b"?page=2", "/old/a.jpg?page=2"),
        (b"../new.jpg", "/new.jpg"),
    ],
)
def test_a_redirect_is_followed_as_it_was_written(fetch, location, asked):
    def answer(path: bytes, client: socket.socket) -> None:
        moved = b"HTTP/1.1 302 x\r\nContent-Length: 0\r\nConnection: close\r\nLocation: " + location + b"\r\n\r\n"
        client.sendall(moved if path == b"/old/a.jpg" else IMAGE)

    with answering(answer) as server:
        (answer,) = fetch(f"{server.address}/old/a.jpg")
    assert answer.data == b"image"
    assert server.lines[1].split(b" ")[1].decode() == asked


@pytest.mark.parametrize("host", ["xn--99999999", "xn--a.example"])
def test_a_name_that_stands_for_no_text_is_asked_as_it_stands(download_settings, host):
    """Such names look like internationalised ones and are none; one in a list, or a redirect to it, ended the job."""
    manners = DownloadSettings.model_validate({**download_settings, "honour_robots_txt": True})
    with answering(IMAGE) as server:
        (answer,) = asyncio.run(fetch_each((f"http://{host}/a.jpg",), manners, mirror=server.address))
    assert answer.data == b"image"
    assert [line.split(b" ")[1].decode() for line in server.lines] == [f"/{host}/robots.txt", f"/{host}/a.jpg"]


@pytest.fixture
def name_server(monkeypatch):
    """A list of the failures that a look-up of photos.example ends in, one after another; then it is 127.0.0.1."""
    failures: list[int] = []
    asked: list[str] = []
    real = socket.getaddrinfo

    def look_up(host, *args, **kwargs):
        if host != "photos.example":
            return real(host, *args, **kwargs)
        asked.append(host)
        if failures:
            raise socket.gaierror(failures.pop(0), "as the test wants it")
        return real("127.0.0.1", *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return failures, asked


@pytest.mark.parametrize("failure", [socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_SYSTEM])
def test_a_name_server_that_fails_once_is_asked_again(fetch, name_server, failure):
    failures, _ = name_server
    failures.append(failure)
    with answering(IMAGE) as server:
        answers = fetch(*[f"http://photos.example:{server.port}/{number}" for number in range(3)])
    assert [answer.data for answer in answers] == [b"image"] * 3


def test_a_name_server_that_is_away_condemns_no_host(fetch, name_server):
    failures, _ = name_server
    failures += [socket.EAI_AGAIN] * 2
    with answering(IMAGE) as server:
        first, second = fetch(*[f"http://photos.example:{server.port}/{number}" for number in range(2)], tries=2)
    assert first.reason == "dns_unavailable"
    assert first.reason.is_passing
    assert second.data == b"image"


def test_a_name_that_does_not_exist_is_looked_up_once_in_a_while(fetch, name_server):
    failures, asked = name_server
    failures += [socket.EAI_NONAME] * 9
    outcomes = fetch(*[f"http://photos.example:9/{number}" for number in range(5)])
    assert [failure.reason for failure in outcomes] == ["dns_failure"] * 5
    assert len(asked) == 1


def test_a_network_that_comes_back_brings_its_names_back(name_server):
    """While a machine has no network, no name exists."""
    failures, asked = name_server
    failures += [socket.EAI_NONAME] * 2

    async def look_up() -> list[str]:
        resolver = Resolver(allow_private=True, missing_for=0)
        for _ in range(2):
            with pytest.raises(socket.gaierror):
                await resolver.resolve("photos.example")
        return [result["host"] for result in await resolver.resolve("photos.example")]

    assert "127.0.0.1" in asyncio.run(look_up())
    assert len(asked) == 3


@pytest.mark.parametrize(
    "host", ["127.1", "2130706433", "0177.0.0.1", "0x7f.1", "0", "１２７.0.0.1", "[::ffff:127.0.0.1]", "localhost."]
)
def test_no_spelling_of_this_machine_is_asked(fetch, host):
    with answering(IMAGE) as server:
        (failure,) = fetch(f"http://{host}:{server.port}/secret", allow_private_addresses=False)
    assert failure.reason == "private_address"
    assert server.lines == []


def test_a_name_of_a_private_address_is_not_asked(fetch, name_server):
    with answering(IMAGE) as server:
        (failure,) = fetch(f"http://photos.example:{server.port}/a", allow_private_addresses=False)
    assert (failure.reason, failure.detail) == ("private_address", "photos.example is 127.0.0.1")
    assert server.lines == []


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7", 7), (" 0 ", 0), ("9" * 5_000, float("inf")), ("Sun, 06 Nov 1994 08:49:37 GMT", 0)],
)
def test_a_server_may_say_how_long_to_wait(text, seconds):
    assert retry_after(text) == seconds


def test_a_date_to_wait_for_is_read_in_its_zone():
    moment = datetime.now(UTC) + timedelta(seconds=90)
    for text in (format_datetime(moment, usegmt=True), format_datetime(moment.replace(tzinfo=None)) + " -0000"):
        assert 80 < retry_after(text) <= 90


@pytest.mark.parametrize("text", ["", "soon", "-7", "1.5", "²", "Wed, 21 Oct 2015 07:28:00 +99999999999999", "Fri, 31"])
def test_what_says_no_time_says_nothing(text):
    assert retry_after(text) is None


NUMBERS = st.integers(0, 10**12).map(str)
DATES = st.tuples(
    st.just("Mon,"), NUMBERS, st.sampled_from(["Jan", "Feb", "x"]), NUMBERS, st.just("1:2:3"), NUMBERS.map("+{}".format)
)


@settings(deadline=None, derandomize=True, database=None)
@given(DATES.map(" ".join) | st.text())
@example("Mon, 01 Jan 0001 00:00:00 +2300")
def test_any_time_to_wait_is_a_number_or_none(text):
    seconds = retry_after(text)
    assert seconds is None or seconds >= 0


@settings(deadline=None, derandomize=True, database=None)
@given(st.text(st.characters(codec=None)))
def test_any_detail_can_be_stored_and_printed(text):
    stored = storable(text)
    stored.encode()
    assert stored.isprintable()
    assert len(stored) <= 10 * MAX_DETAIL


@settings(
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # it holds nothing that changes
)
@given(
    status=st.sampled_from([b"200 OK", b"302 Moved", b"404", b"503 Busy"]) | st.binary(max_size=9),
    headers=st.lists(
        st.tuples(
            st.sampled_from([b"Location", b"Retry-After", b"Content-Length", b"Content-Encoding", b"Set-Cookie"]),
            st.sampled_from([b"gzip", b"deflate", b"-1", b"7", b"//", b"http://[", b"a=b; =;"])
            | st.binary(max_size=20),
        ),
        max_size=4,
    ),
    body=st.binary(max_size=20),
)
def test_any_answer_is_bytes_or_a_reason(download_settings, status, headers, body):
    """Over one server for each answer, as its connection may be broken after it."""
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
    values = {"tries": 1, "timeout": 0.3, "allow_private_addresses": True, "honour_robots_txt": False}
    manners = DownloadSettings.model_validate(download_settings | values)
    with answering(b"HTTP/1.1 " + status + b"\r\nConnection: close\r\n" + lines + b"\r\n" + body) as server:
        (outcome,) = asyncio.run(fetch_each((f"{server.address}/a.jpg",), manners))
    assert isinstance(outcome, Answer) or outcome.detail.encode() is not None
