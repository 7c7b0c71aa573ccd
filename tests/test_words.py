"""Sentences say what is so."""

from dataclasses import replace

import pytest

from clear_hug.diagnosis import diagnose
from clear_hug.words import coverage, rests_on


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
