"""The Reconstruction page by mouse: tokens, leads and beats hidden; each token in turn; lead synthesis."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.browser.steps import PX_PER_MM, SHOTS, errors_of, open_page, settled

pytestmark = pytest.mark.browser

RECORD = "?record=simulated-premature"
PLACE = """([x, y]) => {
  const plot = document.querySelectorAll('.js-plotly-plot')[0], {xaxis, yaxis} = plot._fullLayout;
  const box = plot.getBoundingClientRect();
  return [box.x + xaxis._offset + xaxis.c2p(x), box.y + yaxis._offset + yaxis.c2p(y)];
}"""
NAMES = "k => document.querySelectorAll('.js-plotly-plot')[k].data.map(trace => trace.name)"


def hidden_in(page: Page) -> str:
    return parse_qs(urlsplit(page.url).query).get("hidden", [""])[0]


def says(page: Page, words: str | re.Pattern[str]) -> None:
    expect(page.get_by_text(words)).to_be_visible(timeout=60_000)


def says_hidden(page: Page, n: int) -> None:
    says(page, f"{n} of 144 beat tokens hidden")


def click_map(page: Page, x: float, y: float) -> None:
    """Click a square at (beat, row of the lead), a lead's dot at (0, row), a beat's at (beat, -1)."""
    before = page.url
    page.mouse.click(*page.evaluate(PLACE, [x, y]))
    page.wait_for_url(lambda url: url != before, timeout=60_000)
    settled(page)


@pytest.mark.long
def test_tokens_leads_and_beats_are_hidden_by_clicks(page: Page, address: str) -> None:
    found = errors_of(page)
    open_page(page, address, "Reconstruction", RECORD)
    says_hidden(page, 12)  # V3, until something is chosen
    click_map(page, 3, 2)
    assert hidden_in(page) == "V3,III:3"
    says_hidden(page, 13)
    click_map(page, 3, 2)  # the same square again: it is shown again
    assert hidden_in(page) == "V3"
    click_map(page, 0, 8)  # all of V3
    assert hidden_in(page) == "none"
    says(page, "Nothing is hidden.")
    click_map(page, 5, -1)  # all of beat 5
    assert hidden_in(page) == ":5"
    says_hidden(page, 12)
    assert {"as recorded", "rebuilt by the model", "linear baseline"} <= set(page.evaluate(NAMES, 1))
    link = page.url
    page.goto("about:blank")
    page.goto(link)  # what is hidden stands in the link
    says_hidden(page, 12)
    page.get_by_role("button", name="V1", exact=True).click()
    says_hidden(page, 23)
    assert hidden_in(page) == "V1,:5"
    assert page.locator("[data-testid=stException], [data-testid=stAlert]").count() == 0
    assert not found


@pytest.mark.slow
def test_the_baseline_is_switched_off_and_the_paper_is_true(page: Page, address: str) -> None:
    open_page(page, address, "Reconstruction", f"{RECORD}&hidden=V2,V3")
    expect(page.locator(".js-plotly-plot")).to_have_count(2)
    across, up = page.evaluate(PX_PER_MM.replace("querySelector(", "querySelectorAll(").replace(
        "'.js-plotly-plot')", "'.js-plotly-plot')[1]"), 25)  # fmt: skip
    assert across == pytest.approx(up, rel=0.01)
    page.get_by_test_id("stCheckbox").get_by_text("Linear baseline").click()
    page.wait_for_url(re.compile("baseline=false"))
    settled(page)
    assert "baseline=false" in page.url and "linear baseline" not in page.evaluate(NAMES, 1)


@pytest.mark.slow
def test_a_share_is_hidden_at_random_and_a_click_goes_on_from_it(page: Page, address: str) -> None:
    open_page(page, address, "Reconstruction", RECORD)
    page.get_by_text("a share at random").click()
    says_hidden(page, 115)
    seed = page.get_by_label("Seed")
    seed.fill("7")
    seed.press("Enter")
    page.wait_for_url(re.compile("seed=7"))
    settled(page)
    with page.expect_download(timeout=30_000) as download:
        page.get_by_role("button", name="Errors of each token (CSV)").click()
    rows = Path(download.value.path()).read_text().splitlines()
    assert rows[0].startswith("# ") and len(rows) == 3 + 1 + 115 and rows[3].startswith("lead,beat,")
    click_map(page, 5, 2)
    says(page, re.compile("11[46] of 144 beat tokens hidden"))
    assert hidden_in(page)


@pytest.mark.long
def test_leads_are_rebuilt_from_the_known_ones(page: Page, address: str) -> None:
    open_page(page, address, "Reconstruction", RECORD)
    page.get_by_text("Lead synthesis").click()
    says_hidden(page, 108)
    page.get_by_text("limb leads", exact=True).click()
    says_hidden(page, 72)
    assert "known=limb" in page.url
    page.get_by_text("own choice").click()
    says_hidden(page, 108)
    page.get_by_role("button", name="V5", exact=True).click()
    says_hidden(page, 96)
    assert parse_qs(urlsplit(page.url).query)["given"] == ["I,II,V2,V5"]
    page.screenshot(path=SHOTS / "Reconstruction_synthesis.png", full_page=True)
    assert page.locator("[data-testid=stException], [data-testid=stAlert]").count() == 0


@pytest.mark.slow
def test_each_token_in_turn_finds_the_premature_beats(page: Page, address: str) -> None:
    found = errors_of(page)
    open_page(page, address, "Reconstruction", RECORD)
    page.get_by_text("Each token in turn").click()
    says(page, re.compile("Most surprising: beats? "))
    said = page.get_by_text(re.compile("Most surprising: beats? ")).inner_text()
    assert "premature and wide" in said and "9" in said and "11" in said
    settled(page)
    click_map(page, 9, 7)  # beat 9 in V2
    assert "token=V2%3A9" in page.url
    title = "document.querySelectorAll('.js-plotly-plot')[1].layout.title.text"
    page.wait_for_function(f"() => {title}.includes('Beat 9')")
    page.screenshot(path=SHOTS / "Reconstruction_turn.png", full_page=True)
    assert page.locator("[data-testid=stException], [data-testid=stAlert]").count() == 0
    page.get_by_role("button", name="Hide it whole").first.click()
    says_hidden(page, 12)
    assert re.fullmatch(":(9|11)", hidden_in(page))
    assert not found


@pytest.mark.slow
def test_the_turn_of_tokens_can_be_stopped_and_gone_on_with(page: Page, address: str) -> None:
    page.goto(f"{address}/Reconstruction?record=simulated-long&study=Each+token+in+turn")
    main = page.locator(".stMainBlockContainer")  # Streamlit has a button of that name of its own
    stop = main.get_by_role("button", name="Stop", exact=True)
    expect(stop).to_be_visible(timeout=60_000)
    stop.click()
    says(page, "Stopped.")
    assert page.get_by_role("button", name="Go on").is_visible()
