"""Read first, in the browser: every page with an answer waits for the reader's, and says where it goes."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.steps import settled

pytestmark = [pytest.mark.browser, pytest.mark.long]


def test_every_page_waits_for_the_reading(contexts: dict[str, BrowserContext], address: str) -> None:
    page = contexts["light"].new_page()
    main = page.locator(".stMainBlockContainer")
    page.goto(f"{address}/Explanation?record=simulated-paced&read_first=true")
    for name in ("Explanation", "What if", "Compare", "Cohort"):
        page.get_by_test_id("stSidebar").get_by_role("link", name=name, exact=True).click()
        main.get_by_role("heading", name=name).wait_for()
        main.get_by_text("Read first:").wait_for()
        settled(page)
        assert not re.search(r"\d\s?%", main.inner_text()), name
        assert not main.locator(".js-plotly-plot").count()
    page.get_by_test_id("stSidebar").get_by_role("link", name="What if").click()
    main.get_by_text("Read first:").wait_for()
    settled(page)
    main.get_by_role("link", name="Your reading").click()
    page.get_by_text("Your reading first").wait_for()
    settled(page)
    page.get_by_role("textbox", name="Note").fill("none fits")
    page.get_by_role("button", name="Commit").click()
    page.wait_for_selector(".js-plotly-plot .main-svg")
    settled(page)
    page.get_by_test_id("stSidebar").get_by_role("link", name="What if").click()
    main.locator(".js-plotly-plot .main-svg").first.wait_for()
    page.get_by_test_id("stSidebar").get_by_role("link", name="Cohort").click()
    main.get_by_text("Read first:").wait_for()
    settled(page)
    main.get_by_text("Read first", exact=True).click()  # the mode is switched off
    main.locator(".js-plotly-plot .main-svg").first.wait_for(timeout=60_000)
    expect(page).not_to_have_url(re.compile("read_first"))
    page.close()
