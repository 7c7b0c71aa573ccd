"""A real Chromium and the real server, one of each for all browser tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.browser.steps import FLAGS, ROOT, SHOTS
from tests.written_runs import write_runs


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not path:
        said = "no Chromium: install it, or name its program in CHROMIUM"
        if os.environ.get("CI") == "true" or os.environ.get("CLEAR_HUG_BROWSER") == "required":
            pytest.fail(said)
        pytest.skip(said)
    SHOTS.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The real server on a free port, with a home of its own."""
    home = tmp_path_factory.mktemp("home")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {**os.environ, "HOME": str(home), "CLEAR_HUG_RUNS": str(write_runs(home / "runs"))}
    for name in ("CLEAR_HUG_DATA", "CLEAR_HUG_CHECKPOINT"):  # what ships is what is looked at
        env.pop(name, None)
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port),
               "--server.address", "127.0.0.1"]  # fmt: skip
    with (home / "log.txt").open("wb") as log:
        server = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_for(f"{url}/_stcore/health", server)
            yield url
        finally:
            server.terminate()
            server.wait(20)


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(240):
        assert server.poll() is None, "the server ended before it answered"
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.25)
    pytest.fail("the server did not answer within a minute")


@pytest.fixture(scope="session")
def contexts(chromium: Browser) -> dict[str, BrowserContext]:
    """One a colour scheme; what the browser has cached stays, the app's session is new with each page."""
    size = {"width": 1280, "height": 800}
    return {scheme: chromium.new_context(viewport=size, color_scheme=scheme) for scheme in ("light", "dark")}


@pytest.fixture
def page(contexts: dict[str, BrowserContext]) -> Iterator[Page]:
    page = contexts["light"].new_page()
    yield page
    page.close()
