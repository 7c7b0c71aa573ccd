"""Sentences say what is so."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from clear_hug.diagnosis import diagnose
from clear_hug.ecg import ECG
from clear_hug.explain import explain
from clear_hug.known import Person
from clear_hug.measure import BeatFacts, Measurements
from clear_hug.words import (
    apart_words,
    beat_marks,
    beat_words,
    coverage,
    evidence_words,
    exclusion_words,
    facts,
    missing,
    most_beats_words,
    opposing_beat,
    qtc_words,
    rests_on,
    runs_of_leads,
    sum_words,
    telling_beats,
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


def _lead(values, rhythm=0.0, qtc=0.0, target="form/PVC"):
    return SimpleNamespace(values=np.array(values, dtype=float), rhythm=rhythm, qtc=qtc, target=target)


def _facts(n, premature=(), wide=(), unlike=()):
    flags = {name: np.isin(np.arange(n), rows) for name, rows in
             (("premature", premature), ("wide", wide), ("unlike", unlike))}  # fmt: skip
    return BeatFacts(qrs=np.tile([-0.05, 0.05], (n, 1)), resemblance=np.ones(n), **flags)


def test_chest_leads_that_neighbour_one_another_are_a_run():
    assert runs_of_leads([6, 7, 8]) == "V1–V3"
    assert runs_of_leads([1, 6, 7, 10]) == "II, V1, V2 and V5"
    assert runs_of_leads([0]) == "I"


def test_evidence_names_the_fewest_leads_that_hold_most_of_it():
    lead = _lead([0, 0, 0, 0, 0, 0, 3, 3, 3, 1, -4, 1])
    said = evidence_words(lead, "a wide beat", "; without beat 2 it is gone")
    assert said == "V1 and V2 carry 55% of what speaks for a wide beat; without beat 2 it is gone."
    against = evidence_words(_lead([np.nan, -1, -2, -3, 0, 0, 0, 0, 0, 0, 0, 0.5]), "x", "")
    assert against == "aVR carries 50% of what speaks against x." or "against x" in against
    assert evidence_words(_lead([np.nan] * 12), "x", "") == "No lead speaks for x."


def test_what_is_the_records_is_named_where_it_carries_most():
    values = np.full(12, 0.5)
    said = evidence_words(_lead(values, rhythm=1.0, qtc=4.5), "a long QT", "; without beat 2 it is gone")
    assert said == (
        "The QTc carries 75% of the net evidence for a long QT, which belongs to no lead; without beat 2 it "
        "is gone."
    )
    said = evidence_words(
        _lead(-values, rhythm=-7.0, target="rhythm/AFIB"), "x", "; without beat 2 it is gone"
    )
    assert said == (
        "Rate and regularity of the beats carry all of the net evidence against x, which belongs to no lead."
    )
    assert "regularity" not in evidence_words(_lead(values, rhythm=2.9), "x", "")
    assert "regularity" not in evidence_words(_lead(values, rhythm=-9.0), "x", "")
    assert "QT" not in evidence_words(_lead(values, float("nan"), float("nan")), "x", "")


def test_a_beat_is_named_only_where_it_counts():
    lead = _lead([1.0] * 12)
    assert telling_beats(lead, _lead([0.1, 0.1, 2, 0.1, 0.1, 0.1, 2, 0.1])) == [2, 6]
    assert telling_beats(lead, _lead([1.0] * 8)) == []  # all alike
    assert telling_beats(lead, _lead([0.01, 0.3, 0.01])) == []  # more than the others, and next to nothing
    assert telling_beats(lead, _lead([-1.0, -1, -1])) == []
    assert telling_beats(_lead([-1.0] * 12), _lead([0.1, -9, 0.1, 0.1])) == [1]  # what speaks against


def test_the_beat_that_opposes_most_is_named_too():
    lead = _lead([1.0] * 12)
    assert opposing_beat(lead, _lead([0.1, 0.1, -3.0, 0.1])) == 2
    assert opposing_beat(_lead([-1.0] * 12), _lead([-0.1, 3.0, -0.1, -0.1])) == 1
    for values in ([0.1, 0.1, -0.3, 0.1], [1.0] * 4, [-2.0] * 4, [np.nan] * 4, []):
        assert opposing_beat(lead, _lead(values)) is None
    told = SimpleNamespace(values=np.ones(12), logit=3.0, bias=-1.0)
    facts = _facts(8, premature=(2, 6))
    alone = _lead([0.1, -0.2, -3.0])
    said = beat_words(told, alone, [], 3.0, facts, 2)
    assert said.endswith("net evidence away; beat 3, premature, pulls the other way")
    assert beat_words(told, alone, [0], 1.0, facts, 1).endswith("is gone; beat 2 pulls the other way")


def test_what_beats_take_along_is_said_with_how_they_look():
    lead = SimpleNamespace(values=np.ones(12), logit=3.0, bias=-1.0)
    facts = _facts(8, premature=(2, 6), wide=(2, 6))
    alone = _lead([0.1, 0.1, 2, 0.0404])
    said = beat_words(lead, alone, [2, 6], 1.0, facts)
    assert said == "; without beats 3 and 7, premature and wide, 50% of the net evidence is gone"
    one = beat_words(lead, alone, [1], -2.0, _facts(3, premature=(1,), unlike=(1,)))
    assert one == "; without beat 2, premature and of another shape, 100% of the net evidence is gone"
    assert beat_words(lead, alone, [], 3.0, _facts(1)) == ", in its only beat"


@pytest.mark.parametrize(
    ("values", "much"),
    [([0.1, 0.1204, -9], "more than 4%"), ([-1.0, 0, np.nan], "any"), ([1.0] * 3, "more than 25%")],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_where_no_few_beats_tell_it_is_said_what_the_most_telling_takes_along(sign, values, much):
    lead = SimpleNamespace(values=np.full(12, sign), logit=-1.0 + 4 * sign, bias=-1.0)
    said = beat_words(lead, _lead(sign * np.array(values)), [], lead.logit, _facts(3))
    assert said == f"; no beat alone takes {much} of the net evidence away"


def test_the_beats_that_a_chart_shows_tallest_are_those_that_are_named():
    alone = [-0.03, -0.06, -0.09, 0.04, 0.14, -0.06, 0.04, -0.01, 0.14, 0.06]
    shared = [0.21, 0.35, 0.31, 0.35, 0.74, 0.36, 0.66, 0.32, 0.80, 0.45]
    lead, facts = _lead([0.5] * 12), _facts(10, premature=(4, 6, 8))
    assert not telling_beats(lead, _lead(alone)), "beats that tell the same are worth little one by one"
    said = most_beats_words(lead, _lead(shared), "x", facts)
    assert said == (
        "By the values shown, most for x: beats 9 (+0.80), 5 (+0.74) and 7 (+0.66), premature; the others "
        "+0.21 to +0.45."
    )
    one = most_beats_words(lead, _lead(shared), "x", _facts(10, wide=(4,)))
    assert "beats 9 (+0.80), 5 (+0.74, wide) and 7 (+0.66); the others" in one
    against = most_beats_words(_lead([-1.0] * 12), _lead([0.1, -9, *[0.2] * 5, np.nan]), "x", _facts(8))
    assert against == "By the values shown, most against x: beat 2 (−9.00); the others +0.10 to +0.20."
    for values in ([0.5] * 3, [-1.0] * 8, [np.nan] * 8, []):
        assert not most_beats_words(lead, _lead(values), "x", _facts(len(values)))
    alike = most_beats_words(lead, _lead([0.5] * 8), "x", _facts(8))
    assert alike.endswith("the others +0.50 to +0.50.")


def test_only_unusual_beats_are_marked():
    marks = beat_marks(_facts(5, premature=(1,), wide=(1, 3), unlike=(3,)))
    assert marks == {1: "premature and wide", 3: "wide"}


def test_the_sum_is_said_only_of_what_adds_up(checkpoint, tokens):
    assert sum_words(explain(checkpoint, tokens, "MI", "ablation", "beat")) == ""
    why = explain(checkpoint, tokens, "MI", "hug", "lead")
    assert "the rhythm alone: −2.13" in sum_words(replace(why, rhythm=-2.13))
    assert "rhythm" not in sum_words(replace(why, rhythm=0.04))
    segments = sum_words(explain(checkpoint, tokens, "MI", "integrated_gradients", "token"))
    assert "= logit" in segments and "most for" not in segments


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
    assert ("QTc of the 2nd: Doubtful." in apart_words(a, doubted)) == bool(np.isfinite(qtcs[1]))
