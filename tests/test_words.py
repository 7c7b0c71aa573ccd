"""Sentences say what is so."""

from dataclasses import replace

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


def test_dropped_beats_are_counted(tokens):
    assert "3 beats" in coverage(replace(tokens, n_dropped=3))[0]
    assert "No beat" in coverage(tokens)[0]
