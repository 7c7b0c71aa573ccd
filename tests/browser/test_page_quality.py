"""A doubtful signal is said on every page; exchanged electrodes are set right by a click, and back."""

import re
from pathlib import Path

import numpy as np
import pytest
import wfdb
from playwright.sync_api import Page, expect

from clear_hug.exchange import undo_reversal
from clear_hug.leads import LEADS
from clear_hug.simulate import simulate_ecg
from tests.browser.steps import open_page, settled, uploaded

pytestmark = pytest.mark.browser


def write(folder: Path, name: str, signal: np.ndarray) -> tuple[Path, Path]:
    wfdb.wrsamp(name, fs=500, units=["mV"] * 12, sig_name=list(LEADS), write_dir=str(folder),
                p_signal=signal.T.astype(np.float64), fmt=["16"] * 12)  # fmt: skip
    return folder / f"{name}.hea", folder / f"{name}.dat"


@pytest.mark.long
def test_exchanged_arms_are_said_on_every_page_and_set_right(
    page: Page, address: str, tmp_path: Path
) -> None:
    wrong = undo_reversal(simulate_ecg("normal", 3), "LA/RA")
    open_page(page, address, "Home")
    uploaded(page, *write(tmp_path, "arms", wrong.signal))
    said = page.get_by_text("Suspected: arm electrodes exchanged (LA/RA)").first  # the gate says it too
    for name in ("ECG", "Diagnosis", "What if"):
        page.get_by_role("link", name=name, exact=True).click()
        expect(said).to_be_visible(timeout=30_000)
        expect(page.locator(".js-plotly-plot .main-svg").first).to_be_visible(timeout=30_000)
    page.get_by_role("button", name="Correct the leads").click()
    expect(page.get_by_text("Corrected by hand: arm electrodes exchanged").first).to_be_visible(
        timeout=30_000
    )
    settled(page)
    assert said.count() == 0
    page.get_by_role("link", name="ECG", exact=True).click()
    expect(page.get_by_text("the leads are no longer as recorded").first).to_be_visible(timeout=30_000)
    page.get_by_role("button", name="As recorded").click()
    expect(said).to_be_visible(timeout=30_000)


@pytest.mark.slow
def test_a_flat_lead_is_named_and_a_clean_record_is_not_warned_of(page: Page, address: str) -> None:
    open_page(page, address, "ECG", "?record=simulated-lead_off")
    expect(page.get_by_text("Flat: V3.")).to_be_visible()
    page.get_by_text("Signal quality of each lead").click()
    expect(page.locator("[data-testid=stDataFrame]").last).to_be_visible()
    open_page(page, address, "ECG", "?record=simulated-normal")
    expect(page.get_by_text(re.compile(r"Signal quality: (0\.9\d|1\.00)"))).to_be_visible()
    assert page.get_by_role("button", name="Correct the leads").count() == 0
