"""Leaving parts out: one game for all methods."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from clear_hug.beats import SEGMENTS, split_windows
from clear_hug.diagnosis import collate, diagnose
from clear_hug.leads import LEADS
from clear_hug.removal import LEVELS, Game, TooManyParts, ablation, blanked, parts_of, segments_of

TOKEN_LEVELS = [level for level in LEVELS if level != "segment"]


def one(game, row):
    return np.eye(len(game.checkpoint.targets))[row]


@pytest.mark.parametrize("level", TOKEN_LEVELS)
def test_parts_hold_every_visible_token_once(tokens, one_lead_and_beat, level):
    hidden = one_lead_and_beat
    parts = parts_of(tokens, level, hidden)
    np.testing.assert_array_equal(parts.tokens.sum(axis=0), (tokens.valid & ~hidden).astype(int))
    assert np.prod(parts.shape) == len(parts.tokens)
    assert len(parts.names) in (len(parts.tokens), len(LEADS))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("kind", ["normal", "lead_off", "long"])
def test_all_parts_are_the_diagnosis_and_none_is_the_bias(checkpoint, tokens_of, kind, level):
    tokens = tokens_of(kind)
    game = Game(checkpoint, tokens, parts_of(tokens, level))
    np.testing.assert_allclose(game.whole, diagnose(checkpoint, tokens).logits, atol=1e-5)
    if level != "segment":  # there the beats stay, flat
        np.testing.assert_allclose(game.empty, checkpoint.model.hug.bias().numpy(), atol=1e-5)


@pytest.mark.parametrize("kind", ["normal", "long"])
def test_a_subset_is_the_diagnosis_with_the_rest_hidden(checkpoint, tokens_of, kind):
    tokens = tokens_of(kind)
    parts = parts_of(tokens, "beat")
    sets = np.random.default_rng(0).random((6, len(parts.tokens))) < 0.6
    answers = Game(checkpoint, tokens, parts)(sets)
    for there, logits in zip(sets, answers, strict=True):
        hidden = ~parts.tokens[there].any(axis=0)
        np.testing.assert_allclose(logits, diagnose(checkpoint, tokens, hidden).logits, atol=1e-5)


def test_segments_share_out_each_beat_with_the_qrs_complex_around_the_r_peak(tokens_of):
    for kind in ("normal", "tachycardia", "premature"):
        tokens = tokens_of(kind)
        spans = segments_of(tokens)
        np.testing.assert_array_equal(spans.sum(axis=0), tokens.inside.astype(int))
        assert spans[1, :, 48].all()
        assert (spans[1].sum(axis=1) >= 6).all() and (spans[1].sum(axis=1) <= 26).all()
    assert SEGMENTS[1] == "QRS"


def test_a_blanked_segment_is_a_line_between_its_ends_and_the_rest_stays(tokens):
    spans = segments_of(tokens)
    lined = blanked(tokens, spans)
    for k, where in enumerate(spans):
        np.testing.assert_array_equal(lined[k][:, ~where], tokens.values[:, ~where])
        for beat in range(tokens.n_beats):
            at = np.flatnonzero(where[beat])
            if at.size > 2:
                np.testing.assert_allclose(np.diff(lined[k][:, beat, at], 2, axis=1), 0, atol=1e-5)
                ends = at[[0, -1]]
                np.testing.assert_array_equal(lined[k][:, beat, ends], tokens.values[:, beat, ends])


def test_a_segment_left_out_is_the_diagnosis_of_the_record_with_it_blanked(checkpoint, tokens):
    game = Game(checkpoint, tokens, parts_of(tokens, "segment"))
    sets = np.ones((2, 36), dtype=bool)
    sets[0, 3 * LEADS.index("V2") + 1] = False  # QRS of V2
    sets[1] = False
    lined = blanked(tokens, segments_of(tokens))
    values = tokens.values.copy()
    where = segments_of(tokens)[1]
    values[7][where] = lined[1, 7][where]
    beats = collate(split_windows(tokens))
    own, _ = beats.lead_scale()
    with torch.inference_mode():
        changed = replace(beats, values=torch.from_numpy(values)[None])
        expected = checkpoint.model(changed, scale=own)[0].numpy()
    answers = game(sets)
    np.testing.assert_allclose(answers[0], expected, atol=1e-5)
    assert np.abs(answers[1] - game.whole).max() > 1e-3


def test_a_set_is_asked_once(game, monkeypatch):
    v = game("lead")
    sets = np.random.default_rng(0).random((8, 12)) < 0.5
    first = v(sets)
    monkeypatch.setattr(v, "_ask", lambda new: pytest.fail("asked again"))
    np.testing.assert_array_equal(v(sets[::-1]), first[::-1])


@pytest.mark.parametrize("level", ["beat", "lead", "group"])
def test_ablation_is_the_fall_when_one_part_is_left_out(game, one_lead_and_beat, level):
    v = game(level)
    values = ablation(v, one(v, 1))
    n = len(v.parts.tokens)
    expected = v.whole[1] - v(~np.eye(n, dtype=bool))[:, 1]
    np.testing.assert_allclose(values, expected, atol=1e-6)
    some = game(level, one_lead_and_beat)
    assert np.isnan(ablation(some, one(some, 1))).any() == (level != "group")


def test_nothing_to_take_apart_is_no_error(checkpoint, tokens):
    v = Game(checkpoint, tokens, parts_of(tokens, "lead", np.ones_like(tokens.valid)))
    assert np.isnan(ablation(v, one(v, 0))).all()
    with pytest.raises(ValueError, match=r"level = 'atom'; parts are beat, lead, group, token"):
        parts_of(tokens, "atom")


def test_a_record_of_too_many_parts_is_refused_in_words(checkpoint, tokens, monkeypatch):
    monkeypatch.setattr("clear_hug.removal.MOST_PARTS", 5)
    v = Game(checkpoint, tokens, parts_of(tokens, "lead"))
    with pytest.raises(TooManyParts, match="falls into 12 parts, and up to 5 are taken apart"):
        ablation(v, one(v, 0))
