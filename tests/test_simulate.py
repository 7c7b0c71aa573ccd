import time

import numpy as np
import pytest

from clear_hug.ecg import ECG, ECGError
from clear_hug.leads import LEADS
from clear_hug.simulate import PRESETS, SIMULATED, TITLES, simulate_ecg

NO_NOISE = {"noise_mv": 0.0, "wander_mv": 0.0}


def lead(ecg: ECG, name: str) -> np.ndarray:
    return ecg.signal[LEADS.index(name)].astype(float)


def around(ecg: ECG, name: str, beat: int, start: float, stop: float) -> np.ndarray:
    """The lead from start to stop (s) around a true R peak."""
    r = ecg.truth["r_peaks"][beat]
    return lead(ecg, name)[round((r + start) * ecg.fs) : round((r + stop) * ecg.fs)]


def qrs_width(ecg: ECG, beat: int) -> float:
    """Seconds for which the dipole's size, seen by all leads, exceeds a fifth of its height in this beat."""
    span = np.stack([around(ecg, name, beat, -0.12, 0.12) for name in LEADS])
    size = np.sqrt((span**2).sum(axis=0))
    return np.count_nonzero(size > 0.2 * size.max()) / ecg.fs


@pytest.mark.parametrize("kind", PRESETS)
@pytest.mark.parametrize("fs", [100.0, 500.0])
def test_limb_leads_obey_einthoven_and_goldberger(kind, fs):
    i, ii, iii, avr, avl, avf = SIMULATED[kind](seed=3, fs=fs).signal[:6].astype(float)
    for one, other in [(iii, ii - i), (avr, -(i + ii) / 2), (avl, i - ii / 2), (avf, ii - i / 2)]:
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("kind", PRESETS)
def test_a_simulated_ecg_says_so_and_has_finite_plausible_millivolts(kind):
    ecg = SIMULATED[kind]()
    assert ecg.simulated and ecg.source == "simulated" and kind in ecg.record_id and ecg.units_known
    assert ecg.signal.dtype == np.float32 and np.isfinite(ecg.signal).all() and ecg.derived == ()
    assert 0.2 < np.abs(ecg.signal).max() < 5
    assert set(ecg.truth) == {"r_peaks", "beats", "leads", "change"}
    assert (ecg.truth["change"] == "none") == (kind in ("normal", "long"))
    assert TITLES[kind].startswith("simulated: ")
    r = ecg.truth["r_peaks"]
    assert (np.diff(r) > 0.2).all() and r[0] >= 0 and r[-1] < ecg.duration


@pytest.mark.parametrize("kind", PRESETS)
def test_same_seed_same_bits_other_seed_other_record(kind):
    first, again, other = (SIMULATED[kind](seed=s) for s in (7, 7, 8))
    assert first.digest == again.digest
    np.testing.assert_array_equal(first.truth["r_peaks"], again.truth["r_peaks"])
    assert first.digest != other.digest
    moving = ~first.flat
    assert (np.abs(first.signal - other.signal).max(axis=1) > 0.02)[moving].all()


@pytest.mark.parametrize("kind", PRESETS)
@pytest.mark.parametrize("seed", range(3))
def test_the_true_r_peaks_are_where_the_qrs_is(kind, seed):
    ecg = SIMULATED[kind](seed=seed, **NO_NOISE, emg_mv=0.0, mains_mv=0.0)
    size = np.sqrt((ecg.signal.astype(float) ** 2).sum(axis=0))
    if kind == "paced":  # the spike is taller than the QRS, and one or two samples wide
        size = np.convolve(size, np.ones(11) / 11, "same")
    for r in ecg.truth["r_peaks"]:
        if 0.08 < r < ecg.duration - 0.08:
            start = round((r - 0.08) * ecg.fs)
            peak = (start + size[start : round((r + 0.08) * ecg.fs)].argmax()) / ecg.fs
            assert abs(peak - r) <= 0.02


@pytest.mark.parametrize("rate", [30, 45, 72, 100, 150, 200])
@pytest.mark.parametrize("seed", range(5))
def test_the_mean_rate_is_as_asked(rate, seed):
    r = simulate_ecg(heart_rate=rate, seed=seed, seconds=20).truth["r_peaks"]
    assert 60 / np.diff(r).mean() == pytest.approx(rate, rel=0.02)


@pytest.mark.parametrize("seed", range(20))
def test_two_hundred_a_minute_is_33_beats_in_ten_seconds(seed):
    assert simulate_ecg(heart_rate=200, seed=seed).truth["r_peaks"].size == 33


def test_a_heart_without_variability_is_a_clock():
    r = simulate_ecg(rr_sd=0.0).truth["r_peaks"]
    np.testing.assert_allclose(np.diff(r), 60 / 72)


@pytest.mark.parametrize("seed", range(5))
def test_the_irregular_rhythm_is_irregular_and_has_no_p_wave(seed):
    def variation(kind):
        rr = np.diff(SIMULATED[kind](seed=seed, seconds=60).truth["r_peaks"])
        return rr.std() / rr.mean()

    assert variation("normal") < 0.03
    assert variation("irregular") > 0.12
    p = {
        kind: np.mean(
            [around(ecg, "II", k, -0.18, -0.11).mean() - around(ecg, "II", k, -0.24, -0.21).mean()
             for k in range(5, 60)]
        )
        for kind in ("normal", "irregular")
        for ecg in [SIMULATED[kind](seed=seed, seconds=60, heart_rate=60.0)]
    }  # fmt: skip
    assert p["normal"] > 0.05 and abs(p["irregular"]) < 0.03


@pytest.mark.parametrize("seed", range(10))
def test_waves_have_the_polarity_and_size_a_normal_ecg_has_in_each_lead(seed):
    ecg = simulate_ecg(seed=seed, **NO_NOISE)
    p = {name: around(ecg, name, 3, -0.22, -0.08) for name in LEADS}
    qrs = {name: around(ecg, name, 3, -0.06, 0.06) for name in LEADS}
    t = {name: around(ecg, name, 3, 0.15, 0.40) for name in LEADS}
    r_wave = {name: qrs[name].max() for name in LEADS}
    s_wave = {name: -qrs[name].min() for name in LEADS}
    for name in ("I", "II", "aVF", "V5", "V6"):
        assert p[name].mean() > 0 and r_wave[name] > 2 * s_wave[name] and t[name].mean() > 0.02
    assert p["aVR"].mean() < 0 and s_wave["aVR"] > 5 * r_wave["aVR"] and t["aVR"].mean() < -0.02
    assert 0.08 < p["II"].max() < 0.25 and p["V1"].max() > 0.01 and p["V1"].min() < -0.02
    assert 0.8 < r_wave["V5"] < 1.8 and 0.6 < r_wave["II"] < 1.6
    assert r_wave["V1"] < r_wave["V2"] < r_wave["V3"] < r_wave["V4"]
    assert s_wave["V1"] > 2 * r_wave["V1"] > 0.1 and s_wave["V2"] > s_wave["V4"] > s_wave["V6"]
    first = qrs["V6"][: qrs["V6"].argmax()]
    assert first.min() < -0.03  # the septal q
    assert all(t[name].max() > 0.1 for name in ("V2", "V3", "V4", "V5"))


def test_t_moves_with_the_rate_and_stays_clear_of_the_next_qrs():
    def t_peak(rate):
        ecg = simulate_ecg(heart_rate=rate, rr_sd=0.0, **NO_NOISE)
        return 0.1 + around(ecg, "V3", 2, 0.1, 0.5 * 60 / rate + 0.1).argmax() / ecg.fs

    assert 0.28 < t_peak(60) < 0.31
    assert t_peak(45) > t_peak(72) > t_peak(150) > 0.15
    ecg = simulate_ecg(heart_rate=150, rr_sd=0.0, **NO_NOISE)
    before_qrs = around(ecg, "V5", 3, -0.06, -0.045)
    assert np.abs(before_qrs).max() < 0.1 * lead(ecg, "V5").max()


@pytest.mark.parametrize("seed", range(5))
def test_premature_beats_are_early_wide_discordant_and_followed_by_a_pause(seed):
    ecg = simulate_ecg(pvc_at=[4], seed=seed, heart_rate=55, **NO_NOISE)
    assert ecg.truth["beats"] == (4,)
    rr = np.diff(ecg.truth["r_peaks"])
    others = np.delete(rr, [3, 4])
    assert rr[3] < 0.75 * others.min() and rr[4] > 1.25 * others.max()
    assert rr[3] + rr[4] == pytest.approx(2 * others.mean(), rel=0.1)  # fully compensatory
    assert qrs_width(ecg, 4) > 0.11 > 0.08 > qrs_width(ecg, 3)
    for name in ("II", "V1", "V6"):
        qrs, t = around(ecg, name, 4, -0.06, 0.06).mean(), around(ecg, name, 4, 0.22, 0.36).mean()
        assert qrs * t < 0
    assert np.abs(around(ecg, "II", 4, -0.2, -0.13)).max() < 0.03  # no P wave


def test_planted_premature_beats_change_nothing_but_their_own_stretch():
    plain, planted = simulate_ecg(seed=2), simulate_ecg(seed=2, pvc_at=[5])
    r, e = plain.truth["r_peaks"], planted.truth["r_peaks"]
    np.testing.assert_array_equal(np.delete(r, 5), np.delete(e, 5))
    moved = np.flatnonzero((plain.signal != planted.signal).any(axis=0)) / plain.fs
    assert e[5] - 0.4 < moved.min() and moved.max() < r[5] + 0.85


def test_premature_beats_may_have_another_origin_and_width():
    usual, turned, long = (
        simulate_ecg(seed=3, pvc_at=[4], heart_rate=60, **NO_NOISE, **own)
        for own in ({}, {"pvc_axis": 120.0}, {"pvc_width": 1.4})
    )
    for other in (turned, long):  # all other beats are the same to the bit
        moved = np.flatnonzero((usual.signal != other.signal).any(axis=0)) / usual.fs
        r = usual.truth["r_peaks"][4]
        assert r - 0.4 < moved.min() and moved.max() < r + 0.85
    assert around(usual, "II", 4, -0.02, 0.02).mean() > 0.5 > 0 > around(turned, "II", 4, -0.02, 0.02).mean()
    np.testing.assert_allclose(qrs_width(turned, 4), qrs_width(usual, 4), atol=0.02)
    assert qrs_width(long, 4) > 1.2 * qrs_width(usual, 4)
    assert "their axis turned by 120 degrees" in turned.truth["change"]
    assert "their QRS x 1.4 as long" in long.truth["change"]
    alone = simulate_ecg(seed=3, pvc_axis=120.0)
    assert alone.digest == simulate_ecg(seed=3).digest and alone.truth["change"] == "none"


@pytest.mark.parametrize("seed", range(10))
def test_random_premature_beats_number_as_asked_and_never_touch(seed):
    beats = simulate_ecg(n_pvc=3, seed=seed).truth["beats"]
    assert len(beats) == 3 and (np.diff(beats) >= 2).all() and beats[0] >= 1


def test_random_premature_beats_lie_elsewhere_for_other_seeds():
    assert len({simulate_ecg(n_pvc=1, seed=s).truth["beats"] for s in range(20)}) > 4


def test_st_elevation_is_as_asked_in_the_named_leads_alone():
    asked = {"V2": 0.2, "V3": 0.3, "V4": -0.1}
    plain, planted = simulate_ecg(seed=4), simulate_ecg(seed=4, st_elevation=asked)
    assert planted.truth["leads"] == ("V2", "V3", "V4")
    for name in LEADS:
        change = np.mean(
            [around(planted, name, k, 0.10, 0.14) - around(plain, name, k, 0.10, 0.14) for k in range(10)]
        )
        assert change == pytest.approx(asked.get(name, 0.0), abs=0.01)
        before = around(planted, name, 4, -0.3, 0.02) - around(plain, name, 4, -0.3, 0.02)
        assert np.abs(before).max() < 1e-3  # neither P nor R moves


def test_st_elevation_in_a_limb_lead_brings_its_reciprocal_along():
    plain = simulate_ecg(seed=4)
    planted = simulate_ecg(seed=4, st_elevation={"III": 0.2})
    moved = {
        name: (around(planted, name, 3, 0.1, 0.14) - around(plain, name, 3, 0.1, 0.14)).mean()
        for name in LEADS
    }
    assert moved["III"] == pytest.approx(0.2, abs=0.01)
    assert moved["aVL"] < -0.1 and moved["V2"] == 0
    i, ii, iii = planted.signal[:3].astype(float)
    np.testing.assert_allclose(iii, ii - i, atol=1e-5)
    assert planted.truth["leads"] == ("I", "II", "III", "aVL", "aVF")


def test_an_electrode_off_is_a_flat_line_and_nothing_else_changes():
    ecg, plain = SIMULATED["lead_off"](seed=1), simulate_ecg(seed=1)
    assert ecg.truth["leads"] == ("V3",)
    assert ecg.flat.tolist() == [name == "V3" for name in LEADS] and not lead(ecg, "V3").any()
    others = [row for row, name in enumerate(LEADS) if name != "V3"]
    np.testing.assert_array_equal(ecg.signal[others], plain.signal[others])


def test_one_lead_can_be_small():
    ecg, plain = simulate_ecg(seed=1, lead_gain={"V5": 0.25}), simulate_ecg(seed=1)
    np.testing.assert_allclose(ecg.signal[10], 0.25 * plain.signal[10], atol=1e-6)
    np.testing.assert_array_equal(np.delete(ecg.signal, 10, 0), np.delete(plain.signal, 10, 0))


def test_low_and_high_voltage_meet_their_clinical_definitions():
    low, normal, high = (SIMULATED[kind](seed=1) for kind in ("low_voltage", "normal", "high_voltage"))

    def span(ecg, name):
        return np.ptp(around(ecg, name, 3, -0.06, 0.06))

    def sokolow(ecg):
        return -around(ecg, "V1", 3, -0.06, 0.06).min() + lead(ecg, "V5").max()

    assert all(span(low, name) < 0.5 for name in LEADS[:6])
    assert all(span(low, name) < 1.0 for name in LEADS[6:])
    assert any(span(normal, name) > 0.5 for name in LEADS[:6])
    assert sokolow(high) > 3.5 > 2.5 > sokolow(normal)


def test_the_axis_turns_as_asked():
    def axis(**settings):
        ecg = simulate_ecg(seed=1, **NO_NOISE, **settings)
        i, avf = (around(ecg, name, 3, -0.06, 0.06).sum() for name in ("I", "aVF"))
        return np.rad2deg(np.arctan2(2 / np.sqrt(3) * avf, i))

    assert 20 < axis() < 80
    assert axis(axis=60) > 95
    assert axis(axis=-80) < -25


def test_noise_is_added_to_the_same_heart():
    noisy, plain = SIMULATED["noise"](seed=5), simulate_ecg(seed=5, **NO_NOISE)
    np.testing.assert_array_equal(noisy.truth["r_peaks"], plain.truth["r_peaks"])
    noise = lead(noisy, "I") - lead(plain, "I")
    power = np.abs(np.fft.rfft(noise * np.hanning(noise.size))) ** 2
    hz = np.fft.rfftfreq(noise.size, 1 / noisy.fs)
    assert power[hz < 0.6].sum() > 0.5 * power.sum()
    mains = power[abs(hz - 50) < 0.3].max()
    assert mains > 20 * np.median(power[(hz > 60) & (hz < 100)])
    rough = np.abs(np.diff(lead(noisy, "V4") - lead(plain, "V4")))[:4500].reshape(-1, 250).mean(axis=1)
    assert rough.max() > 2 * rough.min()  # muscle comes in bursts


def test_paced_beats_have_a_spike_before_a_wide_qrs():
    ecg = SIMULATED["paced"](seed=0)
    slope = np.abs(np.diff(lead(ecg, "III")))
    for k, r in enumerate(ecg.truth["r_peaks"][1:-1], start=1):
        start = round((r - 0.2) * ecg.fs)
        spike = (start + slope[start : round((r + 0.2) * ecg.fs)].argmax()) / ecg.fs
        assert 0.08 < r - spike < 0.12
        assert qrs_width(ecg, k) > 0.1
        assert np.abs(around(ecg, "II", k, -0.3, -0.12)).max() < 0.08  # no P wave


@pytest.mark.parametrize("fs", [100.0, 250.0, 400.0, 1000.0])
def test_the_sampling_rate_changes_the_grid_and_not_the_heart(fs):
    coarse, fine = (simulate_ecg("premature", seed=6, fs=f, **NO_NOISE) for f in (fs, 2 * fs))
    assert coarse.n_samples == 10 * fs and coarse.duration == 10
    np.testing.assert_array_equal(coarse.truth["r_peaks"], fine.truth["r_peaks"])
    np.testing.assert_allclose(coarse.signal, fine.signal[:, ::2], atol=1e-5)


def test_lengths():
    assert SIMULATED["long"]().duration == 30 and SIMULATED["normal"]().duration == 10
    assert simulate_ecg(seconds=2).duration == 2
    assert simulate_ecg("long", seconds=12).duration == 12
    assert SIMULATED["long"]().truth["r_peaks"].size == 36


def test_a_long_record_beats_to_its_end():
    ecg = simulate_ecg(seconds=600, fs=100)
    assert np.diff(ecg.truth["r_peaks"]).max() < 1 and ecg.truth["r_peaks"][-1] > 599


def test_truth_is_read_only():
    with pytest.raises(ValueError, match="read-only"):
        simulate_ecg().truth["r_peaks"][0] = 1.0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kind": "sinus"}, "unknown simulated ECG 'sinus'; expected one of normal"),
        ({"rate": 70}, "unknown setting 'rate'"),
        ({"heart_rate": 0}, "heart_rate = 0/min"),
        ({"heart_rate": float("nan")}, "heart_rate = nan"),
        ({"seconds": 0}, "seconds = 0"),
        ({"fs": 0.0}, "fs = 0 Hz"),
        ({"st_elevation": {"V9": 0.1}}, "unknown lead 'V9'"),
        ({"lead_gain": {"Q": 0.1}}, "unknown lead 'Q'"),
        ({"pvc_at": [0]}, "no premature beat can stand at 0"),
        ({"pvc_at": [12]}, "no premature beat can stand at 12"),
        ({"pvc_width": 3.0}, "pvc_width = 3; expected 0.7 to 1.5"),
        ({"n_pvc": 9}, "9 premature beats do not fit"),
    ],
)
def test_errors_name_the_value_and_the_way_out(settings, words):
    with pytest.raises(ECGError, match=words):
        simulate_ecg(**settings)


def test_ten_seconds_take_less_than_50_ms():
    simulate_ecg()
    took = []
    for seed in range(5):
        start = time.thread_time()
        simulate_ecg("noise", seed)
        took.append(time.thread_time() - start)
    assert min(took) < 0.05
