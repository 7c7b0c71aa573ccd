"""A zoom of the paper outlives what is drawn anew: calipers, marks; and goes back when it is asked to."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.browser.steps import open_page, settled

pytestmark = [pytest.mark.browser, pytest.mark.slow]
PAPER = ".st-key-paper_paper .js-plotly-plot"


def ranges(page: Page) -> list[float]:
    shown = page.evaluate(
        "at => (({xaxis: x, yaxis: y}) => [...x.range, ...y.range])(document.querySelector(at)._fullLayout)",
        PAPER,
    )
    return list(shown)


def press(page: Page, title: str) -> None:
    page.locator(PAPER).hover()
    page.locator(f'{PAPER} [data-title="{title}"]').click()
    page.wait_for_timeout(800)  # the listener tells the server
    settled(page)


def test_a_zoom_stays_when_calipers_are_set_and_goes_back(page: Page, address: str) -> None:
    open_page(page, address, "ECG", "?mouse=calipers")
    page.wait_for_timeout(800)  # the listener finds the figure
    whole = ranges(page)
    press(page, "Zoom in")
    near = ranges(page)
    assert near != whole
    box = page.locator(f"{PAPER} .nsewdrag").first.bounding_box()
    x, y = box["x"] + 0.4 * box["width"], box["y"] + 0.5 * box["height"]
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 100, y + 2, steps=6)
    page.mouse.up()
    page.wait_for_url("**caliper=**")
    assert page.url.split("caliper=")[1].count("_") == 1, "a level drag means time alone"
    settled(page)
    page.wait_for_timeout(500)
    assert ranges(page) == pytest.approx(near)
    page.get_by_text("R peaks", exact=True).click()
    settled(page)
    page.wait_for_timeout(500)
    assert ranges(page) == pytest.approx(near)
    press(page, "Reset axes")
    page.wait_for_timeout(500)
    assert ranges(page) == pytest.approx(whole)
    press(page, "Zoom in")
    page.get_by_role("radio", name="50", exact=True).click()  # other paper: that zoom means nothing there
    settled(page)
    page.wait_for_timeout(500)
    assert ranges(page)[0] < 0 and ranges(page)[1] > 5
