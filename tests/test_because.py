"""Sentences about an explanation say what is so."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from clear_hug.because import (
    beat_words,
    evidence_words,
    most_beats_words,
    opposing_beat,
    sum_words,
    telling_beats,
)
from clear_hug.explain import explain
from clear_hug.measure import BeatFacts
from clear_hug.words import beat_marks


def _lead(values, rhythm=0.0, qtc=0.0, target="form/PVC"):
    return SimpleNamespace(values=np.array(values, dtype=float), rhythm=rhythm, qtc=qtc, target=target)


def _facts(n, premature=(), wide=(), unlike=()):
    flags = {name: np.isin(np.arange(n), rows) for name, rows in
             (("premature", premature), ("wide", wide), ("unlike", unlike))}  # fmt: skip
    return BeatFacts(qrs=np.tile([-0.05, 0.05], (n, 1)), resemblance=np.ones(n), **flags)


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
