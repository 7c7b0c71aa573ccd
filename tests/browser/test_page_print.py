"""What the browser prints: on A4, upright or across, the paper is there to its last lead."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.browser.steps import open_page

pytestmark = [pytest.mark.browser, pytest.mark.long]
# laid out for the sheet when the medium has changed, and no later: what was drawn is left as it was
WATCH = """() => matchMedia('print').addEventListener('change', ({ matches }) => {
  if (!matches) return;
  const box = e => { const b = e.getBoundingClientRect(); return [b.left, b.right, b.top, b.bottom]; };
  const main = document.querySelector('.stMainBlockContainer');
  const plot = document.querySelector('.js-plotly-plot');
  const names = [...plot.querySelectorAll('.textpoint text')].filter(t => t.textContent);
  window.printed = {
    page: box(main), plot: box(plot),
    names: Object.fromEntries(names.map(t => [t.textContent, box(t)])),
    menus: getComputedStyle(document.querySelector('.stSidebar')).display,
  };
})"""


@pytest.mark.parametrize("across", [True, False])
@pytest.mark.parametrize("layout", ["3x4", "12x1"])
def test_the_paper_is_printed_whole(page: Page, address: str, across: bool, layout: str) -> None:
    open_page(page, address, "ECG", f"?record=simulated-normal&layout={layout}")
    page.evaluate(WATCH)
    page.pdf(format="A4", landscape=across, print_background=True)
    seen = page.evaluate("window.printed")
    assert seen["menus"] == "none"
    left, right, top, bottom = seen["plot"]
    assert seen["page"][0] <= left and right <= seen["page"][1] + 1
    assert len(seen["names"]) >= 12
    for a, b, high, low in seen["names"].values():
        assert left <= a < b <= right and top <= high < low <= bottom
    if across:
        assert bottom - top < 210 / 25.4 * 96
    page.wait_for_timeout(200)
    assert page.locator("svg.main-svg[viewBox]").count() == 0, "on the screen it is as it was"
