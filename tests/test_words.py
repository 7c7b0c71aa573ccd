"""Sentences say what is so."""

from dataclasses import replace

import numpy as np
import pytest

from clear_hug.diagnosis import diagnose
from clear_hug.ecg import ECG
from clear_hug.known import Person
from clear_hug.measure import Measurements
from clear_hug.words import (
    apart_words,
    coverage,
    exclusion_words,
    facts,
    missing,
    qtc_words,
    rests_on,
    runs_of_leads,
)


def test_what_an_answer_rests_on(simulated, tokens_of, checkpoint):
    def sentences(kind):
        tokens = tokens_of(kind)
        return " ".join(rests_on(simulated(kind), tokens, diagnose(checkpoint, tokens)))

    assert "12 leads" in sentences("normal") and "left out" not in sentences("normal")
    assert "left out: V3" in sentences("lead_off")
    assert "windows" in sentences("long")
    assert "end of T" in sentences("bradycardia")
    assert all("simulated" in sentences(kind) for kind in ("normal", "long"))


@pytest.mark.parametrize(
    ("silent", "words"),
    [
        ((10, 20), "No beat from 10 to 20 s: that window is not in the answer."),
        ((20, 30), "No beat from 20 to 30 s: that window is not in the answer."),
        ((0, 20), "No beat from 0 to 20 s: those 2 windows are not in the answer."),
    ],
)
def test_a_window_without_a_beat_is_named(simulated, tokens_of, checkpoint, silent, words):
    tokens = tokens_of("long")
    gone = (tokens.r_peaks >= silent[0]) & (tokens.r_peaks < silent[1])
    quiet = replace(tokens, valid=tokens.valid & ~gone)
    assert words in rests_on(simulated("long"), quiet, diagnose(checkpoint, quiet))
    assert not any(
        "No beat from" in said for said in rests_on(simulated("long"), tokens, diagnose(checkpoint, tokens))
    )


def test_a_normal_ecg_beside_what_it_excludes_is_named():
    words = {
        "superdiagnostic/NORM": "normal ECG", "superdiagnostic/HYP": "hypertrophy",
        "superdiagnostic/CD": "conduction disturbance", "subdiagnostic/NORM": "normal ECG",
        "rhythm/AFIB": "atrial fibrillation",
    }  # fmt: skip
    two = ("superdiagnostic/HYP", "subdiagnostic/NORM")
    said = exclusion_words({target: words[target] for target in two})
    assert "“normal ECG” excludes “hypertrophy”, yet both are called" in said
    assert said.count(".") == 1
    assert "excludes “hypertrophy” and “conduction disturbance”, yet all" in exclusion_words(words)
    for quiet in (("superdiagnostic/NORM", "rhythm/AFIB"), ("superdiagnostic/HYP", "superdiagnostic/CD"), ()):
        assert not exclusion_words({target: words[target] for target in quiet})


def test_dropped_beats_are_counted(tokens):
    assert "3 beats" in coverage(replace(tokens, n_dropped=3))[0]
    assert "No beat" in coverage(tokens)[0]


def test_what_the_model_could_not_see_is_said_beside_the_answer(simulated, tokens_of):
    assert missing(tokens_of("normal")) == []
    off = tokens_of("lead_off")
    assert "saw 11 leads of 12" in missing(off)[0] and missing(off)[0].endswith("left out: V3.")
    shape = replace(tokens_of("normal"), units_known=False)
    assert ["voltage is unknown" in sentence for sentence in missing(shape)] == [True]


def test_a_flat_lead_is_not_called_recorded(simulated):
    assert facts(simulated("normal"))["Leads"] == "all twelve recorded"
    one = facts(simulated("normal"), Person(9.0, "F", ("sex",)))
    assert one["Patient"] == "9 years, female (sex by the data set)"
    known = facts(simulated("lead_off"))
    assert known["Flat"] == "V3" and "Leads" not in known


@pytest.mark.parametrize(
    "seconds, words",
    [(10, "10.0 s"), (119.9, "119.9 s"), (1800, "00:30:00"), (3661, "01:01:01"), (86_400, "24:00:00")],
)
def test_a_length_is_told_as_a_clock_tells_it(seconds, words):
    ecg = ECG(np.zeros((12, round(50 * seconds)), np.float32), 50.0)
    assert facts(ecg)["Length"] == f"{words} at 50 Hz"


# Explanations in words


def test_chest_leads_that_neighbour_one_another_are_a_run():
    assert runs_of_leads([6, 7, 8]) == "V1–V3"
    assert runs_of_leads([1, 6, 7, 10]) == "II, V1, V2 and V5"
    assert runs_of_leads([0]) == "I"


def test_both_qtcs_are_told():
    said = qtc_words(0.492, 0.5421)
    assert "492 ms" in said and "542 ms" in said and "unknown" not in said
    assert qtc_words(float("nan"), float("nan")).count("unknown") == 2


@pytest.mark.parametrize(
    ("axes", "qtcs", "told"),
    [
        ((49, -30), (423, 460), "QRS axis 49 and −30°, −79°; QTc (Bazett) 423 and 460 ms, +37 ms."),
        ((170, -170), (423, 423), "QRS axis 170 and −170°, +20°; QTc (Bazett) 423 and 423 ms, +0 ms."),
        ((np.nan, 10), (np.nan, np.nan),
         "QRS axis not measured in the 1st; QTc (Bazett) not measured in the 1st and 2nd."),
    ],
)  # fmt: skip
def test_axis_and_qtc_of_two_recordings_are_held_against_each_other(axes, qtcs, told):
    a, b = (Measurements(qrs_axis=axis, qtc_bazett=qtc) for axis, qtc in zip(axes, qtcs, strict=True))
    said = apart_words(a, b)
    assert said == f"Measured in two different recordings, which need not be of one person: {told}"
    doubted = replace(b, qtc_doubt="Doubtful.")
    assert ("Of the 2nd: Doubtful." in apart_words(a, doubted)) == bool(np.isfinite(qtcs[1]))
