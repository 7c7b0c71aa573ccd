"""Facts of beats: planted premature wide beats are found and no others, whatever the voltage and leads."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clear_hug.beats import select_beats, tokenize_beats
from clear_hug.measure import measure_beats
from clear_hug.simulate import simulate_ecg

DATA = os.environ.get("CLEAR_HUG_DATA")


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


@pytest.mark.data
@pytest.mark.skipif(DATA is None, reason="set CLEAR_HUG_DATA to the folder of real ECGs")
def test_qrs_edges_are_ludbs():
    from benchmarks.beat_facts import edges

    found = edges(Path(DATA) / "ludb")
    assert len(found.errors) >= 850 and found.missed <= 20
    onset, offset = found.errors.T
    assert abs(np.median(onset)) <= 0.006 and onset.std() <= 0.012
    assert abs(np.median(offset)) <= 0.004 and offset.std() <= 0.010
    assert abs(np.median(found.duration)) <= 0.008 and found.duration.std() <= 0.016
