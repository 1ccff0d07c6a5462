import hashlib
import shutil
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from raw_server import answering

from extract.download.published_file import fetch_published_file, main


def test_a_file_address_is_copied_and_its_digest_checked(tmp_path):
    source, output = tmp_path / "list.tsv", tmp_path / "new" / "list.tsv"
    source.write_bytes(b"a red circle\thttp://x.example/1.jpg\n" * 7)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    assert fetch_published_file(source.as_uri(), output, sha256=digest) == digest
    assert output.read_bytes() == source.read_bytes()


def test_another_digest_leaves_nothing_behind(tmp_path):
    source, output = tmp_path / "list.tsv", tmp_path / "out.tsv"
    source.write_bytes(b"changed")
    with pytest.raises(ValueError, match="expected 0000"):
        fetch_published_file(source.as_uri(), output, sha256="0000")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["list.tsv"]


def test_without_a_digest_to_expect_its_own_is_printed(tmp_path, capsys):
    source = tmp_path / "list.tsv"
    source.write_bytes(b"abc")
    main(source.as_uri(), tmp_path / "out.tsv")
    assert "sha256 ba7816bf" in (printed := capsys.readouterr().out)  # of "abc", FIPS 180-2
    assert "which was not checked" in printed


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.tsv gives no file"):
        fetch_published_file((tmp_path / "gone.tsv").as_uri(), tmp_path / "out", sha256=None)


def test_a_path_is_not_an_address(tmp_path):
    with pytest.raises(ValueError, match="file:///absolute/path"):
        fetch_published_file("captions.tsv", tmp_path / "out", sha256=None)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.1 404 Non trouv\xe9\r\nContent-Length: 0\r\n\r\n", r"gives no file: 404 Non trouvé"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", r"broke off; run it again"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n9\r\nab", r"broke off; run it again"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", r"broke off|gives no file"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: much\r\n\r\n", r"gives no file"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"a" * 70_000 + b"\r\n\r\n", r"gives no file"),
        (b"no http at all\r\n\r\n", r"gives no file"),
        (b"", r"gives no file"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n", r"has 99999999999999 bytes, more than"),
    ],
)
def test_whatever_a_server_answers_ends_in_a_line_that_names_the_address(tmp_path, answer, message):
    with answering(answer) as server, pytest.raises(OSError, match=rf"{server.address}/list\.tsv {message}"):
        fetch_published_file(f"{server.address}/list.tsv", tmp_path / "list.tsv", sha256=None)
    assert list(tmp_path.iterdir()) == []


def drip(path: bytes, client: socket.socket) -> None:
    """Never ends, and is never silent for long."""
    client.sendall(b"HTTP/1.1 200 OK\r\n")
    for _ in range(200):
        client.sendall(b"X: y\r\n" if path == b"/head" else b"\r\n1")
        time.sleep(0.05)


@pytest.mark.parametrize("name", ["head", "body"])
def test_a_server_that_drips_is_left(tmp_path, name):
    with answering(drip) as server, pytest.raises(OSError, match=rf"/{name} gave less than 65536 bytes in 0\.3 s"):
        fetch_published_file(f"{server.address}/{name}", tmp_path / "list.tsv", sha256=None, patience=0.3)


def test_a_body_without_an_end_is_cut(tmp_path):
    def flood(path: bytes, client: socket.socket) -> None:
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            client.sendall(bytes(1 << 16))

    with answering(flood) as server, pytest.raises(OSError, match=r"/a has more than 1000000 bytes"):
        fetch_published_file(f"{server.address}/a", tmp_path / "a", sha256=None, max_bytes=1_000_000)
    assert list(tmp_path.iterdir()) == []


def test_redirects_are_followed_and_the_bytes_stay_as_they_were_published(tmp_path):
    """Also those that are called compressed: the digest is theirs."""

    def answer(path: bytes, client: socket.socket) -> None:
        if path == b"/old":
            client.sendall(b"HTTP/1.1 302 x\r\nLocation: /new\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        else:
            client.sendall(b"HTTP/1.1 200 x\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc")

    with answering(answer) as server:
        digest = fetch_published_file(f"{server.address}/old", tmp_path / "a", sha256=None)
    assert digest.startswith("ba7816bf")  # of "abc", FIPS 180-2
    assert (tmp_path / "a").read_bytes() == b"abc"


@pytest.mark.parametrize("url", ["file:///dev/zero", "file:///dev", "file:///nowhere/a b%20c"])
def test_what_is_no_file_is_not_read(tmp_path, url):
    with pytest.raises(FileNotFoundError, match=rf"{url} gives no file: there is none at /"):
        fetch_published_file(url, tmp_path / "a", sha256=None)


def test_a_file_that_the_disk_has_no_room_for_is_not_begun(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world"
    with (
        answering(answer) as server,
        pytest.raises(OSError, match=r"has 11 bytes, the disk of .* has room for 10; make"),
    ):
        fetch_published_file(f"{server.address}/a", tmp_path / "a", sha256=None)


def test_what_a_killed_process_left_half_written_goes_when_the_file_is_fetched_again(tmp_path):
    source, output = tmp_path / "list.tsv", tmp_path / "out/list.tsv"
    source.write_bytes(b"abc")
    code = (
        "import os, pathlib, sys\nfrom extract.tables import whole_file\n"
        "with whole_file(pathlib.Path(sys.argv[1])) as partial:\n"
        "    partial.write_bytes(b'ab'); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(output)], check=False).returncode == -9
    (output.parent / ".other.tsv.71.partial").write_bytes(b"another's")
    assert len(list(output.parent.iterdir())) == 2
    fetch_published_file(source.as_uri(), output, sha256=None)
    assert sorted(path.name for path in output.parent.iterdir()) == [".other.tsv.71.partial", "list.tsv"]
