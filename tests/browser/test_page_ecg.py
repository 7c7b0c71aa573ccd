"""The ECG page by mouse and keyboard: paper, filters, calipers, long records, two ECGs."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.steps import PLOT, PX_PER_MM, SHOTS, errors_of, open_page, settled

pytestmark = pytest.mark.browser

PLACE = """([figure, t, mm]) => {
  const p = document.querySelectorAll('.js-plotly-plot')[figure];
  const l = p._fullLayout, b = p.getBoundingClientRect();
  return [b.x + l.xaxis._offset + l.xaxis.l2p(t), b.y + l.yaxis._offset + l.yaxis.l2p(mm)];
}"""


def press(page: Page, name: str) -> None:
    page.get_by_role("radio", name=name, exact=True).or_(
        page.get_by_role("button", name=name, exact=True)
    ).first.click()
    settled(page)


def pick(page: Page, label: str, option: str) -> None:
    page.get_by_role("combobox", name=re.compile(label)).click()
    page.get_by_role("option", name=option, exact=True).click()
    settled(page)


def until_titled(page: Page, words: str) -> None:
    """The title of the paper, or the line under its trace, holds these words."""
    page.wait_for_function(
        """words => {const l = document.querySelector('.js-plotly-plot')?._fullLayout;
        return l && `${l.title.text} ${l.xaxis.title.text}`.includes(words)}""",
        arg=words,
        timeout=20_000,
    )


def names(page: Page) -> list[str]:
    return page.evaluate("document.querySelector('.js-plotly-plot').data.map(trace => trace.name)")


def drag(page: Page, start: tuple[float, float], stop: tuple[float, float]) -> None:
    """From (s, mm) to (s, mm) on the paper."""
    a, b = (page.evaluate(PLACE, [0, *point]) for point in (start, stop))
    page.mouse.move(*a)
    page.mouse.down()
    page.mouse.move((a[0] + b[0]) / 2, (a[1] + b[1]) / 2, steps=3)
    page.mouse.move(*b, steps=3)
    page.mouse.up()
    page.wait_for_timeout(400)
    settled(page)


def calipers_of(page: Page) -> Locator:
    return page.get_by_text(re.compile(r"^Calipers.*\d s: \d+ ms"))


@pytest.mark.long
def test_paper_is_what_is_asked_for_and_stays_true(page: Page, address: str) -> None:
    found = errors_of(page)
    open_page(page, address, "ECG", "?record=simulated-normal")
    until_titled(page, "raw: no filter added")
    for wanted, said in (("12x1", ""), ("50", "50 mm/s"), ("20", "20 mm/mV")):
        press(page, wanted)
        until_titled(page, said)
    assert names(page)[:3] == ["I", "II", "III"]
    pick(page, "Limb leads", "Cabrera")
    page.wait_for_function("document.querySelector('.js-plotly-plot')?.data?.[0].name === 'aVL'")
    assert names(page)[:6] == ["aVL", "I", "-aVR", "II", "aVF", "III"]
    across, up = page.evaluate(PX_PER_MM, 50)
    assert across == pytest.approx(up, rel=0.01)
    press(page, "for display")
    until_titled(page, "filtered for display: 0.5 Hz high-pass, 40 Hz low-pass")
    page.get_by_role("button", name="Filters").click()
    press(page, "50 Hz")
    until_titled(page, "50 Hz notch")
    assert "mains=50" in page.url
    page.keyboard.press("Escape")
    press(page, "as the model sees it")
    until_titled(page, "each lead over its SD")
    until_titled(page, "voltage cannot be read")
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    before = page.evaluate(f"{PLOT}.xaxis.range")
    page.locator(".js-plotly-plot").hover()
    page.locator('[data-title="Zoom in"]').click()
    page.wait_for_timeout(400)
    after = page.evaluate(f"{PLOT}.xaxis.range")
    assert after[1] - after[0] < before[1] - before[0]
    across, up = page.evaluate(PX_PER_MM, 50)
    assert across == pytest.approx(up, rel=0.01) and page.evaluate(f"{PLOT}.xaxis.dtick") == 0.1
    page.screenshot(path=SHOTS / "ECG_model_zoomed.png")
    assert not found


@pytest.mark.long
def test_calipers_are_set_by_mouse_and_by_numbers(page: Page, address: str) -> None:
    found = errors_of(page)
    open_page(page, address, "ECG", "?record=simulated-normal")
    press(page, "calipers")
    pulses = "document.querySelector('.js-plotly-plot').data.find(t => t.name === 'calibration').y"
    base = page.evaluate(f"Math.min(...{pulses}.filter(y => y !== null))")  # of the rhythm strip
    drag(page, (1.0, base), (1.8, base))
    expect(calipers_of(page)).to_contain_text(re.compile(r"(79\d|80\d|81\d) ms · 7[3-6] beats/min$"))
    assert re.search(r"caliper=(0\.9|1\.0)\d+_1\.[78]\d+$", page.url)
    drag(page, (4.0, base), (4.4, base + 12))
    expect(calipers_of(page)).to_contain_text(
        re.compile(r"lead II, .*: (39|40)\d ms · 1(49|5\d) beats/min · 1\.[12]\d mV$")
    )
    page.get_by_role("button", name="Calipers").click()
    page.get_by_text("March along the strip").click()
    settled(page)
    page.wait_for_function("document.querySelector('.js-plotly-plot')?.data?.some(t => t.name === 'march')")
    page.screenshot(path=SHOTS / "ECG_calipers.png")
    page.get_by_label("From, s").fill("2")
    page.get_by_label("To, s").fill("3")
    page.keyboard.press("Enter")
    page.wait_for_timeout(400)
    settled(page)
    expect(calipers_of(page)).to_contain_text("2.000 to 3.000 s: 1000 ms · 60 beats/min")
    assert not found


@pytest.mark.long
def test_a_long_record_is_walked_by_strip_button_and_key(page: Page, address: str) -> None:
    open_page(page, address, "ECG", "?record=simulated-long")
    paper = page.locator(".js-plotly-plot").nth(1)
    expect(paper).to_contain_text("0.0 to 10.0 s")
    place = page.evaluate(PLACE, [0, 14.0, 0.2])
    page.mouse.click(*place)
    page.wait_for_timeout(400)
    settled(page)
    expect(paper).to_contain_text("10.0 to 20.0 s")
    assert "start=10" in page.url
    page.get_by_role("button", name="Later").click()
    settled(page)
    expect(paper).to_contain_text("20.0 to 30.0 s")
    page.get_by_role("slider").focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(400)
    settled(page)
    expect(paper).to_contain_text("19.0 to 29.0 s")
    page.screenshot(path=SHOTS / "ECG_long.png")


@pytest.mark.long
def test_two_ecgs_are_held_against_each_other(page: Page, address: str) -> None:
    found = errors_of(page)
    open_page(page, address, "ECG", "?record=simulated-premature&with_record=simulated-normal")
    pick(page, "View", "two side by side")
    figures = page.locator(".js-plotly-plot")
    expect(figures).to_have_count(2)
    expect(figures.nth(1).locator(".main-svg").first).to_be_visible()
    settled(page)
    boxes = [figures.nth(k).bounding_box() for k in (0, 1)]
    assert boxes[0]["y"] == boxes[1]["y"] and boxes[0]["height"] == boxes[1]["height"]
    assert boxes[1]["x"] >= boxes[0]["x"] + boxes[0]["width"] and boxes[1]["x"] + boxes[1]["width"] <= 1280
    across, up = page.evaluate(PX_PER_MM, 25)
    assert across == pytest.approx(up, rel=0.02)
    expect(page.get_by_text("Labels that changed most")).to_be_visible()
    page.screenshot(path=SHOTS / "ECG_beside.png", full_page=True)
    pick(page, "View", "two laid over")
    expect(figures).to_have_count(1, timeout=20_000)
    expect(figures.first).to_contain_text("median beats")
    pick(page, "Align", "R peaks")
    expect(figures.first).to_contain_text("the second moved by")
    expect(page.get_by_text("Measurements of both")).to_be_visible()
    page.screenshot(path=SHOTS / "ECG_over.png", full_page=True)
    assert not found
