"""Sentences say what is so."""

from dataclasses import replace

import pytest

from clear_hug.diagnosis import diagnose
from clear_hug.words import coverage, facts, missing, rests_on


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
    known = facts(simulated("lead_off"))
    assert known["Flat"] == "V3" and "Leads" not in known
