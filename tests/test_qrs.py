"""R peaks: what must not change them, what must not be one, and a floor on annotated records."""

from pathlib import Path

import numpy as np
import pytest
from scipy.signal import resample_poly

from benchmarks.qrs_ludb import ludb_records, score
from clear_hug.qrs import (
    AGREEMENT,
    DETECTORS,
    SHORT_RR,
    _agreed,
    _median,
    _place,
    _usual_height,
    _usual_rr,
    detect_qrs,
)
from clear_hug.simulate import simulate_ecg
from tests.real_data import DATA, needs_data

# Gains of P, Q, R, S, T in twelve leads: R of both signs, V1 to V3 led by S.
R = np.array([0.7, 1.0, 0.4, -0.8, 0.3, 0.6, 0.15, 0.35, 0.7, 1.2, 1.0, 0.8])
S = np.array([-0.1, -0.2, -0.1, 0.1, -0.1, -0.1, -0.5, -0.9, -0.6, -0.4, -0.2, -0.1])
T = np.array([0.25, 0.3, 0.1, -0.25, 0.1, 0.2, -0.1, 0.3, 0.4, 0.4, 0.3, 0.25])


def bump(t, centre, sd):
    return np.exp(-0.5 * ((t - centre) / sd) ** 2)


def ecg(r_peaks, fs=500.0, seconds=10.0, t_gain=1.0, noise=0.01, wide=(), seed=0):
    """(12, sample) mV with R peaks at the given seconds; those in `wide` are ventricular and broad."""
    t = np.arange(round(seconds * fs)) / fs
    x = np.zeros((12, t.size))
    for r in r_peaks:
        if r in wide:
            x += 1.8 * np.outer(R, bump(t, r, 0.03)) - 0.7 * np.outer(R, bump(t, r + 0.25, 0.06))
            continue
        x += 0.1 * np.outer(np.sign(R), bump(t, r - 0.16, 0.02))
        x += np.outer(R, bump(t, r, 0.011)) + np.outer(S, bump(t, r + 0.03, 0.012))
        x += t_gain * np.outer(T, bump(t, r + 0.26, 0.045))
    rng = np.random.default_rng(seed)
    wander = 0.1 * np.sin(2 * np.pi * 0.25 * t + rng.uniform(0, 6, (12, 1)))
    return x + wander + noise * rng.standard_normal(x.shape)


def regular(per_minute, seconds=10.0, first=0.2):
    return np.arange(first, seconds - 0.1, 60 / per_minute)


def assert_beats(found, truth, fs, tolerance=0.03):
    """One mark a beat, none beside, each within the tolerance (s)."""
    assert len(found) == len(truth), f"{len(found)} marks for {len(truth)} beats"
    worst = np.abs(found / fs - np.asarray(truth)).max()
    assert worst <= tolerance, f"{1000 * worst:.0f} ms"


TRUTH = np.array([0.3, 1.1, 1.95, 2.7, 3.6, 4.35, 5.2, 6.05, 6.8, 7.65, 8.5, 9.3])


@pytest.fixture(scope="module")
def plain():
    return ecg(TRUTH)


def moved(a, b, fs=500.0):
    """Largest shift in s between two sets of as many beats."""
    assert len(a) == len(b)
    return np.abs(a - b).max() / fs


# -- the value -----------------------------------------------------------------------------------------


def test_marks_are_sorted_indices_on_the_r_peak(plain):
    peaks = detect_qrs(plain, 500)
    assert peaks.dtype == np.int64 and peaks.ndim == 1
    assert (np.diff(peaks) > 0).all() and peaks[0] >= 0 and peaks[-1] < plain.shape[1]
    assert_beats(peaks, TRUTH, 500, tolerance=0.012)


def test_same_input_same_marks_and_input_untouched(plain):
    before = plain.copy()
    assert np.array_equal(detect_qrs(plain, 500), detect_qrs(plain, 500))
    assert np.array_equal(before, plain)


def test_unknown_method_names_the_choices(plain):
    with pytest.raises(ValueError, match="clear, neurokit, xqrs"):
        detect_qrs(plain, 500, method="pantompkins")


def test_a_cube_is_refused():
    with pytest.raises(ValueError, match=r"\(2, 12, 5000\)"):
        detect_qrs(np.zeros((2, 12, 5000)), 500)


# -- what must not change the marks --------------------------------------------------------------------


@pytest.mark.parametrize("fs", [100, 128, 250, 257, 360, 400, 1000])
def test_any_rate(fs):
    assert_beats(detect_qrs(ecg(TRUTH, fs=fs), fs), TRUTH, fs, tolerance=max(1 / fs, 0.015))


@pytest.mark.parametrize("fs", [100, 250, 1000])
def test_resampling(plain, fs):
    there = detect_qrs(resample_poly(plain, fs, 500, axis=1), fs)
    here = detect_qrs(plain, 500)
    assert len(there) == len(here)
    assert np.abs(there / fs - here / 500).max() <= max(1 / fs, 0.004)


@pytest.mark.parametrize("factor", [1e-3, 0.37, 1e3, 1e9])
def test_scale(plain, factor):
    assert moved(detect_qrs(plain, 500), detect_qrs(factor * plain, 500)) <= 1 / 500


def test_scale_of_single_leads(plain):
    gains = np.random.default_rng(1).uniform(0.05, 20, (12, 1))
    assert moved(detect_qrs(plain, 500), detect_qrs(gains * plain, 500)) <= 1 / 500


def test_integers_as_files_store_them(plain):
    counts = np.round(plain * 200).astype(np.int16)
    assert moved(detect_qrs(plain, 500), detect_qrs(counts, 500)) <= 0.006


def test_offset(plain):
    offset = np.linspace(-5, 5, 12)[:, None]
    assert moved(detect_qrs(plain, 500), detect_qrs(plain + offset, 500)) <= 1 / 500


@pytest.mark.parametrize("flipped", [range(12), [1], [0, 3, 8], range(6)])
def test_polarity(plain, flipped):
    other = plain.copy()
    other[list(flipped)] *= -1
    assert np.array_equal(detect_qrs(plain, 500), detect_qrs(other, 500))


def test_order_of_leads(plain):
    order = np.random.default_rng(2).permutation(12)
    assert moved(detect_qrs(plain, 500), detect_qrs(plain[order], 500)) <= 1 / 500


@pytest.mark.parametrize("seconds", [1.0, 20.0])
@pytest.mark.parametrize("mode", ["edge", "constant"])
def test_added_silence(plain, seconds, mode):
    pad = round(seconds * 500)
    padded = np.pad(plain - plain[:, -1:], ((0, 0), (pad, pad)), mode=mode)
    found = detect_qrs(padded, 500) - pad
    assert moved(detect_qrs(plain, 500), found) <= 0.006


@pytest.mark.parametrize("lead", range(12))
@pytest.mark.parametrize("fault", ["absent", "flat", "noise", "mains", "huge"])
def test_one_lead_off(plain, lead, fault):
    other = plain.copy()
    t = np.arange(other.shape[1]) / 500
    other[lead] = {
        "absent": np.nan,
        "flat": 0.0,
        "noise": np.random.default_rng(3).standard_normal(t.size),
        "mains": 5 * np.sin(2 * np.pi * 50 * t),
        "huge": 1e6 * np.random.default_rng(4).standard_normal(t.size),
    }[fault]
    assert_beats(detect_qrs(other, 500), TRUTH, 500)


def test_half_of_the_leads_off(plain):
    other = plain.copy()
    other[::2] = np.random.default_rng(5).standard_normal(other[::2].shape)
    assert_beats(detect_qrs(other, 500), TRUTH, 500)


def test_steps_in_the_limb_leads_are_no_beats(plain):
    other = plain.copy()
    for at in (800, 2000, 3900):  # an electrode that moves is seen in all six
        other[:6, at:] += 3.0
    assert_beats(detect_qrs(other, 500), TRUTH, 500, tolerance=0.05)


@pytest.mark.parametrize("at", [0.15, 5.6, 9.8])
def test_one_great_step_in_all_leads_hides_no_other_beat(plain, at):
    other = plain.copy()
    other[:, round(at * 500) :] += 75.0  # an amplifier that saturates
    found = detect_qrs(other, 500) / 500
    away = TRUTH[np.abs(TRUTH - at) > 0.3]
    assert all(np.abs(found - r).min() <= 0.05 for r in away)
    assert len(found) <= len(TRUTH) + 2  # the step itself, and no more than its echo


@pytest.mark.parametrize("lead", range(12))
def test_one_lead_alone(plain, lead):
    assert_beats(detect_qrs(plain[lead], 500), TRUTH, 500, tolerance=0.05)


def test_absent_samples(plain):
    other = plain.copy()
    other[:, 1700:1750] = np.nan  # between two beats
    other[3, ::7] = np.nan
    other[5, :2000] = np.nan
    assert_beats(detect_qrs(other, 500), TRUTH, 500)


def test_infinite_samples_are_absent_ones(plain):
    other = plain.copy()
    other[2, 100:110] = np.inf
    assert_beats(detect_qrs(other, 500), TRUTH, 500)


# -- what hearts do ------------------------------------------------------------------------------------


@pytest.mark.parametrize("fs", [100, 500])
@pytest.mark.parametrize("per_minute", [30, 35, 60, 100, 150, 200])
def test_every_rate_of_the_heart(per_minute, fs):
    truth = regular(per_minute)
    squeezed = 0.3 if per_minute > 120 else 1.0  # at high rates P rides on a lower T
    assert_beats(detect_qrs(ecg(truth, fs=fs, t_gain=squeezed), fs), truth, fs)


def test_200_a_minute_loses_none_of_33():
    truth = np.arange(33) * 0.3 + 0.15
    assert_beats(detect_qrs(ecg(truth, t_gain=0.3), 500), truth, 500)


def test_irregular_rhythm():
    truth = 0.2 + np.cumsum(np.random.default_rng(6).uniform(0.32, 1.3, 40))
    truth = truth[truth < 29.8]
    assert_beats(detect_qrs(ecg(truth, seconds=30), 500), truth, 500)


@pytest.mark.parametrize("fs", [100, 500])
@pytest.mark.parametrize("gain", [1.0, 2.0, 3.5])
def test_t_waves_as_tall_as_r_are_no_beats(gain, fs):
    assert_beats(detect_qrs(ecg(TRUTH, fs=fs, t_gain=gain), fs), TRUTH, fs)


def test_premature_wide_beats_are_found():
    truth = np.array([0.3, 1.1, 1.9, 2.35, 3.5, 4.3, 4.75, 5.9, 6.7, 7.5, 7.95, 9.1])
    wide = (2.35, 4.75, 7.95)
    assert_beats(detect_qrs(ecg(truth, wide=wide), 500), truth, 500)


@pytest.mark.parametrize("fs", [100, 500])
@pytest.mark.parametrize("ahead", [0.05, 0.17, 0.24])
def test_pacing_spikes_are_not_beats(ahead, fs):
    truth = regular(70)
    x = ecg(truth, fs=1000, wide=tuple(truth))
    for r in truth:
        at = round((r - ahead) * 1000)
        if at > 0:
            x[:, at : at + 2] += 2.0 * np.sign(R)[:, None]
    found = detect_qrs(resample_poly(x, fs, 1000, axis=1), fs)
    assert_beats(found, truth, fs, tolerance=0.06)


def test_beats_at_both_edges():
    truth = np.array([0.03, 0.9, 1.8, 2.7, 3.6, 4.5, 5.4, 6.3, 7.2, 8.1, 9.0, 9.96])
    assert_beats(detect_qrs(ecg(truth), 500), truth, 500)


def test_two_seconds():
    truth = [0.3, 1.1, 1.8]
    assert_beats(detect_qrs(ecg(truth, seconds=2), 500), truth, 500)


@pytest.mark.long
def test_an_hour_is_read_in_pieces_without_a_seam():
    truth = 0.4 + np.cumsum(np.random.default_rng(7).uniform(0.6, 1.0, 400))
    truth = truth[truth < 239]
    x = ecg(truth, fs=200, seconds=240)
    assert_beats(detect_qrs(x, 200), truth, 200)
    hour = np.tile(x, 15)
    found = detect_qrs(hour, 200)
    assert abs(len(found) - 15 * len(truth)) <= 15  # the joins of the tiles are not beats we planted
    assert np.diff(found).min() > 0.2 * 200


def test_the_mark_is_the_first_of_two_major_peaks():
    t = np.arange(5000) / 500
    x = np.zeros((12, 5000))
    for r in TRUTH:
        x += np.outer(np.ones(12), 0.85 * bump(t, r, 0.01) - 1.0 * bump(t, r + 0.05, 0.012))
    assert_beats(detect_qrs(x, 500), TRUTH, 500, tolerance=0.006)


# -- nothing to find -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", DETECTORS)
@pytest.mark.parametrize("value", [0.0, 3.3, np.nan])
@pytest.mark.parametrize("shape", [(12, 5000), (1, 1000), (12, 200), (0, 5000), (12, 0)])
def test_no_signal_no_beat(value, shape, method):
    assert detect_qrs(np.full(shape, value), 500, method).size == 0


@pytest.mark.parametrize("n", [1, 2, 30, 149])
def test_too_short(n):
    assert detect_qrs(ecg([0.1], seconds=1)[:, :n], 500).size == 0


@pytest.mark.parametrize("method", DETECTORS)
@pytest.mark.parametrize("n", [150, 250, 1000, 5000])
def test_noise_raises_nothing(n, method):
    noise = np.random.default_rng(n).standard_normal((12, n))
    found = detect_qrs(noise, 500, method)
    assert found.dtype == np.int64
    assert ((found >= 0) & (found < n)).all()


def test_most_twelve_leads_of_noise_are_marked_nowhere():
    """Some are: `tokenize_beats` refuses them, for their marks do not resemble one another."""
    found = [detect_qrs(np.random.default_rng(s).standard_normal((12, 5000)), 500).size for s in range(40)]
    assert np.count_nonzero(found) <= 20


def test_a_slope_is_no_beat():
    assert detect_qrs(np.tile(np.linspace(0, 5, 5000), (12, 1)), 500).size == 0


# -- the other detectors -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["neurokit", "xqrs"])
def test_other_detectors_mark_the_same_beats(plain, method):
    found = detect_qrs(plain, 500, method)
    inner = TRUTH[1:-1]  # they may lose the first and the last
    assert all(np.abs(found / 500 - r).min() <= 0.03 for r in inner)


@pytest.mark.parametrize("method", ["neurokit", "xqrs"])
def test_other_detectors_go_on_where_lead_ii_is_off(plain, method):
    other = plain.copy()
    other[1] = np.nan
    found = detect_qrs(other, 500, method)
    assert all(np.abs(found / 500 - r).min() <= 0.03 for r in TRUTH[1:-1])


# -- real records --------------------------------------------------------------------------------------


@pytest.mark.data
@needs_data
@pytest.mark.parametrize("fs", [100, 500])
def test_floor_on_ludb(fs):
    result = score(ludb_records(Path(DATA) / "ludb"), fs, "clear")
    assert result.records >= 100 and result.beats >= 800
    assert min(result.sensitivity(0.05), result.precision(0.05)) >= 0.99, result
    assert min(result.sensitivity(0.15), result.precision(0.15)) >= 0.997, result


@pytest.mark.long
@pytest.mark.data
@needs_data
def test_ptbxl_at_500_and_100_hz_agree():
    import wfdb

    high = sorted(Path(DATA, "ptbxl", "records500").rglob("*_hr.hea"))
    assert high
    beats = agreed = 0
    for path in high:
        low = Path(str(path).replace("records500", "records100").replace("_hr", "_lr"))
        if not low.exists():
            continue
        a = detect_qrs(wfdb.rdrecord(str(path.with_suffix(""))).p_signal.T, 500) / 500
        b = detect_qrs(wfdb.rdrecord(str(low.with_suffix(""))).p_signal.T, 100) / 100
        # Some 500 Hz files are flat at an end where the 100 Hz file still has the beat.
        a, b = (marks[(marks > 0.15) & (marks < 9.85)] for marks in (a, b))
        near = np.abs(a[:, None] - b[None]).min(axis=1, initial=np.inf) <= 0.02
        beats += len(a) + abs(len(a) - len(b))
        agreed += int(near.sum())
    assert beats > 1000
    assert agreed / beats >= 0.99


@pytest.mark.parametrize("seed", range(12))
def test_wide_beats_of_any_axis_width_and_rate_are_found(seed):
    rng = np.random.default_rng([17, seed])
    ecg = simulate_ecg(
        "normal",
        seed,
        n_pvc=int(rng.integers(1, 4)),
        pvc_width=rng.uniform(0.7, 1.25),
        pvc_axis=rng.uniform(-180, 180),
        heart_rate=rng.uniform(50, 110),
    )
    found = detect_qrs(ecg.signal, ecg.fs) / ecg.fs
    true = ecg.truth["r_peaks"]
    assert np.abs(true[:, None] - found).min(axis=1).max() < 0.15
    assert np.abs(found[:, None] - true).min(axis=1).max() < 0.15 or len(found) == len(true) + 1


def test_a_wide_beat_in_every_second_place_is_found():
    ecg = simulate_ecg("normal", 3, heart_rate=60, pvc_at=(1, 3, 5, 7), pvc_width=1.2)
    found = detect_qrs(ecg.signal, ecg.fs) / ecg.fs
    true = ecg.truth["r_peaks"]
    assert len(found) == len(true) and np.abs(true - found).max() < 0.15


@pytest.mark.parametrize("n_leads", range(1, 13))
def test_what_the_leads_agree_on_is_a_quantile_over_them(n_leads):
    seen = np.random.default_rng(n_leads).random((3, n_leads, 50), dtype=np.float32)
    np.testing.assert_allclose(_agreed(seen), np.quantile(seen, AGREEMENT, axis=1), rtol=1e-5)


@pytest.mark.parametrize("n", [1, 2, 99, 100])
def test_the_quick_median_is_the_median(n):
    rows = np.random.default_rng(n).normal(size=(4, n)).astype(np.float32)
    np.testing.assert_array_equal(_median(rows), np.median(rows, axis=1))


@pytest.mark.parametrize("n", [2, 3, 4, 11, 60])
def test_the_usual_rr_is_a_quantile(n):
    beats = np.random.default_rng(n).integers(50, 300, n).cumsum()
    assert _usual_rr(beats) == np.quantile(np.diff(beats), SHORT_RR)


@pytest.mark.parametrize("n", [400, 1000, 2503])
def test_the_usual_height_leaves_silent_and_faint_blocks_out(n):
    rows = np.random.default_rng(n).uniform(0.5, 1.0, (5, n)).astype(np.float32)
    rows[1, : n // 2] = 0  # silence
    rows[2, -1] = 100.0  # a great step
    rows[3] = 0
    expected = []
    for row in rows:
        highest = np.array([block.max() for block in np.array_split(row, max(1, round(n / 500)))])
        heard = highest[highest > 0.003 * highest.max()]
        alive = heard[heard >= 0.05 * np.quantile(heard, 0.75, method="lower")] if heard.size else [1e-6]
        expected.append(np.quantile(alive, 0.5, method="lower"))
    np.testing.assert_array_equal(_usual_height(rows, 250.0), np.array(expected, np.float32))


def test_a_mark_keeps_to_the_first_of_two_major_peaks_and_stays_in_reach():
    shape = np.zeros((1, 1000), np.float32)
    at = np.arange(1000)
    for centre, height in ((500, 0.8), (515, 1.0), (900, 1.0), (930, 3.0)):
        shape[0] += height * np.exp(-0.5 * ((at - centre) / 3) ** 2)
    seconds = _place(np.array([508, 900]), shape, np.ones(1, np.float32), 250.0)
    np.testing.assert_allclose(seconds * 250, [500, 900], atol=0.5)
    assert _place(np.array([], int), shape, np.ones(1, np.float32), 250.0).size == 0
