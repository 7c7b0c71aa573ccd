"""Writes a picture of every page, light and dark: `make screenshots`. README shows four of them."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from benchmarks.load import PAGES, server
from tests.browser.steps import FLAGS, settled

FOLDER = Path(__file__).parent / "screenshots"
SIZE = {"width": 1280, "height": 860}
QUERIES = {
    "": "?record=real",
    "Diagnosis": "?record=simulated-premature",
    "Explanation": "?record=simulated-premature&target=form%2FPVC",
    "What_if": "?record=simulated-premature&off_beats=6",
    "Reconstruction": "?record=simulated-premature",
}


def screenshots() -> None:
    """Every page on the app's own records."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not path:
        raise SystemExit("no Chromium: install it, or name its program in CHROMIUM.")
    FOLDER.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as home,
        server(Path(home)) as (address, _),
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        for scheme in ("light", "dark"):
            page = browser.new_context(viewport=SIZE, color_scheme=scheme).new_page()
            for name in PAGES:
                page.goto(f"{address}/{name}{QUERIES.get(name, '')}")
                page.wait_for_selector(".js-plotly-plot .main-svg", timeout=120_000)
                settled(page)
                proof = page.get_by_text("is being tested; the verdict")
                proof.first.wait_for(state="hidden", timeout=120_000)
                file = FOLDER / f"{re.sub(r'[^a-z]+', '_', (name or 'Home').lower())}_{scheme}.png"
                page.screenshot(path=file)
                print(file.name, flush=True)
        browser.close()


if __name__ == "__main__":
    screenshots()
