"""A narrow window, or a page at 150 %: nothing that can be chosen or read is cut off."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.browser.steps import open_page

pytestmark = pytest.mark.browser
SIZE = {"width": 853, "height": 480}  # 1280 x 720 at 150 %
HIDDEN = """() => {
  const gone = [];
  for (const group of document.querySelectorAll('[data-testid=stButtonGroup] [role=radiogroup]')) {
    for (const option of group.querySelectorAll('[role=radio], button')) {
      const mine = option.getBoundingClientRect();
      const top = document.elementFromPoint(mine.right - 4, mine.y + mine.height / 2);
      if (mine.bottom < innerHeight && !option.contains(top)) gone.push(option.innerText);
    }
  }
  return gone;
}"""
WORDS = """() => {
  const plot = document.querySelector('.js-plotly-plot').getBoundingClientRect();
  return Array.from(document.querySelectorAll('.js-plotly-plot .textpoint text'))
    .filter(t => t.textContent).map(t => t.getBoundingClientRect().right - plot.right);
}"""


CUT = """() => {
  const page = document.querySelector('.stMain').getBoundingClientRect(), gone = [];
  const cells = '.stColumn p, table.plain :is(th, td)';
  for (const e of document.querySelectorAll(cells)) {
    const range = document.createRange();
    range.selectNodeContents(e);
    const words = range.getBoundingClientRect(), place = e.getBoundingClientRect();
    if (words.right > Math.min(page.right, place.right) + 2) gone.push(e.innerText);
  }
  for (const plot of document.querySelectorAll('.js-plotly-plot')) {
    const right = plot.getBoundingClientRect().right;
    for (const t of plot.querySelectorAll('.gtitle, .xtitle'))
      if (t.getBoundingClientRect().right > right + 1) gone.push(t.textContent);
  }
  return gone;
}"""


@pytest.mark.long
@pytest.mark.parametrize("name", ["Home", "ECG", "Beats", "Diagnosis", "Explanation", "Compare"])
def test_no_word_is_cut(page: Page, address: str, name: str) -> None:
    page.set_viewport_size(SIZE)
    open_page(page, address, name, "?record=simulated-premature")
    page.wait_for_timeout(500)
    assert page.evaluate(CUT) == []


@pytest.mark.long
@pytest.mark.parametrize("name", ["ECG", "Reconstruction", "Diagnosis"])
def test_every_option_can_be_reached(page: Page, address: str, name: str) -> None:
    page.set_viewport_size({**SIZE, "height": 900})
    open_page(page, address, name)
    assert page.locator("[data-testid=stButtonGroup] [role=radiogroup]").count()
    assert page.evaluate(HIDDEN) == []


@pytest.mark.parametrize("task", ["superdiagnostic", "all"])
def test_what_is_said_beside_a_bar_is_whole(page: Page, address: str, task: str) -> None:
    page.set_viewport_size(SIZE)
    open_page(page, address, "Diagnosis", f"?record=simulated-premature&task={task}")
    beyond = page.evaluate(WORDS)
    assert beyond and max(beyond) < 0
    assert page.evaluate("document.querySelector('.js-plotly-plot')._fullLayout.xaxis._length") > 80


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_the_keyboard_is_on_is_outlined(contexts, address: str, scheme: str) -> None:
    page = contexts[scheme].new_page()
    open_page(page, address, "ECG")
    page.locator(".stSidebar a").nth(2).focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    outline = page.evaluate(
        "(s => [s.outlineStyle, s.outlineWidth])(getComputedStyle(document.activeElement))"
    )
    assert outline == ["solid", "2px"]
    page.close()
