"""Exchanged electrodes are found and set right, and setting right says so."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clear_hug.ecg import ECGError
from clear_hug.exchange import REVERSALS, undo_reversal
from clear_hug.quality import assess_quality
from clear_hug.simulate import simulate_ecg
from tests.real_data import DATA, needs_data


@pytest.mark.parametrize("name", ["LA/RA", "RA/LL", "V1/V3", *(name for name in REVERSALS if name[0] == "-")])
@pytest.mark.parametrize("fs", [100, 500])
def test_exchanged_leads_are_found_and_set_right(name, fs):
    ecg = simulate_ecg("normal", 3, fs=fs)
    wrong = undo_reversal(ecg, name)
    quality = assess_quality(wrong)
    assert quality.reversal == name
    assert any(said.startswith("Suspected: ") for said in quality.reasons)
    right = undo_reversal(wrong, quality.reversal)
    np.testing.assert_array_equal(right.signal, ecg.signal)
    assert assess_quality(right).reversal is None


@pytest.mark.parametrize("name", REVERSALS)
def test_setting_right_says_so_and_done_twice_changes_nothing(simulated, name):
    ecg = replace(simulated("normal"), derived=("III", "aVR", "aVL", "aVF"))
    once = undo_reversal(ecg, name)
    assert not np.array_equal(once.signal, ecg.signal)
    assert once.warnings[-1].startswith("Corrected by hand: ") and once.digest != ecg.digest
    twice = undo_reversal(once, name)
    np.testing.assert_array_equal(twice.signal, ecg.signal)
    assert twice.derived == ecg.derived


@pytest.mark.parametrize("name", ["LA/RA", "LA/LL", "RA/LL"])
def test_einthoven_and_goldberger_hold_after_limb_electrodes_are_exchanged(simulated, name):
    i, ii, iii, avr, avl, avf = undo_reversal(simulated("normal"), name).signal[:6]
    np.testing.assert_allclose(i + iii, ii, atol=1e-5)
    np.testing.assert_allclose(avr + avl + avf, 0, atol=1e-5)
    np.testing.assert_allclose(avr, -(i + ii) / 2, atol=1e-5)


def test_absent_samples_stay_absent_when_leads_are_exchanged(simulated):
    signal = simulated("normal").signal.copy()
    signal[0, : round(0.3 * signal.shape[1])] = np.nan
    ecg = replace(simulated("normal"), signal=signal)
    once = undo_reversal(ecg, "LA/RA")
    np.testing.assert_array_equal(np.isnan(once.signal).sum(axis=1), np.isnan(ecg.signal).sum(axis=1))
    assert np.isnan(undo_reversal(ecg, "RA/LL").signal[2, :1000]).all()  # III now shows what I recorded


def test_an_unknown_exchange_is_refused_in_words(simulated):
    with pytest.raises(ECGError, match="unknown exchange of electrodes 'V7/V8'; expected LA/RA"):
        undo_reversal(simulated("normal"), "V7/V8")


@pytest.mark.long
@needs_data
def test_exchanged_arms_of_real_records_are_found():
    from benchmarks.quality import files

    folder = Path(DATA) / "ludb"  # nothing was learnt from it
    records = list(files(folder))
    alarms = [assess_quality(ecg).reversal for ecg in records]
    found = [assess_quality(undo_reversal(ecg, "LA/RA")).reversal == "LA/RA" for ecg in records]
    assert len(records) >= 90
    assert np.mean([bool(name) for name in alarms]) <= 0.02
    assert np.mean(found) >= 0.8
