from dataclasses import fields, replace
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from scipy import signal as dsp

from clear_hug.ecg import (
    ECG,
    MAX_FS,
    MIN_FS,
    STORED,
    ECGError,
    bandpass,
    bridge_gaps,
    cut,
    derive_limb_leads,
    ecg_from_leads,
    freeze,
    resample,
    window_edges,
)
from clear_hug.leads import LEADS

RNG = np.random.default_rng(0)


def noise(n=1000, rows=12):
    return np.random.default_rng(1).standard_normal((rows, n)).astype(np.float32)


def test_arrays_are_read_only_and_absence_is_nan():
    signal = noise()
    signal[3] = np.nan
    signal[4, 10:20] = np.inf
    ecg = ECG(signal, 500, extra={"V7": noise(rows=1)[0]})
    for array in (ecg.signal, ecg.extra["V7"]):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    assert ecg.signal.dtype == np.float32
    assert ecg.absent_leads == ("aVR",) and not ecg.present[3] and ecg.present.sum() == 11
    assert np.isnan(ecg.signal[4, 10:20]).all()
    assert ecg.duration == 2.0


def test_a_lead_that_never_moves_is_flat():
    signal = noise()
    signal[2], signal[3], signal[5, 3:] = 0.7, np.nan, np.nan
    assert [LEADS[i] for i in np.flatnonzero(ECG(signal, 500).flat)] == ["III"]


@pytest.mark.parametrize(
    ("signal", "fs", "words"),
    [
        (noise(rows=8), 500, "ecg_from_leads"),
        (noise()[0], 500, "12, sample"),
        (np.zeros((12, 0)), 500, "no sample"),
        (noise(), MIN_FS - 1, "49 Hz"),
        (noise(), MAX_FS + 1, "Hz"),
        (noise(), float("nan"), "nan Hz"),
    ],
)
def test_what_cannot_be_an_ecg_is_refused_in_words(signal, fs, words):
    with pytest.raises(ECGError, match=words):
        ECG(signal, fs)


def test_the_digest_follows_everything_the_record_holds():
    ecg = ECG(noise(), 500, extra={"V7": noise(rows=1)[0]})
    other = noise()
    other[11, -1] += 1e-3
    changes = {
        "signal": other,
        "fs": 250.0,
        "record_id": "x",
        "units_known": False,
        "derived": ("III",),
        "extra": {"V8": noise(rows=1)[0]},
        "warnings": ("odd",),
        "source": "WFDB",
        "age": 50.0,
        "sex": "F",
        "stored": {"qrs": 90.0},
        "device": "a cart",
        "filters": "0.05 to 150 Hz",
        "guessed": ("fs",),
        "simulated": True,
    }
    assert set(changes) == {f.name for f in fields(ECG)} - {"truth"}
    digests = {replace(ecg, **{name: value}).digest for name, value in changes.items()}
    assert ECG(noise(), 500, extra={"V7": noise(rows=1)[0]}).digest == ecg.digest
    assert len(digests | {ecg.digest}) == len(changes) + 1


def test_what_the_device_measured_has_its_names():
    ecg = ECG(noise(), 500, stored={"qt": 400, "heart_rate": 72})
    assert list(ecg.stored.items()) == [("heart_rate", 72.0), ("qt", 400.0)] and set(STORED) > set(ecg.stored)
    with pytest.raises(ECGError, match="'hr'"):
        ECG(noise(), 500, stored={"hr": 72})


@pytest.mark.parametrize("rows", [slice(None), slice(None, None, -1)])
def test_what_the_caller_writes_later_changes_no_record(rows):
    theirs, seventh = noise()[rows], noise(rows=1)[0]
    ecg = ECG(theirs, 500, extra={"V7": seventh})
    before, digest = np.array(theirs), ecg.digest
    theirs[:], seventh[:] = 0, 0
    np.testing.assert_array_equal(ecg.signal, before)
    assert ecg.extra["V7"].any() and replace(ecg).digest == digest
    assert np.shares_memory(replace(ecg).signal, ecg.signal)  # what nobody can write into is not copied


def test_limb_leads_follow_from_any_two_of_the_six(simulated):
    whole = simulated("normal").signal
    for pair in combinations(range(6), 2):
        signal = np.array(whole)
        missing = [i for i in range(6) if i not in pair]
        signal[missing] = np.nan
        filled, derived = derive_limb_leads(signal)
        assert derived == tuple(LEADS[i] for i in missing)
        np.testing.assert_allclose(filled[:6], whole[:6], atol=1e-5)
        np.testing.assert_array_equal(filled[list(pair)], whole[list(pair)])
        np.testing.assert_array_equal(filled[6:], whole[6:])


def test_one_limb_lead_derives_nothing_and_absent_samples_stay_absent():
    signal = np.full((12, 100), np.nan, np.float32)
    signal[1] = noise(100, 1)
    assert derive_limb_leads(signal)[1] == ()
    signal[0] = signal[1] / 2
    signal[0, 40:50] = np.nan
    filled, derived = derive_limb_leads(signal)
    assert derived == ("III", "aVR", "aVL", "aVF")
    assert (np.isnan(filled[2]) == np.isnan(signal[0])).all()


def test_a_dead_electrode_is_no_basis_for_other_leads(simulated):
    whole = simulated("normal").signal
    signal = np.full_like(whole, np.nan)
    signal[0], signal[1], signal[2] = 0.3, whole[1], whole[2]  # I is flat
    filled, derived = derive_limb_leads(signal)
    assert derived == ("aVR", "aVL", "aVF")
    np.testing.assert_allclose(filled[3:6], whole[3:6], atol=1e-5)
    np.testing.assert_array_equal(filled[:3], signal[:3])
    signal[2] = np.nan
    filled, derived = derive_limb_leads(signal)
    assert derived == ()
    np.testing.assert_array_equal(filled, signal)


def test_leads_by_name_in_any_order_make_the_standard_record(simulated):
    whole = simulated("normal")
    names = list(RNG.permutation(LEADS))
    ecg = ecg_from_leads({f"Lead {n}": whole.signal[LEADS.index(n)] for n in names}, whole.fs)
    np.testing.assert_array_equal(ecg.signal, whole.signal)
    assert ecg.derived == ()
    two = ecg_from_leads({"DII": whole.signal[1], "i": whole.signal[0], "V7": whole.signal[9]}, whole.fs)
    assert two.derived == ("III", "aVR", "aVL", "aVF") and tuple(two.extra) == ("V7",)
    assert two.absent_leads == LEADS[6:]


@pytest.mark.parametrize(
    ("leads", "words"),
    [
        ({"PLETH": [1, 2]}, "unknown lead 'PLETH' in x.*expected I, II"),
        ({"I": [1, 2], "DI": [1, 2]}, "I stands twice"),
        ({"I": [1, 2], "II": [1]}, "differ in length"),
        ({"V7": [1, 2]}, "none of the twelve"),
        ({}, "none of the twelve.*nothing"),
    ],
)
def test_leads_that_make_no_record_are_refused_in_words(leads, words):
    with pytest.raises(ECGError, match=words):
        ecg_from_leads(leads, 500, record_id="x")


def test_short_gaps_are_bridged_and_long_ones_stay_absent():
    line = np.tile(np.arange(1000, dtype=np.float32), (12, 1))
    signal = line.copy()
    signal[0, 100:110], signal[1, 100:111], signal[2, :30], signal[3] = np.nan, np.nan, np.nan, np.nan
    filled, absent = bridge_gaps(signal, 500)  # 10 samples are 20 ms
    assert np.isfinite(filled).all()
    np.testing.assert_allclose(filled[:2], line[:2])
    assert absent.sum(axis=1).tolist() == [0, 11, 30, 1000] + [0] * 8
    assert np.isnan(signal[0, 105])  # the original is untouched


@pytest.mark.parametrize("fs", [128, 250, 257, 360, 500, 977, 1000])
def test_resampling_keeps_a_wave_where_it_was(fs):
    t, u = np.arange(10 * fs) / fs, np.arange(1000) / 100
    out = resample(np.sin(2 * np.pi * 5 * t)[None], fs, 100)[0]
    assert abs(out.size - u.size) <= 1
    np.testing.assert_allclose(out[50:950], np.sin(2 * np.pi * 5 * u)[50:950], atol=0.01)


@pytest.mark.parametrize("fs", [499.96, 128.021, 1000.3])
def test_an_odd_rate_does_not_drift(fs):
    seconds = 1800
    t = np.arange(int(seconds * fs)) / fs
    out = resample(np.sin(2 * np.pi * 5 * t)[None], fs, 100)[0]
    end = np.arange(out.size - 1000, out.size - 50)
    np.testing.assert_allclose(out[end], np.sin(2 * np.pi * 5 * end / 100), atol=0.04)  # 0.3 a sample


@pytest.mark.parametrize(("hz", "gain"), [(0.1, 0), (5, 1), (20, 1), (49, 0.1)])
def test_the_band_pass_passes_its_band_without_delay(hz, gain):
    wave = np.sin(2 * np.pi * hz * np.arange(2000) / 100)[None]
    out = bandpass(wave, 100, 0.67, 40)
    np.testing.assert_allclose(out[:, 400:-400], gain * wave[:, 400:-400], atol=0.1)


def test_a_cut_holds_its_stretch_and_nothing_else():
    ecg = ECG(noise(5000), 500, extra={"V7": noise(5000, 1)[0]}, truth={"beats": (1,)})
    part = cut(ecg, 2, 4)
    np.testing.assert_array_equal(part.signal, ecg.signal[:, 1000:2000])
    np.testing.assert_array_equal(part.extra["V7"], ecg.extra["V7"][1000:2000])
    np.testing.assert_array_equal(cut(ecg, -1, 2).signal, ecg.signal[:, :1000])
    assert not part.truth
    with pytest.raises(ECGError, match="no sample"):
        cut(ecg, 20, 30)


@pytest.mark.parametrize("duration", [0.4, 2, 10, 10.4, 10.6, 25, 30, 61.7, 3600])
def test_windows_read_every_second_once(duration):
    edges = window_edges(duration)
    assert edges[0] == 0 and edges[-1] == duration
    width = np.diff(edges)
    assert (width > 0).all() and np.allclose(width, width[0])
    assert width[0] <= 10.5
    assert width.size == 1 or duration / (width.size - 1) > 10  # the fewest


def test_freeze_makes_the_arrays_of_a_value_read_only():
    class Value:
        def __init__(self):
            self.array, self.name = np.zeros(3), "x"

    value = Value()
    freeze(value)
    with pytest.raises(ValueError, match="read-only"):
        value.array[0] = 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("fs", [200.0, 250.0, 300.0, 500.0, 1000.0])
@pytest.mark.parametrize("n", [2, 7, 4999, 5000])
def test_resampling_is_scipys_to_the_bit(n, fs, dtype):
    signal = np.random.default_rng(0).normal(size=(3, n)).cumsum(axis=1).astype(dtype)
    ratio = Fraction(100) / Fraction(fs)
    expected = dsp.resample_poly(signal, ratio.numerator, ratio.denominator, axis=-1, padtype="line")
    found = resample(signal, fs, 100.0)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(resample(signal[0], fs, 100.0), expected[0])


@pytest.mark.parametrize(
    ("fs", "to"), [(499.995, 500.0), (500.005, 500.0), (99.9995, 100.0), (100.0005, 100.0)]
)
def test_a_rate_that_is_all_but_the_one_asked_for_keeps_its_samples(fs, to):
    signal = np.random.default_rng(0).normal(size=(3, 1000))
    found = resample(signal, fs, to)
    np.testing.assert_array_equal(found, signal)
    assert found is not signal


@pytest.mark.parametrize("high", [40.0, 60.0])
@pytest.mark.parametrize("shape", [(1000,), (3, 1), (3, 2), (3, 57), (3, 201), (2, 3, 500)])
def test_the_band_pass_is_scipys_to_the_bit(shape, high):
    signal = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    if high < 50:
        sos = dsp.butter(2, (0.67, high), "bandpass", fs=100.0, output="sos")
    else:
        sos = dsp.butter(2, 0.67, "highpass", fs=100.0, output="sos")
    expected = dsp.sosfiltfilt(sos, signal, padtype="even", padlen=min(shape[-1] - 1, 200))
    np.testing.assert_array_equal(bandpass(signal, 100.0, 0.67, high), expected)
