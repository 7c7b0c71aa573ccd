"""Signal quality: what makes a lead worse is seen, named, and lowers that lead alone."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clear_hug.ecg import ECG, resample
from clear_hug.io import read_ecg
from clear_hug.leads import LEADS
from clear_hug.quality import MEASURES, assess_quality
from clear_hug.simulate import PRESETS, simulate_ecg
from tests.real_data import DATA, needs_data

V3 = LEADS.index("V3")
HEARTS = [
    "normal",
    "bradycardia",
    "tachycardia",
    "irregular",
    "premature",
    "low_voltage",
    "high_voltage",
    "paced",
]


def spoilt(ecg, lead=V3, **how):
    """The record with one lead spoilt, and no other touched."""
    signal, t = ecg.signal.copy(), np.arange(ecg.n_samples) / ecg.fs
    row, rng = signal[lead], np.random.default_rng(0)
    height = np.nanmax(np.abs(row))
    for name, size in how.items():
        if name == "noise":
            row += size * height * rng.normal(size=row.size)
        elif name == "bursts":
            row += size * height * rng.normal(size=row.size) * (np.sin(2 * np.pi * 0.15 * t) > 0.6)
        elif name == "mains":
            row += size * height * np.sin(2 * np.pi * 50 * t)
        elif name == "baseline":
            row += size * height * np.sin(2 * np.pi * 0.2 * t)
        elif name == "steps":
            row[row.size // 3 :] += size * height
        elif name == "clipped":
            np.clip(row, -size * height, size * height, out=row)
        elif name == "flat":
            row[: int(size * row.size)] = row[0]
        elif name == "missing":
            row[: int(size * row.size)] = np.nan
        elif name == "spikes":
            r = (ecg.truth["r_peaks"][:4] + 0.42) * ecg.fs
            row[r.astype(int)[:, None] + np.arange(round(0.02 * ecg.fs))] += size * height
    return replace(ecg, signal=signal)


SPOILT = {
    "noise": (0.3, 0.8), "bursts": (0.6, 1.5), "mains": (0.15, 0.5), "baseline": (2.0, 6.0),
    "steps": (1.5, 4.0), "clipped": (0.6, 0.4), "flat": (0.3, 0.6), "missing": (0.2, 0.6),
    "spikes": (3.0, 9.0),
}  # fmt: skip


@pytest.mark.parametrize("defect", SPOILT)
def test_what_spoils_a_lead_is_named_and_lowers_that_lead_alone(simulated, defect):
    clean = simulated("normal")
    before = assess_quality(clean)
    some, much = (assess_quality(spoilt(clean, **{defect: size})) for size in SPOILT[defect])
    assert before.leads[V3] > 0.9 > 0.5 > some.leads[V3] >= much.leads[V3]
    assert MEASURES[defect].words in [said.split(" (")[0] for said in some.lead_reasons[V3]]
    assert f"{MEASURES[defect].words.capitalize()}: V3." in some.reasons
    others = np.delete(np.arange(12), V3)
    np.testing.assert_allclose(some.leads[others], before.leads[others], atol=0.02)
    assert not any(some.lead_reasons[row] for row in others)
    assert before.acceptable >= some.acceptable >= much.acceptable


def test_mains_of_sixty_hertz_is_found_too():
    ecg = simulate_ecg("normal", 0)
    t = np.arange(ecg.n_samples) / ecg.fs
    quality = assess_quality(replace(ecg, signal=ecg.signal + np.float32(0.3) * np.sin(2 * np.pi * 60 * t)))
    assert "Mains hum: all leads." in quality.reasons


@pytest.mark.parametrize("kind", HEARTS)
@pytest.mark.parametrize("fs", [100, 250, 500, 1000])
def test_clean_records_are_acceptable_at_any_rate(kind, fs):
    quality = assess_quality(simulate_ecg(kind, 1, fs=fs))
    assert quality.acceptable > 0.8 and not quality.doubtful
    assert not quality.doubtful_leads
    assert quality.reversal is None
    assert quality.reasons == () and quality.lead_reasons == ((),) * 12


def test_many_hearts_and_axes_raise_no_alarm():
    found = [
        assess_quality(simulate_ecg("normal", seed, axis=axis, heart_rate=rate))
        for seed, (axis, rate) in enumerate([(-30, 60), (-15, 90), (0, 72), (15, 110), (30, 55)])
    ]
    assert [quality.reversal for quality in found] == [None] * len(found)
    assert min(quality.acceptable for quality in found) > 0.8


def test_a_record_reads_the_same_at_100_and_500_hz(simulated):
    fine = spoilt(simulated("normal"), baseline=2.0, noise=0.1)
    coarse = replace(fine, signal=resample(fine.signal, 500, 100), fs=100.0)
    a, b = assess_quality(fine), assess_quality(coarse)
    assert a.acceptable == pytest.approx(b.acceptable, abs=0.1)
    np.testing.assert_allclose(a.leads, b.leads, atol=0.15)
    assert a.odds == pytest.approx(b.odds, abs=1.0)


@pytest.mark.parametrize("gain", [1e-4, 3.0, 1e5])
def test_gain_changes_nothing_where_the_unit_is_unknown(simulated, gain):
    ecg = replace(spoilt(simulated("noise"), flat=0.5), units_known=False)
    a, b = assess_quality(ecg), assess_quality(replace(ecg, signal=ecg.signal * np.float32(gain)))
    assert a.acceptable == pytest.approx(b.acceptable, abs=1e-3)
    np.testing.assert_allclose(a.leads, b.leads, atol=1e-3)
    assert (a.reversal, a.reasons) == (b.reversal, b.reasons)


def test_a_lead_in_its_own_unit_is_not_taken_for_flat(simulated):
    ecg = simulated("normal")
    z = (ecg.signal - ecg.signal.mean(1, keepdims=True)) / ecg.signal.std(1, keepdims=True)
    quality = assess_quality(replace(ecg, signal=z, units_known=False))
    assert quality.reasons == () and quality.acceptable > 0.8


def test_a_faint_lead_is_flat_where_the_unit_is_known(simulated):
    signal = simulated("normal").signal.copy()
    signal[V3] *= 0.001
    ecg = replace(simulated("normal"), signal=signal)
    assert assess_quality(ecg).lead_reasons[V3] == ("flat",)
    assert assess_quality(replace(ecg, units_known=False)).lead_reasons[V3] == ()


def test_absent_leads_have_no_value_and_raise_no_alarm(simulated):
    signal = simulated("normal").signal.copy()
    signal[2:] = np.nan
    quality = assess_quality(replace(simulated("normal"), signal=signal))
    assert np.isnan(quality.leads[2:]).all() and (quality.leads[:2] > 0.9).all()
    assert quality.acceptable > 0.8
    assert quality.reversal is None and np.isnan(quality.odds)  # two leads tell nothing of their places


@pytest.mark.parametrize("value", [0.0, 1.5, np.nan])
def test_a_record_without_a_heart_is_not_acceptable(value):
    quality = assess_quality(ECG(np.full((12, 5000), value), 500))
    assert quality.acceptable < 0.2 and quality.doubtful and quality.reversal is None
    assert quality.reasons
    assert np.isnan(quality.leads).all() if np.isnan(value) else (quality.leads < 0.05).all()


def test_noise_alone_is_not_acceptable():
    quality = assess_quality(ECG(np.random.default_rng(0).normal(size=(12, 5000)), 500))
    assert quality.doubtful and len(quality.doubtful_leads) == 12


@pytest.mark.parametrize("seconds", [0.2, 1.0, 2.0, 3.0, 45.0])
def test_any_length_is_judged_or_said_not_to_be(seconds):
    ecg = simulate_ecg("normal", 0, seconds=max(seconds, 1.0), heart_rate=80)
    quality = assess_quality(replace(ecg, signal=ecg.signal[:, : round(seconds * ecg.fs)], truth={}))
    if seconds < 1:
        assert np.isnan(quality.acceptable) and "not judged" in quality.reasons[0]
        assert not quality.doubtful
    else:
        assert quality.acceptable > 0.6 and quality.leads.min() > 0.8
        assert len(quality.windows) == (1 if seconds <= 10 else 5)


def test_the_worst_window_of_a_long_record_is_told():
    ecg = simulate_ecg("normal", 0, seconds=60)
    signal, rng = ecg.signal.copy(), np.random.default_rng(0)
    signal[:, 10_000:15_000] += rng.normal(size=(12, 5000)).astype(np.float32) * 2
    quality = assess_quality(replace(ecg, signal=signal))
    assert quality.worst == (20.0, 30.0)
    assert quality.by_window[2] == quality.acceptable < 0.5 < np.delete(quality.by_window, 2).min()
    assert "in 1 of 6 windows, worst from 20 to 30 s" in quality.reasons[0]
    assert "(worst from 20 to 30 s)" in quality.lead_reasons[0][0]


def test_a_window_without_a_sample_is_not_acceptable():
    ecg = simulate_ecg("normal", 0, seconds=30)
    signal = ecg.signal.copy()
    signal[:, 5000:10_000] = np.nan
    quality = assess_quality(replace(ecg, signal=signal))
    assert quality.by_window[1] == quality.acceptable == 0 and (quality.by_window[[0, 2]] > 0.5).all()
    assert "in 1 of 3 windows, worst from 10 to 20 s" in quality.reasons[0]


def test_a_lead_that_comes_off_on_the_way_counts():
    ecg = simulate_ecg("normal", 0, seconds=30)
    signal = ecg.signal.copy()
    signal[V3, 5000:] = np.nan
    quality = assess_quality(replace(ecg, signal=signal))
    assert quality.leads[V3] < 0.1 and quality.lead_reasons[V3][0].startswith("samples absent")


def test_it_is_quick_and_read_only(simulated):
    import time

    ecg = simulated("normal")
    quality = assess_quality(ecg)
    start = time.process_time()
    for _ in range(3):
        assess_quality(ecg)
    assert (time.process_time() - start) / 3 < 0.2  # 0.03 s on a quiet machine
    with pytest.raises(ValueError):
        quality.leads[0] = 0


def test_every_preset_is_judged():
    for kind in PRESETS:
        quality = assess_quality(simulate_ecg(kind, 2))
        assert 0 <= quality.acceptable <= 1 and quality.reversal is None, kind
    assert assess_quality(simulate_ecg("lead_off", 2)).lead_reasons[V3] == ("flat",)


# Against people


def data():
    folder = Path(os.environ.get("CLEAR_HUG_DATA") or "absent")
    if not (folder / "cinc2011" / "signals.npz").exists():
        pytest.skip("CLEAR_HUG_DATA names no folder that holds cinc2011/")
    return folder


@pytest.mark.long
@pytest.mark.data
def test_what_people_found_unacceptable_is_foretold():
    from sklearn.metrics import roc_auc_score

    from benchmarks.quality import cinc2011, cross_validated, features_of, interval

    records = list(cinc2011(data()))
    x, y = np.array([features_of(ecg) for ecg, _ in records]), np.array([bad for _, bad in records], float)
    p = cross_validated(x, y)
    assert roc_auc_score(y, p) >= 0.92
    assert interval(p, y)[0] >= 0.92


@pytest.mark.parametrize("pair", [("V3", "V4"), ("V2", "V6")])
@pytest.mark.parametrize("seconds", [10, 45])
def test_a_chest_lead_recorded_twice_is_suspected(pair, seconds):
    ecg = simulate_ecg("normal", 3, seconds=seconds)
    assert assess_quality(ecg).repeated == ()
    a, b = (LEADS.index(lead) for lead in pair)
    signal = ecg.signal.copy()
    signal[b] = signal[a] * np.float32(1.005)
    quality = assess_quality(replace(ecg, signal=signal))
    assert quality.repeated == (pair,)
    assert f"{pair[0]} and {pair[1]} hold nearly the same trace" in " ".join(quality.reasons)
    signal[b] = signal[a] * np.float32(1.1)  # alike, and of another height: neighbours may be
    assert assess_quality(replace(ecg, signal=signal)).repeated == ()


def test_limb_leads_and_leads_without_a_signal_are_no_repeated_ones():
    ecg = simulate_ecg("normal", 3)
    signal = ecg.signal.copy()
    signal[0] = signal[1]
    signal[V3 : V3 + 2] = 0.0
    assert assess_quality(replace(ecg, signal=signal)).repeated == ()
    signal[V3 : V3 + 2] = np.nan
    assert assess_quality(replace(ecg, signal=signal)).repeated == ()


@pytest.mark.data
@needs_data
def test_a_lead_recorded_twice_is_suspected_in_real_records():
    known = {"03000/03961_hr": (("V3", "V4"),), "00000/00419_hr": (), "00000/00001_hr": ()}
    for record, pairs in known.items():
        ecg = read_ecg(Path(DATA) / f"ptbxl/records500/{record}.hea")
        assert assess_quality(ecg).repeated == pairs, record
