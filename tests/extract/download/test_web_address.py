import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from extract.download.web_address import follow_location, is_public, mirrored, parse_address
from extract.reasons import DownloadFailure


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700:4700::1111", True),
        ("64:ff9b::808:808", True),  # NAT64 of 8.8.8.8
        ("10.0.0.1", False),
        ("127.255.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("::127.0.0.1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:0:127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b:1::808:808", False),
        ("2002:7f00:1::", False),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", False),
        ("fe80::1%eth0", False),
        ("fec0::1", False),
        ("fd00:ec2::254", False),
        ("ff02::1", False),
    ],
)
def test_only_addresses_of_the_internet_are_public(address, public):
    assert is_public(address) is public


def reason_of(url: str) -> str | None:
    try:
        parse_address(url, allow_private=False)
    except DownloadFailure as failure:
        return str(failure.reason)
    return None


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("HTTP://Photos.Example/A.jpg", None),
        ("http://u:p@photos.example:8080/a", None),
        ("http://bücher.example/a", None),
        ("http://134744072/", None),  # 8.8.8.8
        ("http://a_b.example./a", None),
        ("ftp://photos.example/a", "unsupported_scheme"),
        ("data:image/png;base64,iVBORw0KGgo=", "unsupported_scheme"),
        ("//photos.example/a", "invalid_url"),
        ('"http://photos.example/a"', "invalid_url"),
        ("http://", "invalid_url"),
        ("http:///a", "invalid_url"),
        ("http://photos.example:99999/", "invalid_url"),
        ("http://photos..example/", "invalid_url"),
        ("http://pho tos.example/", "invalid_url"),
        ("http://photos%2eexample/", "invalid_url"),
        (f"http://{'a' * 64}.example/", "invalid_url"),
        ("http://photos.example/caf\N{REPLACEMENT CHARACTER}.jpg", "invalid_url"),
        ("http://photos.example/\x00", "invalid_url"),
        ("http://photos.example/\ud83d", "invalid_url"),
        (f"http://photos.example/{'a' * 8_000}", "invalid_url"),
        (f"http://photos.example/?{'é' * 1_400}", "invalid_url"),
        ("http://4294967296/", "invalid_url"),
        ("http://1.2.3.4.5/", "invalid_url"),
        ("http://[::1/", "invalid_url"),
        ("http://[::ffff:10.0.0.1]/", "private_address"),
        ("http://[64:ff9b::a00:1]/", "private_address"),
        ("http://[fe80::1%25eth0]/", "private_address"),
        ("http://photos.example@127.1/", "private_address"),
        ("http://127.0.0.1./", "private_address"),
        ("http://①②⑦.⓪.⓪.①/", "private_address"),
        ("http://0x7f000001/", "private_address"),
        ("http://017700000001/", "private_address"),
        ("http://10.1/", "private_address"),
        ("http://a.LOCALHOST./", "private_address"),
    ],
)
def test_a_text_is_an_address_or_has_a_reason(url, reason):
    assert reason_of(url) == reason


@pytest.mark.parametrize("location", ["http://2130706433/", "//127.1/a", "//0x7f.1"])
def test_no_redirect_leads_to_a_private_address(location):
    with pytest.raises(DownloadFailure, match=r"private_address|invalid_url"):
        follow_location(URL("http://photos.example/a"), location, allow_private=False)


def test_a_mirror_is_asked_for_the_same_path_below_the_host():
    address = parse_address("http://Photos.example:81/a|b?x=%2F", allow_private=False)
    assert str(mirrored(address, "http://127.0.0.1:9/")) == "http://127.0.0.1:9/photos.example:81/a%7Cb?x=%2F"


PLACES = st.text(st.characters(codec="utf-8") | st.sampled_from(list("%[]@:/?#\\|. 0x")), max_size=40)


@settings(deadline=None, derandomize=True, database=None, max_examples=100)
@given(PLACES, PLACES)
def test_any_text_behind_a_host_is_asked_for_or_refused_and_never_at_another_host(before, behind):
    for address in (f"http://photos.example/{before}?{behind}", f"http://{before}/{behind}"):
        try:
            parsed = parse_address(address, allow_private=False)
        except DownloadFailure:
            continue
        assert str(parsed).isascii()
        assert parse_address(str(parsed), allow_private=False) == parsed  # nothing is quoted twice
    assert reason_of(f"http://photos.example/{before.partition('#')[0]}") in {None, "invalid_url"}


@settings(deadline=None, derandomize=True, database=None, max_examples=100)
@given(st.integers(0, (1 << 24) - 1), st.sampled_from(["{0}", "0x{0:x}", "0{0:o}", "127.{1}", "0x7f.{1}", "0177.{1}"]))
def test_every_spelling_of_every_loopback_address_is_private(number, spelling):
    host = spelling.format((127 << 24) + number, number)
    assert reason_of(f"http://{host}/") == "private_address"
    assert not is_public(str(ipaddress.ip_address((127 << 24) + number)))
