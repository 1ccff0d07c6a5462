import asyncio
import socket
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_server import IMAGE, answering
from yarl import URL

from extract.download import robots
from extract.download.fetch import Fetcher, open_session
from extract.download.robots import RobotsCache, parse_robots
from extract.reasons import DownloadFailure, DownloadReason
from extract.settings import DownloadSettings


def send(client: socket.socket, status: bytes, body: bytes = b"", header: bytes = b"") -> None:
    length = str(len(body)).encode()
    client.sendall(b"HTTP/1.1 " + status + b"\r\nConnection: close\r\nContent-Length: " + length + b"\r\n" + header)
    client.sendall(b"\r\n" + body)


def site(status: bytes, body: bytes = b"", header: bytes = b""):
    """A server whose robots.txt is this, and which has an image everywhere else."""

    def answer(path: bytes, client: socket.socket) -> None:
        if path == b"/robots.txt":
            send(client, status, body, header)
        else:
            client.sendall(IMAGE)

    return answering(answer)


@pytest.fixture
def reasons(download_settings):
    """A function from urls to why each was refused; '': it was not. All are asked for at once."""

    def found(*urls: str, **changes) -> list[str]:
        values = {**download_settings, "allow_private_addresses": True, "tries": 1, **changes}
        return asyncio.run(reasons_at_once(urls, DownloadSettings.model_validate(values)))

    return found


async def reasons_at_once(urls: tuple[str, ...], manners: DownloadSettings) -> list[str]:
    async with open_session(manners) as session:
        fetcher = Fetcher(session, manners, mirror=None)
        outcomes = await asyncio.gather(*map(fetcher.fetch, urls), return_exceptions=True)
    return [str(outcome.reason) if isinstance(outcome, DownloadFailure) else "" for outcome in outcomes]


def test_what_robots_may_not_fetch_is_not_fetched_and_the_file_is_read_once(reasons):
    rules = b"\xef\xbb\xbfUser-agent: *\r\nDisallow: /private/\r\nAllow: /private/open\r\n"
    with site(b"200 OK", rules) as server:
        urls = [f"{server.address}/{name}" for name in ("a.jpg", "private/a.jpg", "private/open.jpg", "b.jpg")]
        assert reasons(*urls) == ["", "robots_disallowed", "", ""]
    paths = [line.split(b" ")[1] for line in server.lines]
    assert paths[0] == b"/robots.txt"
    assert sorted(paths) == [b"/a.jpg", b"/b.jpg", b"/private/open.jpg", b"/robots.txt"]


def test_where_robots_txt_is_not_honoured_nobody_asks_for_it(reasons):
    with site(b"200 OK", b"User-agent: *\nDisallow: /\n") as server:
        assert reasons(f"{server.address}/a.jpg", honour_robots_txt=False) == [""]
    assert len(server.lines) == 1


@pytest.mark.parametrize(
    ("status", "header", "reason"),
    [
        (b"404 Not Found", b"", ""),
        (b"403 Forbidden", b"", ""),
        (b"204 No Content", b"", ""),
        (b"302 Found", b"Location: /robots.txt\r\n", ""),  # for ever: there is none
        (b"500 Oh", b"", "http_500"),
        (b"503 Busy", b"Retry-After: 9999\r\n", "http_503"),
        (b"429 Slower", b"", "rate_limited"),
    ],
)
def test_no_file_allows_everything_and_a_server_in_trouble_nothing(reasons, status, header, reason):
    """RFC 9309, sections 2.3.1.3 and 2.3.1.4."""
    with site(status, b"", header) as server:
        assert reasons(f"{server.address}/a.jpg") == [reason]


def test_a_server_that_does_not_answer_for_robots_txt_is_asked_for_nothing_else(reasons):
    def hangs(path: bytes, client: socket.socket) -> None:
        time.sleep(0.5)

    with answering(hangs) as server:
        outcome = reasons(*[f"{server.address}/{number}.jpg" for number in range(7)], timeout=0.2)
    assert outcome == ["timed_out"] * 7
    assert {line.split(b" ")[1] for line in server.lines} == {b"/robots.txt"}


def test_the_host_that_a_redirect_leads_to_is_asked_too(reasons):
    with site(b"200 OK", b"User-agent: vilbert\nDisallow: /\n") as strict:
        moved = b"Location: " + strict.address.encode() + b"/a.jpg\r\n"

        def answer(path: bytes, client: socket.socket) -> None:
            if path == b"/robots.txt":
                send(client, b"404 Not Found")
            else:
                send(client, b"302 Found", header=moved)

        with answering(answer) as lax:
            assert reasons(f"{lax.address}/b.jpg") == ["robots_disallowed"]


def test_robots_txt_at_a_private_address_is_not_read(reasons):
    with site(b"404 Not Found") as server:
        assert reasons(f"{server.address}/a.jpg", allow_private_addresses=False) == ["private_address"]
    assert server.lines == []


@pytest.mark.parametrize(
    ("text", "may"),
    [
        ("", True),
        ("<html>sold out</html>", True),
        ("User-agent: *\nDisallow:", True),
        ("User-agent: *\nDisallow: /", False),
        ("User-agent: *\nDisallow: /*.jpg$", False),
        ("User-agent: *\nDisallow: /\n\nUser-agent: ViLBERT/2.0 # the model\nDisallow:", True),
        ("User-agent: vilbertbot\nDisallow: /", True),
        ("User-agent: vil\nDisallow: /", True),
        ("User-agent: a\nUser-agent: vilbert\nUser-agent: b\nDisallow: /", False),
        ("User-agent: a\nDisallow: /\nUser-agent: *\nAllow: /", True),
        ("Disallow: /", True),
    ],
)
def test_the_rules_are_those_for_us_or_for_all(text, may):
    assert parse_robots(text).can_fetch("http://photos.example/a/b.jpg", robots.ROBOT) is may


def test_rules_for_many_other_robots_are_kept_once():
    agents = "".join(f"User-agent: a{number}\n" for number in range(3_000))
    tracemalloc.start()
    parse_robots(agents + "".join(f"Disallow: /{number}\n" for number in range(3_000)))
    room = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert room < 20 << 20  # a rule for each robot would be nine millions


def test_files_beyond_the_room_for_them_are_forgotten_and_read_again():
    """The one that was used longest ago goes first."""

    async def read(address: URL) -> str:
        asked.append(address.host)
        return "#" * (robots.MAX_REMEMBERED // 3)

    async def ask(numbers: list[int]) -> None:
        cache = RobotsCache(read)
        for number in numbers:
            assert await cache.allows(URL(f"http://h{number}.example/a"))

    asked: list[str] = []
    asyncio.run(ask([0, 1, 0, 2, 0, 1]))
    assert asked == ["h0.example", "h1.example", "h2.example", "h1.example"]


def test_a_wildcard_is_looked_for_without_going_back(at_most):
    """Protego of before 0.7 makes a regular expression of it, which takes longer than anybody has."""
    rules = parse_robots("User-agent: *\nDisallow: /" + "*a" * 40 + "b\n")
    with at_most(seconds=20):
        assert rules.can_fetch("http://photos.example/" + "a" * 8_000, robots.ROBOT)


@settings(deadline=None, derandomize=True, database=None, max_examples=100)
@given(
    st.lists(
        st.sampled_from(["User-agent: *", "Disallow: ", "Allow: /", "Crawl-delay: ", "Request-rate: ", "#", "\x0b"])
        | st.text(max_size=20)
    ).map("\n".join),
    st.text(max_size=20).map(lambda path: URL(f"http://photos.example/{path}")),
)
def test_any_text_is_rules(text, url):
    assert parse_robots(text).can_fetch(str(url), robots.ROBOT) in {True, False}


def test_a_failure_is_told_with_the_file_that_it_was_met_at():
    async def read(address: URL) -> str:
        raise DownloadFailure(DownloadReason.HTTP_503, "503 Busy", retry_after=7)

    with pytest.raises(DownloadFailure) as caught:
        asyncio.run(RobotsCache(read).allows(URL("http://photos.example/a")))
    assert (caught.value.reason, caught.value.detail) == ("http_503", "robots.txt: 503 Busy")
    assert caught.value.retry_after == 7
