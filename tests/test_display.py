"""What of an ECG is shown: filters for the eye, and the signal as the model sees it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from clear_hug.beats import split_windows, tokenize_beats
from clear_hug.display import DisplayFilter, as_recorded, as_the_model_sees, for_display
from clear_hug.ecg import ECG, ECGError
from clear_hug.simulate import simulate_ecg

OFF = DisplayFilter(None, None, None)


@pytest.fixture(scope="module")
def ecg():
    return simulate_ecg("normal", seed=1)


def with_wave(ecg, freq, mv):
    time = np.arange(ecg.n_samples) / ecg.fs
    return replace(
        ecg, signal=ecg.signal + np.float32(mv) * np.sin(2 * np.pi * freq * time).astype(np.float32)
    )


def left_of_wave(ecg, freq, how, seconds=10):
    """Share of a wave's size that is left after a filter, far from both ends."""
    shown = [for_display(one, how, 0, seconds).ecg for one in (ecg, with_wave(ecg, freq, 0.3))]
    middle = slice(int(3 * ecg.fs), int(-3 * ecg.fs))
    rest = (shown[1].signal - shown[0].signal)[:, middle]
    return float(np.abs(rest).max()) / 0.3


@pytest.mark.parametrize(
    ("how", "freq", "most"),
    [
        (DisplayFilter(0.5, None, None), 0.1, 0.05),
        (DisplayFilter(None, 50.0, None), 50.0, 0.05),
        (DisplayFilter(None, 60.0, None), 60.0, 0.05),
        (DisplayFilter(None, None, 40.0), 120.0, 0.05),
        (DisplayFilter(None, None, 150.0), 230.0, 0.2),
    ],
)
def test_a_filter_takes_away_what_it_names(ecg, how, freq, most):
    assert left_of_wave(ecg, freq, how) < most
    assert left_of_wave(ecg, freq, OFF) > 0.9


@pytest.mark.parametrize(
    "how", [DisplayFilter(0.05, 50.0, 150.0), DisplayFilter(0.5, None, 40.0), DisplayFilter(None, 60.0, None)]
)
def test_a_filter_leaves_beats_in_their_place_and_size(ecg, how):
    shown = for_display(ecg, how, 0, 10)
    assert shown.at == 0 and shown.unit == "mV"
    for k in (np.rint(tokenize_beats(ecg).r_peaks * ecg.fs).astype(int))[1:-1]:
        near = slice(k - 40, k + 40)
        was, now = ecg.signal[1, near], shown.ecg.signal[1, near]
        assert abs(int(was.argmax()) - int(now.argmax())) <= 1
        assert np.ptp(now) == pytest.approx(np.ptp(was), rel=0.15)


def test_absent_samples_stay_absent_and_a_flat_lead_stays_flat(ecg):
    signal = ecg.signal.copy()
    signal[1, 1000:1200] = signal[1, 3000:3004] = np.nan
    signal[2] = 0.7
    signal[3] = np.nan
    shown = for_display(replace(ecg, signal=signal), DisplayFilter(0.5, 50.0, 40.0), 0, 10).ecg
    np.testing.assert_array_equal(np.isnan(shown.signal), np.isnan(signal))
    assert shown.flat[2] and shown.absent_leads == ("aVR",)


def test_a_stretch_of_a_long_record_is_the_same_as_in_the_whole():
    ecg = simulate_ecg("long", seconds=60)
    shown = for_display(ecg, OFF, 30, 40)
    first = round(shown.at * ecg.fs)
    assert shown.at == pytest.approx(20) and shown.ecg.duration == pytest.approx(30, abs=0.01)
    np.testing.assert_allclose(
        shown.ecg.signal, ecg.signal[:, first : first + shown.ecg.n_samples], atol=1e-6
    )
    how = DisplayFilter(0.5, 50.0, 40.0)
    part, whole = for_display(ecg, how, 30, 40), for_display(ecg, how, 0, 60)
    inside = slice(round((30 - part.at) * ecg.fs), round((40 - part.at) * ecg.fs))
    np.testing.assert_allclose(
        part.ecg.signal[:, inside], whole.ecg.signal[:, round(30 * ecg.fs) : round(40 * ecg.fs)], atol=2e-3
    )


def test_each_signal_says_what_it_is(ecg):
    assert as_recorded(ecg).name == "raw" and as_recorded(ecg).ecg is ecg
    words = for_display(ecg, DisplayFilter(0.05, 60.0, 150.0), 0, 10).words
    assert words == "filtered for display: 0.05 Hz high-pass, 60 Hz notch, 150 Hz low-pass"
    slow = ECG(ecg.signal[:, ::5], 100.0)
    words = for_display(slow, DisplayFilter(0.5, 50.0, 40.0), 0, 10).words
    assert "40 Hz low-pass" in words and "50 Hz notch left out" in words
    assert "no filter chosen" in for_display(ecg, OFF, 0, 10).words
    assert for_display(replace(ecg, units_known=False), OFF, 0, 10).unit == "arbitrary units"


def test_a_filter_of_another_frequency_is_refused():
    with pytest.raises(ECGError, match="mains = 55 Hz; expected one of 50, 60"):
        DisplayFilter(mains=55.0)


@pytest.mark.parametrize("kind", ["normal", "lead_off", "long"])
@pytest.mark.parametrize("units_known", [True, False])
def test_the_model_sees_tokens_over_the_sd_of_their_lead(kind, units_known):
    ecg = replace(simulate_ecg(kind), units_known=units_known)
    tokens = tokenize_beats(ecg)
    shown = as_the_model_sees(ecg, tokens)
    seen = shown.ecg
    assert shown.unit == "SD" and not seen.units_known and seen.fs == 100
    assert seen.duration == pytest.approx(ecg.duration, abs=0.01)
    for window in split_windows(tokens):
        for lead in np.flatnonzero(window.tokens.valid.any(axis=1)):
            values = seen.signal[lead, round(window.start * 100) : round(window.stop * 100)]
            assert np.nanstd(values) == pytest.approx(1, abs=0.05)
    beat = tokens.n_beats // 2
    lead = int(np.flatnonzero(tokens.valid[:, beat])[0])
    a = round(tokens.r_peaks[beat] * 100) - 48
    inside = np.flatnonzero(tokens.inside[beat])
    drawn, token = seen.signal[lead, a + inside], tokens.values[lead, beat, inside]
    np.testing.assert_allclose(drawn / drawn.std(), token / token.std(), atol=1e-3)
    held = np.zeros(seen.n_samples, dtype=bool)
    for (start, stop), some in zip(tokens.windows, tokens.valid[lead], strict=True):
        if some:
            held[round(start * 100) : round(stop * 100)] = True
    assert np.isnan(seen.signal[lead, ~held]).all() and np.isfinite(seen.signal[lead, held]).all()
