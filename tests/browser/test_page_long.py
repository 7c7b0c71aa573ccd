"""A record of more than an hour: a stretch at a time, the whole along rate and quality, and where to look."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from benchmarks.load import server
from clear_hug.cohort import list_entries
from clear_hug.leads import LEADS
from clear_hug.simulate import simulate_ecg
from tests.browser.steps import open_page, settled

pytestmark = pytest.mark.browser
MINUTES, NOISE, FAST = 65, 40, 50


def write(folder: Path) -> None:
    """65 minutes at 60 beats/min, but for noise in minute 40 and 100 beats/min in minute 50."""
    rng = np.random.default_rng(0)
    usual, fast = (
        simulate_ecg("normal", 1, fs=100.0, seconds=60.0, heart_rate=rate).signal for rate in (60.0, 100.0)
    )
    minutes = [usual] * MINUTES
    minutes[NOISE], minutes[FAST] = rng.normal(0, 1, usual.shape), fast
    counts = np.round(np.concatenate(minutes, axis=1).T * 1000).astype("<i2")
    (folder / "Doe_Jane.dat").write_bytes(counts.tobytes())
    lines = [f"Doe_Jane.dat 16 1000/mV 16 0 0 0 0 {lead}" for lead in LEADS]
    (folder / "Doe_Jane.hea").write_text("\n".join([f"Doe_Jane 12 100 {len(counts)}", *lines]) + "\n")


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The address of a server beside such a record, and the record's id."""
    folder, home = tmp_path_factory.mktemp("long"), tmp_path_factory.mktemp("home")
    write(folder)
    with server(home, CLEAR_HUG_DATA=str(folder)) as (address, _):
        yield address, list_entries(folder)[0].key


@pytest.mark.slow
def test_the_worst_window_is_found_and_gone_to(page: Page, long: tuple[str, str]) -> None:
    address, record = long
    open_page(page, address, "Home", f"?record={record}")
    expect(page.get_by_text("From 00:00:00 to 00:02:00", exact=True)).to_be_visible()
    expect(page.get_by_text("100% of 01:05:00 read")).to_be_visible(timeout=90_000)
    worst = page.get_by_role("button", name=re.compile(rf"00:{NOISE}:\d0 · 0\.\d\d")).first
    fastest = page.get_by_role("button", name=re.compile(rf"00:{FAST}:\d0 · (99|100|101) beats.min")).first
    expect(fastest).to_be_visible()
    worst.click()
    there = page.get_by_text(re.compile(r"^From 00:(39|40):00 to 00:(41|42):00$"))
    expect(there).to_be_visible(timeout=30_000)
    settled(page)
    assert re.search(r"minute=(39|40)&start=[3-8]\d$", page.url) and "Doe" not in page.url
    page.get_by_role("link", name="ECG", exact=True).click()
    drawn = page.get_by_text(re.compile(r"^Doe_Jane, 00:(39|40):00 to 00:(41|42):00 · raw")).first
    expect(drawn).to_be_visible(timeout=60_000)
    assert re.search(r"minute=(39|40)&start=[3-8]\d$", page.url)


@pytest.mark.long
def test_a_link_opens_the_stretch_and_the_buttons_move_it(page: Page, long: tuple[str, str]) -> None:
    address, record = long
    open_page(page, address, "ECG", f"?record={record}&minute=50")
    expect(page.get_by_text("From 00:50:00 to 00:52:00", exact=True)).to_be_visible()
    page.get_by_role("button", name="After").click()
    expect(page.get_by_text("From 00:52:00 to 00:54:00", exact=True)).to_be_visible(timeout=30_000)
    page.get_by_role("button", name="Before").click()
    expect(page.get_by_text("From 00:50:00 to 00:52:00", exact=True)).to_be_visible(timeout=30_000)
    page.get_by_text("The whole, 01:05:00").click()
    expect(page.get_by_text("Lowest quality")).to_be_visible(timeout=30_000)
