"""Pages as their users have them: a command that serves one, and a browser that looks at it."""

import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from commands import ONE_THREAD
from playwright.sync_api import Browser, Page, sync_playwright

# Chromium itself looks for updates and for Google's hosts otherwise; a sandbox it has not as root.
FLAGS = [
    f"--{name}"
    for name in (
        *("no-sandbox", "disable-gpu", "disable-quic", "no-first-run"),
        *("disable-background-networking", "disable-component-update", "disable-sync"),
    )
]

PATIENCE = 40_000  # ms, on cores that others use as well


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@contextmanager
def shown(arguments: list[str], folder: Path) -> Iterator[str]:
    """The address of the page that a command of this Python serves, whose log lies in the folder."""
    log = folder / "log"
    command = [sys.executable, *arguments]
    with log.open("w") as file, subprocess.Popen(command, stdout=file, stderr=file, env=ONE_THREAD) as server:
        try:
            while not (said := re.search(r"open (http://127\.0\.0\.1:\d+) ", log.read_text())):
                assert server.poll() is None, log.read_text()
                time.sleep(0.1)
            yield said[1]
        finally:
            server.kill()
    assert "Traceback" not in log.read_text()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Skips a test where there is none."""
    if (path := shutil.which("chromium")) is None:
        pytest.skip("needs chromium: apt-get install chromium")
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=path, args=FLAGS) as browser:
        yield browser


@contextmanager
def opened(browser: Browser, address: str) -> Iterator[Page]:
    """The page, in a browser of whose requests none leaves the machine."""
    asked: list[str] = []
    with browser.new_page(viewport={"width": 1300, "height": 900}) as page:
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        yield page
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    assert asked
