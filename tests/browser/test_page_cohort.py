"""The Cohort page in a real Chromium: a folder is indexed in the background, then sorted and browsed."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from benchmarks.load import server
from tests.browser.steps import SHOTS, errors_of, settled
from tests.simulated_ptbxl import write_folder

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

N = 13  # records of the folder, two of which cannot be read
BUILT = 200_000  # ms at most, on a busy machine: an index is built at low priority
SLOW = 30_000  # ms
POINT = """row => {
  const p = document.querySelector('.js-plotly-plot'), l = p._fullLayout, d = p._fullData[0];
  const box = p.getBoundingClientRect(), k = Array.from(d.customdata).indexOf(row);
  return [box.x + l._size.l + l.xaxis.c2p(d.x[k]), box.y + l._size.t + l.yaxis.c2p(d.y[k])];
}"""


@pytest.fixture(scope="module")
def cohort_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of its own, with simulated records in PTB-XL's layout and a file that is no ECG."""
    home = tmp_path_factory.mktemp("cohort")
    folder = write_folder(home / "data", n=N)  # one lacks its file, one is flat
    (folder / "Doe_Jane.dcm").write_bytes(b"no ECG at all" * 20)
    with server(home, CLEAR_HUG_DATA=str(folder), CLEAR_HUG_CACHE=str(home / "cache")) as (url, _):
        yield url


@pytest.fixture(scope="module")
def indexed(contexts: dict[str, BrowserContext], cohort_address: str) -> str:
    """The address once the index stands: built while another page is looked at."""
    page = contexts["light"].new_page()
    page.goto(f"{cohort_address}/Cohort")
    expect(page.get_by_text(f"The {N} records of the folder are not indexed yet.")).to_be_visible(
        timeout=60_000
    )
    page.screenshot(path=SHOTS / "Cohort_begin.png")
    page.get_by_role("button", name="Index").click()
    expect(page.get_by_text(re.compile("Indexing: |Records 1 to"))).to_be_visible(timeout=60_000)
    other = contexts["light"].new_page()
    other.goto(f"{cohort_address}/ECG")
    other.wait_for_selector(".js-plotly-plot .main-svg", timeout=SLOW)
    other.close()
    expect(page.get_by_text(f"Records 1 to {N} of {N}")).to_be_visible(timeout=BUILT)
    expect(page.get_by_text("Indexing: ")).to_have_count(0, timeout=BUILT)
    page.close()
    return cohort_address


def opened(page: Page, address: str, query: str = "") -> None:
    page.goto(f"{address}/Cohort{query}")
    page.wait_for_selector(".js-plotly-plot .main-svg", timeout=60_000)
    settled(page)


@pytest.mark.slow
def test_what_cannot_be_read_is_listed_with_its_reason(page: Page, indexed: str) -> None:
    found = errors_of(page)
    opened(page, indexed)
    page.get_by_text("2 records could not be read").click()
    expect(page.get_by_text(re.compile(r"Doe_Jane: Doe_Jane\.dcm"))).to_be_visible(timeout=SLOW)
    expect(page.get_by_text(re.compile("no QRS complex was found in"))).to_be_visible(timeout=SLOW)
    assert page.locator("[data-testid=stException], [data-testid=stAlert]").count() == 0
    assert not found


@pytest.mark.slow
def test_the_keys_n_and_p_walk_in_the_order_that_is_chosen(page: Page, indexed: str) -> None:
    opened(page, indexed, "?target=superdiagnostic/HYP&sort=probability")
    place = page.get_by_text(re.compile(rf"· \d+ of {N}$"))
    for key, at in (("n", 1), ("n", 2), ("n", 3), ("p", 2)):
        page.keyboard.press(key)
        expect(page.get_by_text(f"· {at} of {N}")).to_be_visible(timeout=SLOW)
    second, link = place.inner_text(), page.url
    assert re.search(r"record=folder-[0-9a-f]{16}", link) and "lr" not in link and "Doe" not in link
    opened(page, indexed, "?target=superdiagnostic/HYP&sort=probability&direction=lowest+first")
    page.keyboard.press("n")
    expect(page.get_by_text(f"· 1 of {N}")).to_be_visible(timeout=SLOW)
    assert place.inner_text().split(" · ")[0] != second.split(" · ")[0]
    page.goto(link)  # the order and the record stand in the link
    expect(page.get_by_text(f"· 2 of {N}")).to_be_visible(timeout=60_000)
    assert place.inner_text() == second


@pytest.mark.slow
def test_a_filter_stands_in_the_link_and_a_name_does_not(page: Page, indexed: str) -> None:
    opened(page, indexed, "?reading=could+not+be+read")
    expect(page.get_by_text("Records 1 to 2 of 2")).to_be_visible(timeout=SLOW)
    opened(page, indexed)
    page.get_by_role("button", name="Filter").click()
    page.get_by_label("Name").fill("00003")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Records 1 to 1 of 1")).to_be_visible(timeout=SLOW)
    assert "00003" not in page.url


@pytest.mark.slow
def test_a_click_on_the_map_lists_neighbours_and_opens_one(page: Page, indexed: str) -> None:
    found = errors_of(page)
    opened(page, indexed)
    page.mouse.click(*page.evaluate(POINT, 3))
    expect(page.get_by_text(re.compile(rf"· \d+ of {N}$"))).to_be_visible(timeout=SLOW)
    settled(page)
    tables = page.locator("[data-testid=stDataFrame]")
    expect(tables).to_have_count(2, timeout=SLOW)
    first = page.url
    box = tables.first.bounding_box()
    assert box
    page.mouse.click(box["x"] + 15, box["y"] + 53)  # the first neighbour
    page.wait_for_function("before => location.href != before", arg=first)
    settled(page)
    chosen = re.search("record=([^&]+)", page.url)
    assert chosen and chosen[1] not in first
    page.locator(".stMainBlockContainer").get_by_role("link", name="ECG", exact=True).click()
    page.wait_for_selector(".head h1:has-text('ECG')")
    page.wait_for_selector(".js-plotly-plot .main-svg")
    assert f"record={chosen[1]}" in page.url
    assert not found


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_looks(contexts: dict[str, BrowserContext], indexed: str, scheme: str) -> None:
    page = contexts[scheme].new_page()
    opened(page, indexed, "?target=superdiagnostic/HYP&colour=known+label&sort=novelty")
    page.keyboard.press("n")
    expect(page.get_by_text(f"· 1 of {N}")).to_be_visible(timeout=SLOW)
    settled(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    page.screenshot(path=SHOTS / f"Cohort_index_{scheme}.png")
    page.close()
