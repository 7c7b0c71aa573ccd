"""Facts of beats: planted premature wide beats are found and no others, whatever the voltage and leads.

Values of a whole ECG: what is planted is measured; what does not matter does not; what is absent says why.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clear_hug.beats import select_beats, tokenize_beats
from clear_hug.ecg import ECG, ECGError, resample
from clear_hug.io import read_ecg
from clear_hug.leads import LEADS
from clear_hug.measure import measure, measure_beats
from clear_hug.measure.edges import qrs_edges
from clear_hug.measure.whole import r_and_s
from clear_hug.quality import assess_quality
from clear_hug.simulate import simulate_ecg
from clear_hug.words import facts, rhythm_words
from tests.real_data import DATA, needs_data


def ectopic(tokens):
    return tuple(np.flatnonzero(measure_beats(tokens).ectopic).tolist())


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("settings", [{"n_pvc": 1}, {"n_pvc": 3}, {"n_pvc": 2, "heart_rate": 95.0}])
def test_planted_premature_wide_beats_are_found_and_no_others(seed, settings):
    ecg = simulate_ecg(seed=seed, **settings)
    facts = measure_beats(tokenize_beats(ecg))
    planted = list(ecg.truth["beats"])
    assert np.flatnonzero(facts.ectopic).tolist() == planted
    assert facts.premature[planted].all() and facts.unlike[planted].all()
    measured = np.isfinite(facts.duration[planted])  # in a T wave there is no onset to be seen
    assert measured.all() or settings.get("heart_rate")
    assert facts.wide[planted][measured].all() and (facts.duration[planted][measured] > 0.15).all()


@pytest.mark.parametrize("kind", ["normal", "bradycardia", "tachycardia", "irregular", "noise", "paced"])
@pytest.mark.parametrize("seed", range(6))
def test_beats_of_one_kind_are_not_ectopic(tokens_of, kind, seed):
    facts = measure_beats(tokens_of(kind, seed))
    assert not facts.ectopic.any()
    if kind == "irregular":
        assert facts.premature.mean() < 0.5
    elif kind != "noise":
        assert not (facts.premature | facts.unlike | facts.wide).any()


def test_a_beat_of_the_usual_shape_is_not_wide(monkeypatch):
    """Whatever was found of its edges: one was missed."""
    tokens = tokenize_beats(simulate_ecg("normal", fs=500.0))
    found = iter([(-0.04, 0.05), (-0.04, 0.16), *[(-0.04, 0.05)] * tokens.n_beats])
    monkeypatch.setattr(sys.modules["clear_hug.measure.beats"], "_edges", lambda activity: next(found))
    facts = measure_beats(tokens)
    assert facts.duration[1] > 0.19 and facts.resemblance[1] > 0.97 and not facts.wide.any()


def test_every_beat_wide_is_none_wider_than_usual():
    facts = measure_beats(tokenize_beats(simulate_ecg(seed=3, pvc_at=range(1, 12))))
    assert np.nanmedian(facts.duration) > 0.15 and not facts.wide[2:-1].any()


@pytest.mark.parametrize("seed", range(3))
def test_bigeminy_leaves_the_usual_beat_the_usual_one(seed):
    ecg = simulate_ecg(seed=seed, pvc_at=range(2, 11, 2))
    assert ectopic(tokenize_beats(ecg, r_peaks=ecg.truth["r_peaks"])) == ecg.truth["beats"]


def test_a_narrow_early_beat_is_premature_and_not_ectopic(tokens_of):
    tokens = tokens_of("normal", 1)
    r = tokens.r_peaks.copy()
    r[5] -= 0.3
    facts = measure_beats(replace(tokens, r_peaks=r))
    assert np.flatnonzero(facts.premature).tolist() == [5] and not facts.ectopic.any()


def test_simulated_qrs_edges_lie_where_the_waves_end(tokens_of):
    onset, offset = measure_beats(tokens_of("normal", 2)).qrs.T
    assert ((onset > -0.06) & (onset < -0.03)).all() and ((offset > 0.035) & (offset < 0.065)).all()


@pytest.mark.parametrize("gain", [1e-3, 0.2, 5.0, 1e3])
def test_the_voltage_does_not_matter(tokens_of, gain):
    tokens = tokens_of("premature", 4)
    facts = measure_beats(tokens)
    other = measure_beats(replace(tokens, values=tokens.values * np.float32(gain), units_known=False))
    np.testing.assert_allclose(other.qrs, facts.qrs, atol=0.0021)
    np.testing.assert_allclose(other.resemblance, facts.resemblance, atol=1e-4)
    np.testing.assert_array_equal(other.ectopic, facts.ectopic)


@pytest.mark.parametrize("lost", [[0], [6, 7], list(range(6)), list(range(6, 12)), [0, 2, 3, 4, 5, 6, 7, 8]])
def test_leads_may_be_missing(lost):
    ecg = simulate_ecg("premature", seed=5)
    signal = ecg.signal.copy()
    signal[lost] = np.nan
    assert ectopic(tokenize_beats(replace(ecg, signal=signal))) == ecg.truth["beats"]


@pytest.mark.parametrize("kept", [[], [0], [0, 1, 2]])
def test_a_record_of_few_beats_has_no_usual_rhythm(tokens_of, kept):
    tokens = select_beats(tokens_of("normal", 1), np.array(kept, dtype=np.int64))
    facts = measure_beats(tokens)
    assert facts.qrs.shape == (len(kept), 2)
    assert not (facts.premature | facts.ectopic).any()


def test_a_beat_without_tokens_has_no_facts(tokens_of):
    tokens = tokens_of("normal", 1)
    valid, values = tokens.valid.copy(), tokens.values.copy()
    valid[:, 3], values[:, 3] = False, 0
    facts = measure_beats(replace(tokens, valid=valid, values=values))
    assert np.isnan(facts.qrs[3]).all() and np.isnan(facts.resemblance[3])
    others = np.delete(np.arange(tokens.n_beats), 3)
    assert np.isfinite(facts.qrs[others]).all() and not facts.ectopic.any()


def test_facts_are_read_only(tokens):
    with pytest.raises(ValueError, match="read-only"):
        measure_beats(tokens).premature[0] = True


@pytest.mark.long
@pytest.mark.data
@needs_data
def test_qrs_edges_are_ludbs():
    from benchmarks.beat_facts import edges

    found = edges(Path(DATA) / "ludb")
    assert len(found.errors) >= 850 and found.missed <= 20
    onset, offset = found.errors.T
    assert abs(np.median(onset)) <= 0.006 and onset.std() <= 0.012
    assert abs(np.median(offset)) <= 0.004 and offset.std() <= 0.010
    assert abs(np.median(found.duration)) <= 0.008 and found.duration.std() <= 0.016


def test_a_wide_qrs_ends_although_its_st_slopes():
    """As of a left bundle branch block: the slope stays above a twentieth of its height up to T."""
    fs, zero = 500.0, 200
    at = (np.arange(600) - zero) / fs
    beat = np.where((at > -0.09) & (at < 0.09), 3 * np.sin(np.pi * (at + 0.09) / 0.18) ** 2, 0.0)
    st = np.where((at >= 0.09) & (at < 0.3), -4.0 * (at - 0.09), 0.0)
    t = np.where(at >= 0.3, -4.0 * 0.21 * (1 + np.cos(np.pi * np.clip((at - 0.3) / 0.1, 0, 1))) / 2, 0.0)
    values = np.linspace(0.5, 1.5, 12)[:, None] * (beat + st + t)
    onset, offset = qrs_edges(values, fs, zero)
    assert -0.1 < onset < -0.06 and 0.06 < offset < 0.11


TIMES = ("heart_rate", "p", "pr", "qrs", "qt", "qtc_bazett", "p_axis", "qrs_axis", "t_axis")
VOLTAGES = ("sokolow_lyon", "cornell")


def close(found, other, names=TIMES, atol=6.0):
    for name in names:
        np.testing.assert_allclose(getattr(found, name), getattr(other, name), atol=atol, err_msg=name)


@pytest.fixture(scope="module")
def normal(simulated):
    return measure(simulated("normal"))


def test_a_normal_ecg_has_every_value_and_they_are_normal(normal):
    assert not normal.reasons and not normal.qtc_doubt and not normal.paced and normal.regular
    assert abs(normal.heart_rate - 72) < 3
    for name, low, high in (("p", 70, 130), ("pr", 120, 200), ("qrs", 70, 110), ("qt", 300, 430)):
        assert low < getattr(normal, name) < high, name
    assert 0 < normal.qrs_axis < 90 and 0 < normal.p_axis < 90 and 0 < normal.t_axis < 90


def test_qtc_follows_its_formulas(normal):
    rr = normal.rr / 1000
    assert normal.qtc == normal.qtc_bazett == pytest.approx(normal.qt / rr**0.5)
    assert normal.qtc_fridericia == pytest.approx(normal.qt / rr ** (1 / 3))
    assert normal.qtc_framingham == pytest.approx(normal.qt + 154 * (1 - rr))
    assert normal.qtc_hodges == pytest.approx(normal.qt + 1.75 * (60 / rr - 60))


@pytest.mark.parametrize("heart_rate", [45.0, 60.0, 100.0, 140.0])
def test_the_heart_rate_is_the_planted_one(simulated, heart_rate):
    found = measure(simulated("normal", heart_rate=heart_rate))
    assert found.heart_rate == pytest.approx(heart_rate, rel=0.04)


def test_the_rate_is_the_mean_one_and_qtc_is_corrected_for_it(simulated):
    """Of a rhythm in which most intervals are short, and some twice as long."""
    ecg = simulate_ecg("normal", 0, heart_rate=110.0, rr_sd=0.0, seconds=20.0)
    r = np.delete(ecg.truth["r_peaks"], [4, 7, 10, 13])
    found = measure(replace(ecg, signal=ecg.signal[:, : round(10 * ecg.fs)]), r[r < 9.9])
    r = r[r < 9.9]
    assert found.heart_rate == pytest.approx(60 / np.diff(r).mean()) and found.heart_rate < 100
    assert found.rr == pytest.approx(60_000 / found.heart_rate)
    assert found.qtc == pytest.approx(found.qt / (60 / found.heart_rate) ** 0.5)


def test_axes_turn_with_the_heart(simulated, normal):
    """The leads are no right-angled frame: the axis follows, not degree by degree."""
    right, left = measure(simulated("normal", axis=40.0)), measure(simulated("normal", axis=-60.0))
    for name in ("p_axis", "qrs_axis", "t_axis"):
        turned = [getattr(m, name) for m in (left, normal, right)]
        assert (np.diff(turned) > 12).all() and (np.diff(turned) < 110).all(), name


@pytest.mark.parametrize("late", [0.0, 0.6, 0.8])
def test_a_slow_terminal_wave_does_not_turn_the_axis_of_a_wide_qrs(late):
    """As in right bundle branch block: in lead I a broad S, of more area than its R."""
    t, marks = np.arange(5000) / 500.0, np.arange(0.5, 9.9, 0.8)
    signal = np.random.default_rng(0).normal(0, 0.002, (12, t.size))
    for r in marks:
        main, end = (np.exp(-0.5 * ((t - r - at) / sd) ** 2) for at, sd in ((0, 0.011), (0.085, 0.022)))
        signal += np.where(np.arange(12)[:, None] == LEADS.index("aVF"), 0.4 * main, main - late * end)
    found = measure(ECG(signal.astype(np.float32), 500.0), marks)
    assert (found.qrs >= 120) == bool(late)
    assert found.qrs_axis == pytest.approx(np.rad2deg(np.arctan2(0.8 / 3**0.5, 1 - late)), abs=5)


@pytest.mark.data
@needs_data
@pytest.mark.parametrize(
    ("record", "low", "high"), [("00195", -90, -30), ("00269", -90, -30), ("00424", -90, -30)]
)
def test_the_axis_of_right_bundle_branch_block_is_the_readers(record, low, high):
    """PTB-XL's heart_axis: left axis deviation."""
    found = measure(read_ecg(Path(DATA) / f"ptbxl/records500/00000/{record}_hr.hea"))
    assert low <= found.qrs_axis <= high


def test_st_is_where_it_was_planted(simulated, normal):
    found = measure(simulate_ecg("normal", 0, st_elevation={"V2": 0.3, "V3": 0.25}))
    moved = found.st - normal.st
    assert moved[[7, 8]] == pytest.approx([0.3, 0.25], abs=0.05)
    assert (np.abs(np.delete(moved, [7, 8])) < 0.05).all()


def test_an_st_that_rises_into_t_stands_low_at_the_j_point(simulated, normal):
    ecg = simulated("normal")
    t = np.arange(ecg.n_samples) / ecg.fs
    signal = ecg.signal.copy()
    for r in ecg.truth["r_peaks"]:
        signal[7:9] += np.interp(t - r, [0.06, 0.2, 0.35, 0.45], [0, 0.5, 0.5, 0]).astype(np.float32)
    found = measure(replace(ecg, signal=signal))
    assert (np.abs(found.st_j - normal.st_j) < 0.06).all()
    assert (found.st - normal.st)[7:9] == pytest.approx([0.2, 0.2], abs=0.06)


def test_amplitudes_and_indices_grow_with_the_voltage(simulated, normal):
    double = measure(simulated("normal", gain=2.0, noise_mv=0.0))
    for name in ("r_amplitude", "s_amplitude", *VOLTAGES):
        np.testing.assert_allclose(getattr(double, name), 2 * getattr(normal, name), atol=0.15)
    r, s = normal.r_amplitude, normal.s_amplitude
    assert normal.sokolow_lyon == pytest.approx(s[6] + max(r[10], r[11]))
    assert normal.cornell == pytest.approx(r[4] + s[8])
    close(double, normal)


def trace(*points, end=100):
    """A lead of 100 ms at 1000 Hz through (ms, mV), from 0 before."""
    at, heights = zip((0, 0.0), *points, strict=True)
    return np.interp(np.arange(end + 1), at, heights)


@pytest.mark.parametrize(
    ("points", "r", "s"),
    [
        ([(20, 1.0), (40, -0.4), (60, 0.0)], 1.0, 0.4),
        ([(20, 0.2), (50, -2.5), (100, 0.3)], 0.2, 2.5),  # left bundle branch block: a raised ST is no R
        ([(20, 0.2), (50, -2.5), (90, 0.32), (100, 0.28)], 0.2, 2.5),  # nor is the hump at its beginning
        ([(50, -2.5), (100, 0.3)], 0.0, 2.5),  # QS
        ([(15, 0.2), (35, -0.5), (65, 0.9), (100, 0.0)], 0.9, 0.5),  # right bundle branch block: RSR'
        ([(15, 0.3), (35, -1.2), (65, 0.35), (100, 0.0)], 0.35, 1.2),
        ([(20, -0.5), (50, 0.9), (80, -0.1), (100, 0.0)], 0.9, 0.1),  # Q is no S
        ([(20, -0.3), (50, 0.3), (70, 0.2), (100, 0.22)], 0.3, 0.0),  # ST raised, and yet an R
        ([(50, 0.01), (100, 0.0)], 0.0, 0.0),
    ],
)
def test_r_is_a_wave_that_falls_again_and_s_follows_it(points, r, s):
    found = r_and_s(np.stack([trace(*points), np.full(101, np.nan)]))
    np.testing.assert_allclose(np.ravel(found), [r, np.nan, s, np.nan], atol=1e-9)


def test_left_bundle_branch_block_has_its_s_waves(simulated):
    ecg = simulated("normal", seconds=12.0)
    t = np.arange(ecg.n_samples) / ecg.fs
    signal = np.zeros_like(ecg.signal)
    for beat in ecg.truth["r_peaks"]:
        at = t - beat
        deep = -2.0 * np.exp(-0.5 * (at / 0.022) ** 2)
        st = np.interp(at, [0.0, 0.07, 0.2, 0.3, 0.4], [0.0, 0.25, 0.4, 0.6, 0.0])
        initial = 0.15 * np.exp(-0.5 * ((at + 0.065) / 0.008) ** 2)
        signal += (deep + st + initial) * np.linspace(0.8, 1.2, 12)[:, None].astype(np.float32)
    found = measure(replace(ecg, signal=signal.astype(np.float32)))
    assert (found.s_amplitude > 1.4).all() and (found.r_amplitude < 0.25).all()
    assert found.cornell > 1.4 and found.sokolow_lyon > 1.4


@pytest.mark.data
@needs_data
@pytest.mark.parametrize(
    ("record", "s_v1", "s_v3", "cornell"),
    [("00279", 1.30, 3.10, 3.76), ("00184", 1.06, 1.20, 1.99), ("00143", 0.93, 1.26, 2.19),
     ("00346", 1.66, 3.52, 4.92)],
)  # fmt: skip
def test_deep_s_waves_before_a_raised_st_are_measured(record, s_v1, s_v3, cornell):
    found = measure(read_ecg(Path(DATA) / f"ptbxl/records500/00000/{record}_hr.hea"))
    values = (found.s_amplitude[6], found.s_amplitude[8], found.cornell)
    assert values == pytest.approx((s_v1, s_v3, cornell), abs=0.03)


@pytest.mark.data
@needs_data
def test_an_r_prime_of_right_bundle_branch_block_stays_the_r():
    for record, r_v1, s_v1 in (("00195", 0.96, 0.36), ("00310", 0.80, 0.0), ("00424", 0.76, 0.19)):
        found = measure(read_ecg(Path(DATA) / f"ptbxl/records500/00000/{record}_hr.hea"))
        assert found.r_amplitude[6] == pytest.approx(r_v1, abs=0.03), record
        assert found.s_amplitude[6] == pytest.approx(s_v1, abs=0.03), record


def test_premature_beats_stay_out_of_the_median(simulated, normal):
    found = measure(simulated("premature"))
    wide = list(simulated("premature").truth["beats"])
    assert not found.median.dominant[wide].any() and found.median.dominant.sum() >= 6
    close(found, normal)


@pytest.mark.parametrize(
    ("planted", "regular", "told"),
    [((), True, "regular"), ((4,), True, "regular between usual beats; 1 of 12 beats of another shape"),
     (range(1, 11, 2), None, "regularity unknown; 5 of 12 beats of another shape")],
)  # fmt: skip
def test_a_rhythm_is_called_regular_of_the_beats_that_it_was_told_of(planted, regular, told):
    ecg = simulate_ecg(seed=2, pvc_at=planted, rr_sd=0.0)
    found = measure(ecg, ecg.truth["r_peaks"])
    assert found.regular is regular and found.n_other == len(planted)
    assert rhythm_words(found).partition(", ")[2] == told
    assert ("regular" in found.reasons) == (regular is None)


def test_beats_that_the_record_cuts_off_are_of_no_other_shape(simulated):
    ecg = simulated("normal")
    r = ecg.truth["r_peaks"]
    low, high = (round((at + by) * ecg.fs) for at, by in ((r[2], -0.01), (r[-2], 0.01)))
    found = measure(replace(ecg, signal=ecg.signal[:, low:high]), r[2:-1] - low / ecg.fs)
    assert found.regular is True and found.n_other == 0 and found.n_beats == len(r) - 3


@pytest.mark.data
@needs_data
@pytest.mark.parametrize(
    ("record", "told"),
    [("ptbxl/records500/00000/00256_hr", "regular between usual beats; 3 of 13 beats of another shape"),
     ("cinc2021/JS45543", "regularity unknown; 10 of 26 beats of another shape")],
)  # fmt: skip
def test_beats_of_another_shape_are_counted_and_a_tachycardia_with_many_is_not_called_regular(record, told):
    ecg = read_ecg(Path(DATA) / f"{record}.hea")
    assert rhythm_words(measure(ecg, tokenize_beats(ecg).r_peaks)).partition(", ")[2] == told


@pytest.mark.parametrize(("rate", "regular"), [(80, True), (140, None)])
def test_a_tachycardia_with_many_beats_of_another_shape_is_not_called_regular(rate, regular):
    n = rate // 6
    other = range(n // 2, n // 2 + n // 3)  # in a row, so that most intervals lie between usual beats
    ecg = simulate_ecg(seed=2, heart_rate=rate, rr_sd=0.0, pvc_at=other)
    found = measure(ecg, ecg.truth["r_peaks"])
    assert found.regular is regular and found.n_other == len(other)
    assert ("of another shape" in found.reasons.get("regular", "")) == (regular is None)
    few = simulate_ecg(seed=2, heart_rate=rate, rr_sd=0.0, pvc_at=other[:2])
    assert measure(few, few.truth["r_peaks"]).regular is True


@pytest.mark.parametrize("fs", [100.0, 128.0, 250.0, 360.0, 1000.0])
def test_the_sampling_rate_does_not_matter(simulated, normal, fs):
    ecg = simulated("normal")
    other = replace(ecg, signal=resample(ecg.signal.astype(float), ecg.fs, fs).astype(np.float32), fs=fs)
    close(measure(other), normal)


def test_a_low_rate_says_that_spikes_cannot_be_seen(simulated):
    found = measure(simulated("paced", fs=100.0))
    assert not found.paced and "100 Hz" in found.reasons["pacing_spikes"]
    assert "wide" in found.qtc_doubt


def test_fifty_hertz_is_measured(simulated, normal):
    close(measure(simulated("normal", fs=50.0)), normal, ("heart_rate", "pr", "qrs", "qt"), atol=25)


@pytest.mark.parametrize("gain", [0.05, 20.0])
def test_gain_moves_no_edge(simulated, normal, gain):
    ecg = simulated("normal")
    close(measure(replace(ecg, signal=ecg.signal * np.float32(gain))), normal, atol=1.0)


def test_polarity_and_gain_of_one_lead_move_no_edge(simulated, normal):
    ecg = simulated("normal")
    signal = ecg.signal.copy()
    signal[8] *= -3
    close(measure(replace(ecg, signal=signal)), normal, ("p", "pr", "qrs", "qt"), atol=2.0)


def test_a_shift_and_silence_around_move_nothing(simulated, normal):
    ecg = simulated("normal")
    silent = np.pad(ecg.signal, ((0, 0), (700, 600)), mode="edge")
    close(measure(replace(ecg, signal=silent)), normal, ("heart_rate", "p", "pr", "qrs", "qt"), atol=4.0)
    close(measure(replace(ecg, signal=ecg.signal[:, 137:] + 1.5)), normal, atol=6.0)


@pytest.mark.parametrize("lost", [[0, 5], [1], list(range(6, 12)), list(range(6))])
def test_absent_leads_are_named_and_the_others_measured(simulated, normal, lost):
    ecg = simulated("normal")
    signal = ecg.signal.copy()
    signal[lost] = np.nan
    found = measure(replace(ecg, signal=signal))
    assert {lead for lead in LEADS if lead in found.reasons} == {LEADS[row] for row in lost}
    assert np.isnan(found.st[lost]).all() and np.isfinite(np.delete(found.st, lost)).all()
    close(found, normal, ("heart_rate", "pr", "qrs", "qt"), atol=15)
    for name, needed in (("qrs_axis", {0, 5}), ("sokolow_lyon", {6, 10, 11}), ("cornell", {4, 8})):
        assert np.isnan(getattr(found, name)) == bool(needed & set(lost)) == (name in found.reasons)


@pytest.mark.parametrize(("share", "measured"), [(0.3, True), (0.7, False)])
def test_a_lead_that_is_flat_for_most_of_the_record_is_not_measured(simulated, normal, share, measured):
    """The facts of the record name it by the rule of quality."""
    ecg = simulated("normal")
    signal = ecg.signal.copy()
    signal[6, : round(share * ecg.n_samples)] = 0.034
    other = replace(ecg, signal=signal)
    found = measure(other, ecg.truth["r_peaks"])
    assert np.isfinite(found.st_j[6]) == measured and np.isfinite(np.delete(found.st_j, 6)).all()
    assert measured or "flat in" in found.reasons["V1"]
    assert f"V1 ({100 * share:.0f} % of the time)" in facts(other)["Flat"]
    assert any("flat" in said.lower() and "V1" in said for said in assess_quality(other).reasons)
    assert not any("flat" in said.lower() for said in assess_quality(ecg).reasons)
    close(found, normal, ("heart_rate", "pr", "qrs", "qt"), atol=12)


def test_a_trace_that_is_still_between_its_beats_is_not_flat(simulated):
    """As a patient simulator without noise gives it: still for most of the time, and in every lead."""
    ecg = simulate_ecg("normal", 0, noise_mv=0.0, heart_rate=40.0)
    signal = ecg.signal.copy()
    near = np.abs(np.arange(ecg.n_samples)[:, None] / ecg.fs - ecg.truth["r_peaks"]).min(axis=1) < 0.3
    signal[:, ~near] = 0.0
    found = measure(replace(ecg, signal=signal), ecg.truth["r_peaks"])
    assert not set(found.reasons) & set(LEADS) and np.isfinite(found.st_j).all()


def test_one_lead_is_enough_for_intervals(simulated, normal):
    ecg = simulated("normal")
    signal = np.full_like(ecg.signal, np.nan)
    signal[1] = ecg.signal[1]
    close(measure(replace(ecg, signal=signal)), normal, ("heart_rate", "pr", "qrs", "qt"), atol=20)


def test_gaps_are_left_out(simulated, normal):
    ecg = simulated("normal")
    signal = ecg.signal.copy()
    signal[2, 1000:1900] = np.nan
    signal[:, 2500:2600] = np.nan
    close(measure(replace(ecg, signal=signal)), normal, ("pr", "qrs", "qt"), atol=8)


def test_an_interval_over_a_gap_is_no_rr_interval(simulated, normal):
    ecg = simulated("normal")
    signal = ecg.signal.copy()
    signal[:, int(2 * ecg.fs) : int(5 * ecg.fs)] = np.nan
    found = measure(replace(ecg, signal=signal))
    assert found.regular is True and found.rr_sd < 2 * normal.rr_sd and found.rmssd < 2 * normal.rmssd
    close(found, normal, ("heart_rate",), atol=3)


def test_unknown_units_give_no_voltage_and_no_axis(simulated, normal):
    found = measure(replace(simulated("normal"), units_known=False))
    for name in (*VOLTAGES, "p_axis", "qrs_axis", "t_axis"):
        assert np.isnan(getattr(found, name)) and "unknown" in found.reasons[name]
    for name in ("st_j", "st", "r_amplitude", "s_amplitude"):
        assert np.isnan(getattr(found, name)).all() and name in found.reasons
    close(found, normal, ("heart_rate", "p", "pr", "qrs", "qt"), atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_fibrillation_has_no_p_and_no_reliable_qtc(simulated, seed):
    found = measure(simulated("irregular", seed))
    assert found.regular is False and found.irregular_without_p
    for name in ("p", "pr", "p_axis"):
        assert np.isnan(getattr(found, name)) and found.reasons[name]
    assert "irregular" in found.qtc_doubt and np.isfinite(found.qrs)


def test_beats_with_a_p_wave_are_counted_one_by_one(simulated):
    ecg = simulate_ecg("normal", 0, noise_mv=0.0)
    usual = measure(ecg)
    assert usual.n_with_p == usual.n_usual >= len(ecg.truth["r_peaks"]) - 2
    signal, r = ecg.signal.copy(), ecg.truth["r_peaks"]
    for k in (3, 6):
        low, high = (round((r[k] - usual.pr / 1000 + by) * ecg.fs) for by in (-0.06, 0.1))
        signal[:, low:high] = np.linspace(signal[:, low], signal[:, high], high - low, axis=1)
    found = measure(replace(ecg, signal=signal))
    assert found.n_usual - found.n_with_p == 2
    assert measure(simulated("irregular")).n_with_p == 0


@pytest.mark.parametrize("rr", [0.30, 0.34])
def test_what_precedes_qrs_is_no_p_where_the_t_wave_before_never_ended(rr):
    """A tachycardia of wide complexes: one wave after another, alike in every beat, and no line between."""
    rng = np.random.default_rng(0)
    t = np.arange(5000) / 500.0
    lead = np.zeros_like(t)
    marks = np.arange(0.2, 9.9, rr)
    for r in marks:
        for at, sd, height in ((0.0, 0.028, 1.0), (0.17, 0.035, -0.5), (rr - 0.08, 0.02, 0.15)):
            lead += height * np.exp(-0.5 * ((t - r - at) / sd) ** 2)
    leads = np.linspace(0.6, 1.4, 12)[:, None] * lead + rng.normal(0, 0.005, (12, t.size))
    found = measure(ECG(leads.astype(np.float32), 500.0), marks)
    assert found.heart_rate == pytest.approx(60 / rr, rel=0.01) and np.isfinite(found.qrs)
    assert np.isnan([found.p, found.pr, found.p_axis]).all() and found.n_with_p == 0
    assert all(found.reasons[name] for name in ("p", "pr", "p_axis")) and not found.irregular_without_p


@pytest.mark.data
@needs_data
@pytest.mark.parametrize("record", ["JS45544", "JS45547", "Q1805", "JS21341"])
def test_no_p_wave_is_measured_within_the_t_wave_of_a_tachycardia(record):
    found = measure(read_ecg(Path(DATA) / f"cinc2021/{record}.hea"))
    assert np.isnan([found.p, found.pr, found.p_axis]).all() and "not told from" in found.reasons["pr"]


def with_p_at(before, rr=1.0, scatter=0.0):
    """Twelve leads of P, QRS and T, the peak of P so many s before R."""
    rng = np.random.default_rng(1)
    gaps = rr * (1 + scatter * rng.uniform(-1, 1, 16))
    t = np.arange(round(500 * 10.0)) / 500.0
    lead = np.zeros_like(t)
    for r in 0.5 + np.cumsum(gaps):
        for at, sd, height in ((-before, 0.02, 0.15), (0.0, 0.014, 1.0), (0.30, 0.045, 0.3)):
            lead += height * np.exp(-0.5 * ((t - r - at) / sd) ** 2)
    leads = np.linspace(0.6, 1.4, 12)[:, None] * lead + rng.normal(0, 0.005, (12, t.size))
    return ECG(leads.astype(np.float32), 500.0)


@pytest.mark.parametrize("later", [0.04, 0.08, 0.12, 0.15, 0.19])
def test_pr_grows_with_the_time_from_p_to_qrs(later):
    usual, found = measure(with_p_at(0.16)), measure(with_p_at(0.16 + later))
    assert found.pr - usual.pr == pytest.approx(1000 * later, abs=8)
    assert found.p == pytest.approx(usual.p, abs=12)


@pytest.mark.parametrize("scatter", [0.0, 0.25])
def test_a_p_within_the_t_wave_has_no_false_duration(scatter):
    found = measure(with_p_at(0.24, rr=0.66, scatter=scatter))
    assert np.isnan([found.p, found.pr, found.p_axis]).all() and "begins within" in found.reasons["pr"]
    assert not found.irregular_without_p  # a P wave that is not measured is not an absent one


@pytest.mark.data
@needs_data
@pytest.mark.parametrize("record", ["00141", "00182", "00209", "00443"])
def test_a_p_wave_that_cannot_be_told_from_t_says_so(record):
    found = measure(read_ecg(Path(DATA) / f"ptbxl/records500/00000/{record}_hr.hea"))
    assert np.isnan([found.p, found.pr, found.p_axis]).all()
    for name in ("p", "pr", "p_axis"):
        assert "begins within" in found.reasons[name] or "lasts longer" in found.reasons[name]


@pytest.mark.parametrize("seed", range(3))
def test_pacing_spikes_are_found(simulated, seed):
    ecg = simulated("paced", seed)
    found = measure(ecg)
    delays = np.abs(found.pacing_spikes[:, None] - (ecg.truth["r_peaks"] - 0.1)).min(axis=1)
    assert len(found.pacing_spikes) >= len(ecg.truth["r_peaks"]) - 1 and (delays < 0.005).all()
    assert "paced" in found.qtc_doubt


@pytest.mark.parametrize("kind", ["normal", "premature", "noise", "irregular", "high_voltage", "tachycardia"])
def test_no_pacing_where_there_is_none(simulated, kind):
    assert not measure(simulated(kind, 1)).paced


def empty(n=5000, value=0.0):
    return np.full((12, n), value, np.float32)


@pytest.mark.parametrize(
    "signal",
    [
        empty(),
        empty(value=np.nan),
        empty(20),
        np.random.default_rng(0).normal(size=(12, 5000)).astype(np.float32),
    ],
    ids=["flat", "absent", "twenty samples", "noise"],
)
def test_without_beats_every_value_is_absent_and_says_why(signal):
    found = measure(ECG(signal, 500.0))
    for name in (*TIMES, *VOLTAGES, "rr", "rr_sd", "rmssd"):
        assert np.isnan(getattr(found, name)) and found.reasons[name]
    assert found.regular is None and not found.paced and found.median is None and not found.qtc_doubt


def test_one_beat_has_a_shape_and_no_rate(simulated, normal):
    ecg = simulated("normal")
    r = ecg.truth["r_peaks"][3]
    a, b = round((r - 0.4) * ecg.fs), round((r + 0.5) * ecg.fs)
    found = measure(replace(ecg, signal=ecg.signal[:, a:b], truth={}), np.array([0.4]))
    assert np.isnan(found.heart_rate) and found.reasons["heart_rate"] and np.isnan(found.qtc)
    assert found.qrs == pytest.approx(normal.qrs, abs=12)


def test_a_long_record_is_measured_in_a_stretch(simulated, normal):
    ecg = simulated("normal", seconds=120.0)
    silent = ecg.signal.copy()
    silent[:, : round(25 * ecg.fs)] = 0
    found = measure(replace(ecg, signal=silent))
    assert found.span[0] >= 20 and 8 <= found.span[1] - found.span[0] <= 15
    close(found, normal, ("heart_rate", "pr", "qrs", "qt"))


def test_given_r_peaks_are_used_and_checked(simulated, normal):
    ecg = simulated("normal")
    found = measure(ecg, ecg.truth["r_peaks"][2:8])
    assert len(found.median.r_peaks) == 6
    close(found, normal)
    with pytest.raises(ECGError, match="within the record"):
        measure(ecg, np.array([1.0, 99.0]))


def test_what_was_measured_is_read_only_and_plain(normal):
    with pytest.raises(ValueError, match="read-only"):
        normal.st[0] = 1
    import json

    plain = json.loads(json.dumps(normal.as_dict()))
    assert plain["qrs"] == normal.qrs and len(plain["st"]) == 12 and plain["regular"] is True


def test_a_device_measured_the_same():
    from pydicom.data import get_testdata_file

    found = measure(read_ecg(get_testdata_file("waveform_ecg.dcm")))
    device = {"rr": (982, 5), "pr": (161, 15), "qrs": (75, 12), "qt": (368, 20), "qrs_axis": (52, 8),
              "p_axis": (74, 8), "t_axis": (57, 8)}  # fmt: skip
    for name, (value, off) in device.items():
        assert getattr(found, name) == pytest.approx(value, abs=off), name


@pytest.mark.long
@pytest.mark.data
@needs_data
def test_edges_lie_within_the_cse_tolerances_on_ludb():
    from benchmarks.measure_ludb import CSE, by_record, records

    held = list(records(Path(DATA) / "ludb"))
    for edge, allowed in CSE.items():
        errors = 1000 * by_record(held, edge)
        assert np.nanstd(errors) <= allowed and abs(np.nanmean(errors)) <= 5, edge
        assert np.isfinite(errors).sum() >= (88 if edge.startswith("P") else 99), edge
    paced = [r.name for r in held if r.found.paced]
    assert set(paced) == {"8", "72", "74", "90", "93", "104"}


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_given_r_peaks_where_no_lead_moves_are_a_reason_and_no_crash(value) -> None:
    ecg = simulate_ecg("normal", 0)
    signal = ecg.signal.copy()
    signal[:, :1500] = value
    m = measure(replace(ecg, signal=signal), np.array([1.5]))
    assert np.isnan(m.qrs) and "no lead" in m.reasons["qrs"].lower() or "No beat" in m.reasons["qrs"]


def test_no_r_peak_given_is_none_measured() -> None:
    m = measure(simulate_ecg("normal", 0), np.empty(0))
    assert np.isnan(m.heart_rate) and m.reasons["heart_rate"]
