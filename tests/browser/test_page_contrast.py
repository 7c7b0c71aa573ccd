"""Text stands out from what lies behind it: the WCAG contrast of all text of every page, in both themes.

The text of figures is judged by the colours of its theme (tests/test_plots.py); tables that are drawn on a
canvas by those of the page.
"""

from __future__ import annotations

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.browser.steps import PAGES, settled

pytestmark = pytest.mark.browser
LEAST, LEAST_LARGE = 4.5, 3.0  # WCAG 2.2, 1.4.3; large: 24 px, or bold and 18.66 px
VIEWS = [
    *((name, "") for name in PAGES),
    ("Explanation", "?view=Trust"),
    ("Diagnosis", "?read_first=true"),
    ("Diagnosis", "?record=nobody"),
]
FIRST = (("Diagnosis", "?read_first=true"),)
MEASURE = """() => {
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = 1;
  const pen = canvas.getContext('2d', {willReadFrequently: true});
  const parsed = text => {  // whatever syntax the browser tells a colour in
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = text;
    pen.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) => top.slice(0, 3).map((v, k) => v * top[3] + below[k] * (1 - top[3])).concat(1);
  const light = colour => colour.slice(0, 3).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
  const contrast = (a, b) => {
    const [low, high] = [light(a), light(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const words = walker.currentNode.textContent.trim();
    const element = walker.currentNode.parentElement;
    if (!words || element.closest('svg, script, style, noscript, template')) continue;
    if (element.closest('[data-testid=stIconMaterial]')) continue;
    if (element.closest(':disabled, [aria-disabled=true], [data-testid=stTooltipContent]')) continue;
    if (!element.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
    const box = element.getBoundingClientRect();
    if (box.width < 2 || box.height < 2) continue;
    const chain = [];
    for (let e = element; e; e = e.parentElement) chain.unshift(e);
    let behind = [255, 255, 255, 1];
    let opacity = 1;
    for (const e of chain) {
      const style = getComputedStyle(e);
      opacity *= Number(style.opacity);
      const fill = parsed(style.backgroundColor);
      behind = over([...fill.slice(0, 3), fill[3] * opacity], behind);
    }
    const style = getComputedStyle(element);
    const ink = parsed(style.color);
    const size = parseFloat(style.fontSize);
    found.push({
      words: words.slice(0, 60),
      at: chain.slice(-3).map(e => e.dataset.testid || e.className || e.tagName).join(' > ').slice(0, 160),
      contrast: contrast(over([...ink.slice(0, 3), ink[3] * opacity], behind), behind),
      large: size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700),
    });
  }
  return found;
}"""


def texts(page: Page) -> list[dict]:
    return page.evaluate(MEASURE)


@pytest.mark.parametrize(
    ("name", "query", "scheme"),
    [
        pytest.param(*view, scheme, marks=pytest.mark.long if view in FIRST else pytest.mark.slow)
        for view in VIEWS
        for scheme in ("light", "dark")
    ],
)
def test_all_text_stands_out(
    contexts: dict[str, BrowserContext], address: str, scheme: str, name: str, query: str
) -> None:
    page = contexts[scheme].new_page()
    page.goto(f"{address}/{'' if name == 'Home' else name}{query}")
    page.locator(".stMainBlockContainer h1").wait_for(timeout=60_000)
    page.wait_for_timeout(1500)
    settled(page)
    page.evaluate("document.querySelectorAll('details:not([open]) summary').forEach(one => one.click())")
    page.wait_for_timeout(600)
    found = sorted(texts(page), key=lambda text: text["contrast"])
    page.close()
    assert len(found) > 20
    poor = [
        f"{text['contrast']:.2f} {text['words']!r} in {text['at']}"
        for text in found
        if text["contrast"] < (LEAST_LARGE if text["large"] else LEAST)
    ]
    assert not poor, "\n".join(poor[:40])


@pytest.mark.long
def test_poor_text_is_found(contexts: dict[str, BrowserContext]) -> None:
    page = contexts["light"].new_page()
    page.set_content(
        "<body style='background:#fff'><p style='color:#777'>faint</p><p style='color:#767676'>enough</p>"
        "<div style='background:#000'><p style='color:#fff;opacity:.3'>veiled</p></div>"
        "<button disabled style='color:#eee'>off</button></body>"
    )
    found = {text["words"]: text["contrast"] for text in texts(page)}
    assert set(found) == {"faint", "enough", "veiled"}
    assert found["faint"] < 4.5 < found["enough"] and found["veiled"] < 3
    page.close()
