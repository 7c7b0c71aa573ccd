"""The Diagnosis page by mouse and keyboard: operating points, prevalence, read first, the gate."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.steps import PLOT, SHOTS, open_page, settled

pytestmark = pytest.mark.browser


def ticks(page: Page) -> list[float]:
    return page.evaluate("Array.from(document.querySelector('.js-plotly-plot')._fullData[2].x)")


def row(page: Page, name: str) -> str:
    return page.locator("[data-testid=stTable] tr", has_text=name).first.inner_text()


@pytest.mark.long
def test_an_operating_point_moves_the_thresholds_and_stands_in_the_link(page: Page, address: str) -> None:
    open_page(page, address, "Diagnosis")
    default = ticks(page)
    page.get_by_role("radio", name="sensitivity", exact=True).click()
    settled(page)
    found = ticks(page)
    assert found != default and "point=sensitivity" in page.url
    page.get_by_role("radio", name="98%").click()
    settled(page)
    assert all(a <= b for a, b in zip(sorted(ticks(page)), sorted(found), strict=True))
    assert re.search(r"9[89]\.\d%", row(page, "Sensitivity"))
    kept = ticks(page)
    page.goto(page.url)
    page.wait_for_selector(".js-plotly-plot .main-svg")
    settled(page)
    assert ticks(page) == kept


@pytest.mark.slow
def test_a_prevalence_changes_what_a_call_is_worth_and_not_who_is_called(page: Page, address: str) -> None:
    open_page(page, address, "Diagnosis", "?target=superdiagnostic/MI")
    called, worth = ticks(page), row(page, "PPV at")
    box = page.get_by_role("spinbutton", name=re.compile("Prevalence in your"))
    box.fill("1")
    box.press("Enter")
    settled(page)
    rare = row(page, "PPV at")
    percent = [float(re.findall(r"([\d.]+)%", text)[-1]) for text in (worth, rare)]
    assert percent[1] < percent[0] and ticks(page) == called and "prevalence=1" in page.url
    page.get_by_role("combobox", name="Label").first.click()
    page.keyboard.type("hypertrophy")
    page.keyboard.press("Enter")
    settled(page)
    expect(box).not_to_have_value("1.00")


@pytest.mark.long
def test_read_first_hides_then_compares_and_exports(
    contexts: dict[str, BrowserContext], address: str
) -> None:
    page = contexts["light"].new_page()
    page.goto(f"{address}/Diagnosis?record=simulated-paced&read_first=true")
    page.get_by_text("Your reading first").wait_for()
    settled(page)
    paper = page.locator(
        ".st-key-paper_overview .js-plotly-plot"
    )  # the ECG to be read, and no chart beside it
    assert paper.count() == page.locator(".js-plotly-plot").count() == 1
    told = page.locator(".stMainBlockContainer").inner_text()
    assert not re.search(r"\(\d+%|Called|No label|Why|%\)", told)
    page.screenshot(path=SHOTS / "read-first.png")
    page.get_by_role("link", name="Home").click()
    page.get_by_text("the answer is hidden").wait_for()
    settled(page)
    assert "Most probable" not in page.locator(".stMainBlockContainer").inner_text()
    page.get_by_role("link", name="Diagnosis", exact=True).click()
    page.get_by_text("Your reading first").wait_for()
    settled(page)
    page.get_by_role("button", name="conduction disturbance").first.click()
    page.get_by_role("textbox", name="Note").fill("paced")
    page.get_by_role("button", name="Commit").click()
    expect(paper).to_have_count(0)
    page.wait_for_selector(".js-plotly-plot .main-svg")
    settled(page)
    expect(page.get_by_text("you: yes")).to_have_count(1)
    page.get_by_role("radio", name="agree", exact=True).first.click()
    settled(page)
    page.screenshot(path=SHOTS / "read-first-compared.png")
    with page.expect_download() as download:
        page.get_by_role("button", name="Reading as JSON").click()
    told = json.loads(download.value.path().read_text())
    assert told["labels"] == ["superdiagnostic/CD"] and told["note"] == "paced"
    assert [r["verdict"] for r in told["verdicts"]].count("agree") == 1
    assert "simulated" not in json.dumps(told) and "paced" not in download.value.suggested_filename
    page.close()


@pytest.mark.long
@pytest.mark.parametrize(
    ("record", "words"),
    [
        ("simulated-lead_off", "left out: V3"),
        pytest.param("simulated-tachycardia", "simulated", marks=pytest.mark.slow),
        ("real", ""),
    ],
)
def test_the_gate_stands_before_every_number(page: Page, address: str, record: str, words: str) -> None:
    open_page(page, address, "Diagnosis", f"?record={record}")
    text = page.locator(".stMainBlockContainer").inner_text()
    gate = "Before you read a number" if words else "input: nothing unusual"
    assert words in text and 0 < text.index(gate) < text.index("Called")
    assert page.get_by_text(gate).first.bounding_box()["y"] < 200
    assert page.evaluate(f"{PLOT}.title.text").startswith("<b>Probability of each label")
