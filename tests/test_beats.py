"""Beat tokens: centred, cut at the mid-points, none lost that is not counted, gaps confined."""

import time
from dataclasses import replace

import numpy as np
import pytest

from clear_hug.beats import (
    MAX_BEATS,
    TOKEN_FS,
    TOKEN_SAMPLES,
    BeatTokens,
    NoBeats,
    condition,
    select_beats,
    split_windows,
    tokenize_beats,
)
from clear_hug.ecg import ECG, ECGError, resample
from clear_hug.leads import LEADS
from clear_hug.qrs import detect_qrs
from clear_hug.simulate import PRESETS

HALF = TOKEN_SAMPLES // 2


def changed(ecg, change):
    """The record with `change(signal)` done to a copy of its samples."""
    signal = np.array(ecg.signal)
    change(signal)
    return replace(ecg, signal=signal)


@pytest.mark.parametrize("kind", PRESETS)
def test_every_r_peak_stands_in_the_middle_of_its_token(simulated, tokens_of, kind):
    ecg, tokens = simulated(kind), tokens_of(kind)
    found = detect_qrs(ecg.signal, ecg.fs) / ecg.fs
    np.testing.assert_array_equal(tokens.r_peaks, found)
    trace = condition(ecg.signal, ecg.fs)
    for j, r in enumerate(tokens.r_peaks):
        np.testing.assert_array_equal(
            tokens.values[tokens.valid[:, j], j, HALF], trace[tokens.valid[:, j], round(r * TOKEN_FS)]
        )


@pytest.mark.parametrize("kind", PRESETS)
def test_windows_are_cut_at_the_mid_points_and_tokens_are_zero_outside(tokens_of, kind):
    tokens = tokens_of(kind)
    start, stop = tokens.windows.T
    assert (stop[:-1] <= start[1:] + 1e-9).all()  # no sample in two tokens
    assert start[0] >= 0 and stop[-1] <= tokens.duration + 1 / TOKEN_FS
    middle = (tokens.r_peaks[1:] + tokens.r_peaks[:-1]) / 2
    np.testing.assert_allclose(stop[:-1], np.minimum(tokens.r_peaks[:-1] + 0.48, middle), atol=0.011)
    np.testing.assert_allclose(start[1:], np.maximum(tokens.r_peaks[1:] - 0.48, middle), atol=0.011)
    assert (tokens.values[:, ~tokens.inside] == 0).all()
    assert (tokens.values[~tokens.valid] == 0).all()
    np.testing.assert_array_equal(tokens.inside.sum(1), np.rint((stop - start) * TOKEN_FS))
    np.testing.assert_array_equal(tokens.inside.sum(1), np.diff(tokens.bounds, axis=1)[:, 0])


@pytest.mark.parametrize("kind", PRESETS)
def test_the_lead_scale_is_the_sd_over_the_samples_of_its_tokens(tokens_of, kind):
    tokens = tokens_of(kind)
    for lead in range(12):
        samples = tokens.values[lead][tokens.valid[lead][:, None] & tokens.inside]
        expected = samples.std(dtype=np.float64) if samples.size else np.nan
        np.testing.assert_allclose(tokens.lead_scale[lead], expected, rtol=1e-4)


def test_arrays_are_read_only_and_shapes_are_held(tokens):
    with pytest.raises(ValueError, match="read-only"):
        tokens.values[0] = 0
    with pytest.raises(ECGError, match="valid has shape"):
        replace(tokens, valid=tokens.valid[:, 1:])


# --- none lost ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PRESETS)
def test_every_r_peak_has_a_token_or_is_counted(simulated, tokens_of, kind):
    ecg, tokens = simulated(kind), tokens_of(kind)
    found = detect_qrs(ecg.signal, ecg.fs).size
    assert tokens.valid.any(axis=0).sum() + tokens.n_dropped == found
    assert tokens.n_dropped == 0


def test_no_beat_is_lost_at_200_a_minute(simulated, tokens_of):
    planted = simulated("normal", heart_rate=200.0).truth["r_peaks"]
    tokens = tokens_of("normal", heart_rate=200.0)
    assert planted.size >= 33
    assert tokens.n_beats == planted.size and tokens.n_dropped == 0 and tokens.valid.all()
    np.testing.assert_allclose(tokens.r_peaks, planted, atol=0.03)


@pytest.mark.parametrize("kind", ["tachycardia", "long"])
def test_beats_above_the_ceiling_are_counted(simulated, kind):
    ecg = simulated(kind)
    whole, few = tokenize_beats(ecg), tokenize_beats(ecg, max_beats=5)
    windows = len(split_windows(whole))
    assert few.n_beats == 5 * windows and few.n_dropped == whole.n_beats - few.n_beats > 0


def test_r_peaks_given_by_hand_are_taken_sorted_and_once(simulated, tokens):
    given = np.concatenate([tokens.r_peaks[::-1], tokens.r_peaks[:2]])
    again = tokenize_beats(simulated("normal"), r_peaks=given)
    np.testing.assert_array_equal(again.values, tokens.values)
    edges = tokenize_beats(simulated("normal"), r_peaks=np.array([0.0, 5.0, 10.0]))
    assert edges.n_beats == 3 and edges.valid.all()
    with pytest.raises(ECGError, match=r"to 11\.00 s; the record is 10\.00 s"):
        tokenize_beats(simulated("normal"), r_peaks=np.array([1.0, 11.0]))


def test_crowded_r_peaks_lose_no_count(simulated):
    given = np.array([3.0, 3.001, 3.002, 5.0])
    tokens = tokenize_beats(simulated("normal"), r_peaks=given)
    assert tokens.valid.any(axis=0).sum() + tokens.n_dropped == given.size


# --- time and rate ------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [45.0, 150.0])
def test_the_time_that_no_token_covers(simulated, rate):
    tokens = tokenize_beats(simulated("normal", heart_rate=rate, rr_sd=0.0))
    covered = np.zeros(round(100 * tokens.duration), dtype=bool)
    for start, stop in tokens.windows:
        covered[round(100 * start) : round(100 * stop)] = True
    assert tokens.uncovered == pytest.approx((~covered).sum() / 100, abs=0.02)
    between = np.diff(tokens.r_peaks).clip(min=0.96).sum() - 0.96 * (tokens.n_beats - 1)
    inner = (~covered[round(100 * tokens.r_peaks[0]) : round(100 * tokens.r_peaks[-1])]).sum() / 100
    assert inner == pytest.approx(between, abs=0.15)  # at 45/min 0.37 s a beat, at 150/min nothing
    assert bool(between > 2) is (rate < 60)
    assert tokens.heart_rate == pytest.approx(rate, abs=1)


def test_rr_intervals_lie_between_their_beats(tokens):
    before, after = tokens.rr
    assert np.isnan(before[0]) and np.isnan(after[-1])
    np.testing.assert_array_equal(before[1:], after[:-1])
    np.testing.assert_allclose(before[1:], np.diff(tokens.r_peaks))


@pytest.mark.parametrize("fs", [100.0, 250.0, 360.0, 1000.0])
def test_tokens_do_not_depend_on_the_sampling_rate(simulated, tokens, fs):
    ecg = simulated("normal")
    signal = resample(ecg.signal.astype(np.float64), ecg.fs, fs).astype(np.float32)
    other = tokenize_beats(replace(ecg, signal=signal, fs=fs))
    assert other.n_beats == tokens.n_beats
    np.testing.assert_allclose(other.r_peaks, tokens.r_peaks, atol=0.006)
    same = np.rint(other.r_peaks * 100) == np.rint(tokens.r_peaks * 100)  # the same 10 ms of the grid
    assert same.mean() > 0.5
    inner = tokens.inside & other.inside
    inner[[0, -1]] = False  # a filter's ends differ
    gap = np.where(inner, other.values - tokens.values, 0)[:, same]
    scale = tokens.lead_scale[:, None]
    assert (np.sqrt(np.square(gap).mean(axis=-1)) < 0.1 * scale).all()
    np.testing.assert_allclose(other.lead_scale, tokens.lead_scale, rtol=0.05)


def test_a_gain_scales_tokens_and_scale_and_nothing_else(simulated, tokens):
    ecg = simulated("normal")
    louder = tokenize_beats(replace(ecg, signal=ecg.signal * np.float32(8)))
    np.testing.assert_array_equal(louder.r_peaks, tokens.r_peaks)
    np.testing.assert_allclose(louder.values, 8 * tokens.values, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(louder.lead_scale, 8 * tokens.lead_scale, rtol=1e-4)


def test_unknown_units_have_no_voltage(simulated, tokens):
    other = tokenize_beats(replace(simulated("normal"), units_known=False))
    assert not other.units_known and np.isnan(other.lead_scale).all()
    np.testing.assert_array_equal(other.values, tokens.values)


def test_r_peaks_keep_their_place_for_half_an_hour_at_an_odd_rate():
    fs, seconds = 499.96, 1800
    planted = np.arange(0.5, seconds - 1, 0.8)
    t = np.arange(int(seconds * fs)) / fs
    away = t - planted[np.clip(np.rint((t - 0.5) / 0.8).astype(int), 0, planted.size - 1)]
    signal = np.full((12, t.size), np.nan, dtype=np.float32)
    signal[1] = np.exp(-0.5 * (away / 0.02) ** 2)
    tokens = tokenize_beats(ECG(signal, fs))
    assert tokens.n_beats == planted.size
    np.testing.assert_allclose(tokens.r_peaks, planted, atol=0.006)
    highest = tokens.values[1].argmax(axis=1)
    assert (np.abs(highest - HALF) <= 1).all()


# --- absence ------------------------------------------------------------------------------------


def test_a_lead_that_is_absent_or_off_has_no_token(simulated, tokens, tokens_of):
    v3 = LEADS.index("V3")
    off = tokens_of("lead_off")
    assert not off.valid[v3].any() and off.valid[np.arange(12) != v3].all()
    assert np.isnan(off.lead_scale[v3]) and not off.present[v3]

    def drop(signal):
        signal[v3] = np.nan

    gone = tokenize_beats(changed(simulated("normal"), drop))
    assert not gone.valid[v3].any() and gone.present.sum() == 11
    others = np.arange(12) != v3
    np.testing.assert_array_equal(gone.r_peaks[[0, -1]].round(1), tokens.r_peaks[[0, -1]].round(1))
    assert gone.valid[others].all() and np.isfinite(gone.values).all()


def test_a_lead_that_falls_off_half_way_keeps_its_first_tokens(simulated):
    def fall(signal):
        signal[7, 2500:] = signal[7, 2500]

    tokens = tokenize_beats(changed(simulated("normal"), fall))
    assert tokens.valid[7, tokens.windows[:, 0] < 4.9].all()
    assert not tokens.valid[7, tokens.windows[:, 0] > 5.1].any()
    assert tokens.valid[np.arange(12) != 7].all()


@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
def test_a_gap_costs_the_tokens_it_touches_and_no_other(simulated, tokens, hole):
    beat = 5
    r = round(500 * tokens.r_peaks[beat])

    def gap(signal):
        signal[4, r - 15 : r + 15] = hole  # 60 ms of aVL

    other = tokenize_beats(changed(simulated("normal"), gap))
    expected = np.ones_like(tokens.valid)
    expected[4, beat] = False
    np.testing.assert_array_equal(other.valid, expected)
    assert np.isfinite(other.values).all() and np.isfinite(other.lead_scale).all()


def test_a_few_lost_samples_cost_nothing(simulated, tokens):
    def gap(signal):
        signal[:, ::997] = np.nan

    other = tokenize_beats(changed(simulated("normal"), gap))
    assert other.valid.all()
    np.testing.assert_allclose(other.values, tokens.values, atol=0.2)


def test_no_rr_interval_bridges_a_beat_that_no_lead_holds(simulated, tokens):
    """A gap in all leads over one R peak that is known: the beat keeps its place, counted as dropped."""
    beat = 5
    r = round(500 * tokens.r_peaks[beat])

    def gap(signal):
        signal[:, r - 20 : r + 20] = np.nan

    other = tokenize_beats(changed(simulated("normal"), gap), r_peaks=tokens.r_peaks)
    assert other.n_dropped == 1 and not other.valid[:, beat].any()
    np.testing.assert_array_equal(other.r_peaks, tokens.r_peaks)
    assert np.nanmax(other.rr[0]) < 1.5 * np.nanmedian(tokens.rr[0])
    assert other.uncovered == pytest.approx(tokens.uncovered + np.diff(tokens.windows[beat])[0])


@pytest.mark.parametrize("leads", [("II",), ("V1",), ("I", "II"), ("V2", "V5", "aVR")])
def test_a_few_leads_are_enough(simulated, leads):
    ecg = simulated("normal")
    signal = np.full_like(ecg.signal, np.nan)
    rows = [LEADS.index(lead) for lead in leads]
    signal[rows] = ecg.signal[rows]
    tokens = tokenize_beats(replace(ecg, signal=signal))
    assert tokens.n_beats == ecg.truth["r_peaks"].size
    assert np.flatnonzero(tokens.present).tolist() == sorted(rows)


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signal", "words"),
    [
        (np.zeros((12, 5000)), "no QRS complex.*x .10.0 s"),
        (np.full((12, 5000), 1.5), "no QRS"),
        (np.full((12, 5000), np.nan), "x holds no signal.*absent"),
        (np.zeros((12, 1)), "no QRS"),
    ],
)
def test_no_beats_is_a_sentence(signal, words):
    with pytest.raises(NoBeats, match=words):
        tokenize_beats(ECG(signal, 500, "x"))


def test_r_peaks_over_silence_are_a_sentence():
    with pytest.raises(NoBeats, match="no lead with a signal"):
        tokenize_beats(ECG(np.zeros((12, 5000)), 500), r_peaks=np.array([1.0, 2.0]))


def noise_of(kind, seed):
    rng = np.random.default_rng(seed)
    fs = 100 if kind == "100 Hz" else 500
    signal = rng.standard_normal((12, 10 * fs)).astype(np.float32)
    if kind == "mains":
        signal += 3 * np.sin(2 * np.pi * 50 * np.arange(5000) / 500).astype(np.float32)
    signal[{"6 leads": slice(6, 12), "1 lead": slice(1, 12)}.get(kind, slice(0))] = np.nan
    return ECG(signal, fs)


@pytest.mark.parametrize("kind", ["white", "mains", "6 leads", "1 lead", "100 Hz"])
def test_noise_has_no_beats(kind):
    """Whatever a detector marks in it, of three marks and more."""
    marked = 0
    for seed in range(40):
        ecg = noise_of(kind, seed)
        if detect_qrs(ecg.signal, ecg.fs).size >= 3:
            marked += 1
            with pytest.raises(NoBeats, match="do not resemble one another|no QRS"):
                tokenize_beats(ecg)
    assert marked >= 5  # or nothing was tried


def test_r_peaks_given_by_hand_are_not_doubted():
    assert tokenize_beats(noise_of("white", 0), r_peaks=np.arange(1.0, 9.0)).n_beats == 8


@pytest.mark.parametrize("ectopic", [-1.5, -0.8, 0.5])
@pytest.mark.parametrize("every", [2, 3])
def test_beats_of_two_origins_are_beats(ectopic, every):
    """One lead, every second or third beat ventricular: wide, and of the other sign."""
    t = np.arange(5000) / 500
    signal = np.full((12, t.size), np.nan)
    signal[1] = 0.02 * np.random.default_rng(0).standard_normal(t.size)
    planted = np.arange(0.5, 9.8, 0.8)
    for j, r in enumerate(planted):
        size, sd = (ectopic, 0.035) if j % every == 1 else (1.0, 0.011)
        signal[1] += size * np.exp(-0.5 * ((t - r) / sd) ** 2)
    tokens = tokenize_beats(ECG(signal, 500))
    assert tokens.n_beats >= 3


@pytest.mark.parametrize("seconds", [1.5, 2.0, 3.0])
def test_a_short_record_works(simulated, seconds):
    ecg = simulated("normal", seconds=seconds)
    tokens = tokenize_beats(ecg)
    assert tokens.n_beats == ecg.truth["r_peaks"].size and tokens.valid.all()
    assert tokens.uncovered >= 0


@pytest.mark.long
def test_an_hour_is_tokenised_in_bounded_time(simulated):
    part = simulated("long", fs=100.0)
    ecg = replace(part, signal=np.tile(part.signal, 120), truth={})
    started = time.perf_counter()
    tokens = tokenize_beats(ecg)
    windows = split_windows(tokens)
    assert time.perf_counter() - started < 30
    assert tokens.n_beats == pytest.approx(120 * part.truth["r_peaks"].size, rel=0.02)
    assert len(windows) == 360 and max(w.tokens.n_beats for w in windows) <= MAX_BEATS


# --- windows ------------------------------------------------------------------------------------


def test_windows_share_the_beats_out_and_take_the_scale_anew(tokens_of):
    tokens = tokens_of("long")
    windows = split_windows(tokens)
    assert [(w.start, w.stop) for w in windows] == [(0, 10), (10, 20), (20, 30)]
    np.testing.assert_array_equal(np.concatenate([w.beats for w in windows]), np.arange(tokens.n_beats))
    for window in windows:
        part = window.tokens
        assert ((part.r_peaks >= window.start) & (part.r_peaks < window.stop)).all()
        np.testing.assert_array_equal(part.values, tokens.values[:, window.beats])
        samples = part.values[1][part.inside]
        assert part.lead_scale[1] == pytest.approx(samples.std(), rel=1e-4)


def test_a_record_of_one_window_comes_back_as_it_is(tokens):
    (window,) = split_windows(tokens)
    assert window.tokens is tokens and (window.start, window.stop) == (0, 10)


def test_a_window_without_a_token_is_left_out(simulated, tokens_of):
    tokens = tokens_of("long")
    silent = (tokens.r_peaks > 10) & (tokens.r_peaks < 20)
    gone = replace(tokens, valid=tokens.valid & ~silent)
    assert [w.start for w in split_windows(gone)] == [0, 20]


def test_selected_beats_keep_their_place(tokens):
    some = select_beats(tokens, np.array([1, 4, 5]))
    assert isinstance(some, BeatTokens) and some.n_beats == 3
    np.testing.assert_array_equal(some.windows, tokens.windows[[1, 4, 5]])
    samples = some.values[2][some.inside]
    assert some.lead_scale[2] == pytest.approx(samples.std(), rel=1e-4)


@pytest.mark.parametrize("hz", [0.1, 0.3, 0.5, 1.0, 5.0, 20.0, 50.0])
def test_a_sine_holds_no_beat(hz):
    wave = np.sin(2 * np.pi * hz * np.arange(5000) / 500.0)
    with pytest.raises(NoBeats):
        tokenize_beats(ECG(np.outer(np.linspace(0.5, 1.5, 12), wave), 500.0))
