"""The Beats page by mouse: beats chosen in figure and table, R peaks added, moved, removed and kept."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.steps import SHOTS, errors_of, open_page, settled

pytestmark = pytest.mark.browser

RECORD = "?record=simulated-premature"
EDITED = re.compile(r"R peaks edited by hand")
PATIENCE = 30_000  # ms
PLACE = """([figure, name, k]) => {
  const p = document.querySelectorAll('.js-plotly-plot')[figure], l = p._fullLayout;
  const t = p._fullData.find(t => t.name === name), box = p.getBoundingClientRect();
  return [box.x + l._size.l + l.xaxis.c2p(t.x[k]), box.y + l._size.t + l.yaxis.c2p(t.y[k])];
}"""
TRACES = "k => document.querySelectorAll('.js-plotly-plot')[k].data.map(t => t.name)"


def click_in_strip(page: Page, name: str, k: int) -> None:
    page.locator(".js-plotly-plot").first.scroll_into_view_if_needed()
    x, y = page.evaluate(PLACE, [0, name, k])
    page.mouse.move(x, y - 1)
    page.wait_for_timeout(250)
    page.mouse.click(x, y)
    page.wait_for_timeout(400)
    settled(page)


def says_edited(page: Page, what: str) -> None:
    said = page.get_by_text(EDITED)
    expect(said).to_have_text(
        f"R peaks edited by hand ({what}), in this tab until it is reloaded", timeout=PATIENCE
    )


def press(page: Page, label: str) -> None:
    page.get_by_role("button", name=label, exact=True).click()
    page.wait_for_timeout(300)
    settled(page)


def outlined(page: Page) -> float:
    """Where the chosen beat's window begins, s."""
    page.wait_for_function(f"({TRACES})(0).includes('selected')")
    strip = "document.querySelector('.js-plotly-plot').data.find(t => t.name === 'selected').x[0]"
    return float(page.evaluate(strip))


@pytest.mark.long
def test_a_beat_is_chosen_by_its_mark_and_by_its_row(page: Page, address: str) -> None:
    found = errors_of(page)
    open_page(page, address, "Beats", RECORD)
    expect(page.get_by_text("12 beats, about 72/min, 2 unlike the usual one.").first).to_be_visible(
        timeout=PATIENCE
    )
    click_in_strip(page, "R peaks", 8)
    assert "beat=9" in page.url
    assert 6.3 < outlined(page) < 6.8  # the premature beat at 6.8 s
    assert "II, chosen beat" in page.evaluate(TRACES, 1)  # in the overlay too
    grid = page.locator("[data-testid=stDataFrame]")
    box = grid.bounding_box()
    assert box
    page.mouse.click(box["x"] + 17, box["y"] + 35 * 2.5)  # the second row
    page.wait_for_timeout(400)
    settled(page)
    assert "beat=2" in page.url
    assert 0.8 < outlined(page) < 1.0
    page.screenshot(path=SHOTS / "Beats_chosen.png", full_page=True)
    assert not found


@pytest.mark.long
def test_r_peaks_are_added_moved_and_removed_and_the_diagnosis_follows(page: Page, address: str) -> None:
    found = errors_of(page)
    open_page(page, address, "Beats", RECORD)
    page.get_by_text("Edit R peaks by hand").click()
    settled(page)
    click_in_strip(page, "R peaks", 2)
    press(page, "Remove")
    expect(page.get_by_text("11 beats").first).to_be_visible(timeout=PATIENCE)
    says_edited(page, "1 removed")
    press(page, "Undo")
    expect(page.get_by_text(EDITED)).to_have_count(0, timeout=PATIENCE)
    click_in_strip(page, "R peaks", 4)
    press(page, "+10 ms")
    says_edited(page, "1 moved")
    where = page.evaluate(
        "document.querySelector('.js-plotly-plot')._fullData.find(t => t.name === 'where to add')"
        ".x.findIndex(x => x > 7.4)"
    )
    click_in_strip(page, "where to add", where)
    expect(page.get_by_label("Time, s (click the trace)")).to_have_value(re.compile(r"7\.4"))
    press(page, "Add here")
    says_edited(page, "1 added, 1 moved")
    expect(page.get_by_text("13 beats").first).to_be_visible(timeout=PATIENCE)
    page.screenshot(path=SHOTS / "Beats_edited.png", full_page=True)
    page.locator(".stSidebar").get_by_text("Diagnosis", exact=True).click()
    page.wait_for_selector(".head h1:has-text('Diagnosis')")
    settled(page)
    says_edited(page, "1 added, 1 moved")
    expect(page.get_by_text("13 beats in 12 leads").first).to_be_attached(timeout=PATIENCE)
    assert not found


@pytest.mark.slow
def test_r_peaks_are_exported_and_imported_again(page: Page, address: str, tmp_path: Path) -> None:
    open_page(page, address, "Beats", f"{RECORD}&edit=true&beat=3")
    press(page, "Remove")
    page.get_by_text("Export, import and keep R peaks").click()
    kept = {}
    for form in ("JSON", "CSV"):
        with page.expect_download(timeout=60_000) as download:
            page.get_by_role("button", name=f"R peaks as {form}").click()
        kept[form] = tmp_path / download.value.suggested_filename
        download.value.save_as(kept[form])
    told = json.loads(kept["JSON"].read_text())
    assert told["edited_by_hand"] == "1 removed" and len(told["r_peaks"]) == 11
    lines = [line for line in kept["CSV"].read_text().splitlines() if not line.startswith("#")]
    assert [row["change"] for row in csv.DictReader(lines)].count("removed") == 1
    press(page, "Back to the detector's")
    expect(page.get_by_text(EDITED)).to_have_count(0, timeout=PATIENCE)
    page.locator("[data-testid=stFileUploaderDropzoneInput]").set_input_files(kept["CSV"])
    says_edited(page, "1 removed")


@pytest.mark.long
def test_kept_edits_are_there_after_a_reload_in_this_browser_alone(chromium: Browser, address: str) -> None:
    mine, other = (chromium.new_context(viewport={"width": 1280, "height": 800}) for _ in range(2))
    page = mine.new_page()
    open_page(page, address, "Beats", f"{RECORD}&edit=true&beat=3")
    press(page, "Remove")
    says_edited(page, "1 removed")
    page.get_by_text("Keep my work", exact=True).click()  # it stands beside Undo
    settled(page)
    expect(page.get_by_text("until it is reloaded")).to_have_count(0, timeout=PATIENCE)
    page.wait_for_function("document.cookie.includes('clear_hug_workspace=')")
    link = page.url
    assert not re.search("[0-9a-f]{32}", link)  # it stands in no link
    for browser, count in ((mine, 1), (other, 0)):
        again = browser.new_page()
        open_page(again, address, "Beats", "?" + link.split("?", 1)[1])
        expect(again.get_by_text("11 beats" if count else "12 beats").first).to_be_visible(timeout=PATIENCE)
        expect(again.get_by_text(EDITED)).to_have_count(count, timeout=PATIENCE)
        again.close()
    page.get_by_text("Keep my work", exact=True).click()
    settled(page)
    page.wait_for_function("!document.cookie.includes('clear_hug_workspace=')")
    for browser in (mine, other):
        browser.close()
