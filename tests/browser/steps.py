"""What browser tests do again and again."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[2]
SHOTS = Path(__file__).parent / "screenshots"
PAGES = ["Home", *sorted(re.sub(r"^\d+_", "", path.stem) for path in (ROOT / "pages").glob("*.py"))]
SIZES = [(1280, 800), (1600, 1000)]
FLAGS = (
    "--no-sandbox --headless --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
PLOT = "document.querySelector('.js-plotly-plot')._fullLayout"
PX_PER_MM = f"""speed => {{
  const {{xaxis: x, yaxis: y}} = {PLOT};
  return [x._length / (x.range[1] - x.range[0]) / speed, y._length / (y.range[1] - y.range[0])];
}}"""


def open_page(page: Page, address: str, name: str, query: str = "") -> None:
    page.goto(f"{address}/{'' if name == 'Home' else name}{query}")
    page.wait_for_selector(".js-plotly-plot .main-svg", timeout=60_000)
    settled(page)


# a chart's code comes when the first one is asked for: until then a skeleton stands in its place
DRAWN = """() => !document.querySelector("[data-testid=stSkeleton]")
    && [...document.querySelectorAll("[data-testid=stPlotlyChart]")]
        .every(chart => chart.querySelector(".main-svg"))"""


def settled(page: Page) -> None:
    """The script has run; what it sent is drawn."""
    page.wait_for_timeout(150)
    page.wait_for_selector("[data-test-script-state=notRunning]", state="attached", timeout=60_000)
    page.wait_for_function(DRAWN, timeout=30_000)
    page.wait_for_timeout(200)


def errors_of(page: Page) -> list[str]:
    """Console errors from now on, but for Streamlit's probe of its address under the page's own (a 404)."""
    found: list[str] = []
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on(
        "console",
        lambda message: (
            found.append(f"{message.text} {message.location}")
            if message.type == "error" and "/_stcore/" not in message.location.get("url", "")
            else None
        ),
    )
    return found


def uploaded(page: Page, *files: Path | dict) -> None:
    page.locator("[data-testid=stFileUploaderDropzoneInput]").set_input_files(list(files))
    page.wait_for_timeout(1200)
    settled(page)


def view(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name).click()
    settled(page)
