"""The gate says what is unusual, and nothing of what is usual."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import clear_hug as ch
from clear_hug.beats import tokenize_beats
from clear_hug.ecg import WRONG_GAIN, mean_rate
from clear_hug.gate import (
    BEATS,
    QUANTILES,
    RATE,
    SCALE,
    SECONDS,
    UNTOLD,
    Gate,
    check_input,
    input_measures,
    limits_of,
    of_a_child,
    rhythm_doubts,
)
from clear_hug.leads import LEADS
from clear_hug.quality import assess_quality


@pytest.fixture(scope="module")
def shipped():
    return ch.load_checkpoint()


@pytest.fixture(scope="module")
def real(simulated):
    """A record that calls itself recorded: what is said of it is said of its signal."""
    return replace(simulated("normal"), simulated=False)


@pytest.fixture(scope="module")
def limited(shipped, real):
    """The checkpoint, as if it had learned from records close to this one."""
    seen = input_measures(replace(shipped, operating={}), tokenize_beats(real))
    wide = {RATE: 15, BEATS: 3, SECONDS: 0.0, UNTOLD: 0.1, SCALE: 0.5 * seen[SCALE]}
    limits = {}
    for name, value in seen.items():
        by = wide[name.split("/")[0]] * (3 if "/" in name else 1)
        limits[name] = {"range": [value - by, value + by], "records": 100}
    return replace(shipped, operating={"input": limits})


def said(ecg, checkpoint, **more):
    return check_input(ecg, tokenize_beats(ecg), checkpoint, **more)


def test_a_step_at_the_end_that_counts_as_a_beat_is_told(real, limited):
    fs, peaks = real.fs, tokenize_beats(real).r_peaks

    def held(from_: float, step: float):
        """The trace held from a time on, after a step of another sign in each second lead."""
        cut = round(from_ * fs)
        signal = real.signal[:, : cut + round(0.1 * fs)].copy()
        signal[:, cut:] = signal[:, cut : cut + 1] + step * (-1.0) ** np.arange(12)[:, None]
        return replace(real, signal=signal)

    between = 0.45 * peaks[5] + 0.55 * peaks[6]
    marks = np.append(peaks[:6], between)
    for ecg, last, told in (
        (held(between + 0.01, 1.0), marks, True),  # the step bears a mark
        (held(between + 0.01, 1.0), marks[:-1], False),  # or none
        (held(peaks[6] + 0.09, 0.0), peaks[:7], False),  # a beat like the others, just before the end
    ):
        gate = check_input(ecg, tokenize_beats(ecg, r_peaks=last), limited)
        assert any("last beat" in said and "cut off" in said for said in gate.sentences) == told


def test_a_usual_record_passes_in_silence(real, limited):
    gate = said(real, limited, quality=assess_quality(real))
    assert gate == Gate((), compared=True) and gate.ok


@pytest.mark.parametrize(
    ("measured", "n", "called", "told"),
    [
        ({}, 12, ["rhythm/SR"], ""),
        ({"irregular_without_p": True}, 12, ["rhythm/AFIB"], ""),
        (
            {"irregular_without_p": True},
            12,
            ["rhythm/SR"],
            "atrial fibrillation; at its default threshold the model does not call it.",
        ),
        ({"irregular_without_p": True}, 12, None, "no P wave, as in atrial fibrillation. Look"),
        ({"irregular_without_p": True}, 2, ["rhythm/SR"], "cannot be told from 2 beats:"),
        ({}, 1, ["rhythm/SR"], "cannot be told from 1 beat:"),
        ({"paced": True}, 12, ["rhythm/SR"], "Pacing spikes"),
        (None, 12, [], ""),
        ({"qrs": 137.0, "heart_rate": 165.0}, 12, ["rhythm/SR"], "wide complexes (165/min, QRS 137 ms)"),
        ({"qrs": 119.6, "heart_rate": 119.6}, 12, None, "may be ventricular"),
        ({"qrs": 119.4, "heart_rate": 165.0}, 12, [], ""),
        ({"qrs": 137.0, "heart_rate": 119.0}, 12, [], ""),
        ({"qrs": float("nan"), "heart_rate": 165.0}, 12, [], ""),
        (
            {"n_with_p": 10, "regular": True},
            12,
            ["rhythm/AFIB"],
            "P waves are measured before 10 of 12 usual beats, and the rhythm is regular.",
        ),
        (
            {"n_with_p": 9, "n_other": 2},
            12,
            ["rhythm/AF"],
            "and 2 of 14 beats come early or have another shape",
        ),
        ({"n_with_p": 6}, 12, ["rhythm/AFIB"], ""),
        ({"n_with_p": 12}, 12, ["rhythm/AFLT"], ""),
        ({"n_with_p": 12}, 12, None, ""),
    ],
)
def test_measured_and_called_rhythm_are_held_against_one_another(measured, n, called, told):
    known = {"irregular_without_p": False, "paced": False, "regular": False, "n_beats": 14, "n_usual": 12,
             "n_with_p": 0, "n_other": 0, "n_premature": 0, "qrs": 90.0, "heart_rate": 80.0}  # fmt: skip
    of = None if measured is None else SimpleNamespace(**{**known, **measured})
    found = rhythm_doubts(of, n, ["rhythm/SR", "rhythm/AFIB"], called)
    assert [told in one for one in found] == [True] * bool(told)
    if measured and measured.get("irregular_without_p") and "fibrillation" in told:
        assert "no label for it" in rhythm_doubts(of, n, ["superdiagnostic/NORM"], called)[0]


def test_a_child_is_told_of():
    assert of_a_child(None) == of_a_child(18) == of_a_child(61) == []
    assert "9 years" in of_a_child(9.4)[0]


def test_a_doubted_voltage_is_said_before_a_number(real, limited):
    doubt = f"All gains are odd: a {WRONG_GAIN}."
    assert said(replace(real, warnings=("A remark.", doubt)), limited).sentences == (doubt,)


def test_an_interval_over_a_gap_is_said(real, limited):
    signal = real.signal.copy()
    signal[:, int(4 * real.fs) : int(6.5 * real.fs)] = np.nan
    told = [s for s in said(replace(real, signal=signal), limited).sentences if "spans a gap" in s]
    assert len(told) == 1 and told[0].startswith("One RR interval")
    signal = real.signal.copy()
    signal[:, int(4 * real.fs)] = np.nan  # a single sample hides no beat
    assert not any("gap" in s for s in said(replace(real, signal=signal), limited).sentences)
    signal = real.signal.copy()
    signal[:3, int(4 * real.fs) : int(6.5 * real.fs)] = np.nan  # nine leads have their samples
    assert not any("gap" in s for s in said(replace(real, signal=signal), limited).sentences)


def test_limits_hold_99_percent():
    rng = np.random.default_rng(0)
    values = rng.normal(size=1000)
    limits = limits_of([{RATE: v} if i % 2 else {RATE: v, SCALE: 1.0} for i, v in enumerate(values)])
    low, high = limits[RATE]["range"]
    assert ((values >= low) & (values <= high)).mean() == pytest.approx(
        QUANTILES[1] - QUANTILES[0], abs=0.003
    )
    assert (limits[RATE]["records"], limits[SCALE]["records"]) == (1000, 500)


def test_measures_of_a_record(shipped, real):
    found = input_measures(shipped, tokenize_beats(real))
    assert found[RATE] == pytest.approx(72, abs=3) and found[SECONDS] == 10
    assert {f"{SCALE}/{lead}" for lead in LEADS} | {f"{UNTOLD}/{lead}" for lead in LEADS} <= set(found)
    assert 0 < found[UNTOLD] < 0.5
    long = input_measures(shipped, tokenize_beats(ch.simulate_ecg("long")))
    assert long[SECONDS] == 10 and long[BEATS] == pytest.approx(12, abs=1)
    without = replace(real, units_known=False)
    assert SCALE not in input_measures(shipped, tokenize_beats(without))


@pytest.mark.parametrize(("limit", "within"), [(71.6, True), (71.4, False)])
def test_a_rate_that_is_shown_as_its_limit_lies_within(real, shipped, limit, within):
    """72 is above 71.4, shown as 71; not above 71.6, which is shown as 72 as well."""
    tokens = tokenize_beats(real)
    rate = mean_rate(tokens.r_peaks)
    by = round(rate) - 72
    held = replace(shipped, operating={"input": {RATE: {"range": [40.0, limit + by], "records": 9}}})
    told = [s for s in check_input(real, tokens, held).sentences if "heart rate" in s]
    assert bool(told) != within
    assert not told or f"{rate:.0f}/min" in told[0]


def test_the_rate_is_the_mean_one_and_a_gap_is_no_interval(real, limited):
    """As the ECG page has it."""
    signal = real.signal.copy()
    signal[:, int(4 * real.fs) : int(6.5 * real.fs)] = np.nan
    for ecg in (real, replace(real, signal=signal), ch.simulate_ecg("irregular", 1)):
        tokens = tokenize_beats(ecg)
        held = replace(limited, operating={"input": {RATE: {"range": [1.0, 2.0], "records": 9}}})
        rate = ch.measure(ecg, tokens.r_peaks).heart_rate
        assert any(f"heart rate, {rate:.0f}/min" in s for s in check_input(ecg, tokens, held).sentences)


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        ("tachycardia", {}, "heart rate, 150/min, lies above"),
        ("bradycardia", {}, "heart rate, 45/min, lies below"),
        ("normal", {"seconds": 5.0}, "reads 5.0 s at a time"),
        ("normal", {"gain": 20.0}, "lies above what training showed: 99 % of the training records"),
        ("normal", {"lead_gain": {"V3": 8.0}}, "Lead V3 is larger than in 99.5 %"),
        ("lead_off", {}, "without a usable beat, so left out: V3"),
    ],
)
def test_what_is_unusual_is_said(simulated, limited, kind, settings, words):
    ecg = replace(ch.simulate_ecg(kind, **settings), simulated=False)
    gate = said(ecg, limited)
    assert not gate.ok and any(words in sentence for sentence in gate.sentences), gate.sentences


def test_a_lead_that_no_other_foretells_is_named(real, limited):
    signal = real.signal.copy()
    signal[LEADS.index("V4")] *= np.sign(np.sin(np.arange(real.n_samples) / real.fs * 2 * np.pi * 0.5))
    found = input_measures(limited, tokenize_beats(replace(real, signal=signal)))
    assert max(LEADS, key=lambda lead: found[f"{UNTOLD}/{lead}"]) == "V4"
    sentences = said(replace(real, signal=signal), limited).sentences
    runs = re.findall(r"V(\d)(?:–V(\d))?", next(one for one in sentences if "predicted from" in one))
    named = {chest for low, high in runs for chest in range(int(low), int(high or low) + 1)}
    assert 4 in named and len(named) <= 3  # its neighbours may be foretold worse, too


def test_units_and_simulation_are_said(simulated, limited):
    gate = said(replace(simulated("normal"), units_known=False), limited)
    assert any("voltage is unknown" in sentence for sentence in gate.sentences)
    assert "simulated" in gate.sentences[-1]


def test_poor_quality_is_said(real, limited):
    quality = assess_quality(real)
    poor = replace(quality, acceptable=0.1, reasons=("Noise in V1.",))
    assert "Noise in V1." in said(real, limited, quality=poor).sentences
    assert "Noise in V1." not in said(real, limited, quality=replace(poor, acceptable=0.9)).sentences


def test_a_checkpoint_that_tells_no_limits_says_so(real, shipped):
    gate = said(real, replace(shipped, operating={}))
    assert gate.ok and not gate.compared


def test_one_lead_and_one_beat_are_no_reason_to_fail(real, limited):
    signal = np.full_like(real.signal, np.nan)
    signal[1] = real.signal[1]
    gate = said(replace(real, signal=signal), limited)
    assert any("saw 1 lead of 12 (II)" in sentence for sentence in gate.sentences)
    short = ch.ECG(real.signal[:, : int(1.2 * real.fs)], real.fs)
    assert not said(short, limited).ok
