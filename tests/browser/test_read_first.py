"""Read first, in the browser: every page with an answer waits for the reader's, and says where it goes."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from clear_hug.ui.typed import _SEND, PAUSE
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


def test_a_draft_is_there_after_a_look_at_the_ecg(contexts: dict[str, BrowserContext], address: str) -> None:
    page = contexts["light"].new_page()
    main, side = page.locator(".stMainBlockContainer"), page.get_by_test_id("stSidebar")
    page.goto(f"{address}/Diagnosis?record=simulated-paced&read_first=true")
    page.get_by_text("Your reading first").wait_for()
    main.locator(".js-plotly-plot .main-svg").first.wait_for()
    settled(page)
    note = page.get_by_role("textbox", name="Note")
    main.get_by_role("button", name="hypertrophy").click()
    note.press_sequentially("wide beats", delay=30)
    page.wait_for_timeout(2 * PAUSE)
    for look in (side.get_by_role("link", name="ECG", exact=True), main.get_by_role("link", name="Calipers")):
        look.click()  # no key was pressed and no field left to send the note
        main.get_by_role("heading", name="ECG").wait_for()
        settled(page)
        side.get_by_role("link", name="Diagnosis").click()
        page.get_by_text("Your reading first").wait_for()
        expect(note).to_have_value("wide beats")
        settled(page)
        expect(main.get_by_role("button", name="hypertrophy")).to_have_attribute("aria-pressed", "true")
    settled(page)
    note.press("End")
    note.press_sequentially(", the last letter")
    side.get_by_role("link", name="ECG", exact=True).click()  # before the pause is over
    main.get_by_role("heading", name="ECG").wait_for()
    settled(page)
    side.get_by_role("link", name="Diagnosis").click()
    page.get_by_text("Your reading first").wait_for()
    expect(note).to_have_value("wide beats, the last letter")
    page.close()


def test_a_click_that_waits_for_a_note_keeps_its_place_and_holds_no_later_one_back(chromium: Browser) -> None:
    page = chromium.new_page()
    page.set_content(
        "<div class=st-key-note><textarea></textarea></div><button>a</button><button>b</button><script>"
        "const seen = []; document.addEventListener('click', e => e.target.matches('button') && "
        "seen.push([e.target.textContent, e.clientX > 0, e.detail, !e.isTrusted]));"
        "document.addEventListener('keydown', e => e.ctrlKey && e.key === 'Enter' && seen.push('sent'));"
        "</script>"
    )
    page.add_script_tag(content=_SEND.replace("export default", "window.start ="))
    page.evaluate(f"void start({{data: {{key: 'note', pause: {PAUSE}}}}})")
    a, b = page.get_by_role("button", name="a"), page.get_by_role("button", name="b")

    def seen() -> list[object]:
        page.wait_for_timeout(2 * PAUSE)
        found: list[object] = page.evaluate("seen.splice(0)")
        return found

    page.locator("textarea").press_sequentially("x")
    a.click()
    b.click()
    assert seen() == ["sent", ["a", True, 1, True], ["b", True, 1, True]]
    page.locator("textarea").press_sequentially("x")
    a.click(modifiers=["Control"])  # another tab
    assert seen() == ["sent", ["a", True, 1, False]]
    b.click()
    assert seen() == [["b", True, 1, False]]
    page.locator("textarea").press_sequentially("x")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # a click that no pointer came before
    assert seen() == ["sent", ["a", False, 0, True]]
    page.close()
