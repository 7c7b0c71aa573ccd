"""A real Chromium and the real server, one of each for all browser tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from benchmarks.load import server
from tests.browser.steps import FLAGS, SHOTS
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
    with server(home, CLEAR_HUG_RUNS=str(write_runs(home / "runs"))) as (url, _):
        yield url


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
