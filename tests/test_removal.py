"""Leaving parts out: one game for all methods, Shapley's axioms, captum's own values."""

import numpy as np
import pytest
import torch
from captum.attr import ShapleyValues

from clear_hug.diagnosis import diagnose
from clear_hug.leads import GROUPS, LEADS
from clear_hug.removal import LEVELS, Game, TooManyParts, ablation, parts_of, shapley


@pytest.fixture
def game(checkpoint, tokens):
    return lambda level, hidden=None: Game(checkpoint, tokens, parts_of(tokens, level, hidden))


def one(game, row):
    return np.eye(len(game.checkpoint.targets))[row]


def hidden_v1_and_a_beat(tokens):
    hidden = np.zeros_like(tokens.valid)
    hidden[6], hidden[:, 2] = True, True
    return hidden


@pytest.mark.parametrize("level", LEVELS)
def test_parts_hold_every_visible_token_once(tokens, level):
    hidden = hidden_v1_and_a_beat(tokens)
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


def test_a_set_is_asked_once(game, monkeypatch):
    v = game("lead")
    sets = np.random.default_rng(0).random((8, 12)) < 0.5
    first = v(sets)
    monkeypatch.setattr(v, "_ask", lambda new: pytest.fail("asked again"))
    np.testing.assert_array_equal(v(sets[::-1]), first[::-1])


@pytest.mark.parametrize("level", ["beat", "lead", "group"])
def test_ablation_is_the_fall_when_one_part_is_left_out(game, tokens, level):
    v = game(level)
    values = ablation(v, one(v, 1))
    n = len(v.parts.tokens)
    expected = v.whole[1] - v(~np.eye(n, dtype=bool))[:, 1]
    np.testing.assert_allclose(values, expected, atol=1e-6)
    some = game(level, hidden_v1_and_a_beat(tokens))
    assert np.isnan(ablation(some, one(some, 1))).any() == (level != "group")


@pytest.mark.parametrize("level", ["beat", "lead", "group"])
def test_shapley_values_add_up(game, tokens, level):
    for hidden in (None, hidden_v1_and_a_beat(tokens)):
        v = game(level, hidden)
        of = one(v, 0) - one(v, 3)
        worth = shapley(v, of, sure=0.3)
        assert (v.empty @ of) + np.nansum(worth.values) == pytest.approx(v.whole @ of, abs=1e-6)
        np.testing.assert_array_equal(np.isnan(worth.values), ~v.parts.there)


def test_exact_values_are_captums(game):
    v = game("group")
    for row in range(2):
        worth = shapley(v, one(v, row))
        assert worth.orders == 0 and not worth.error.any()
        found = ShapleyValues(
            lambda sets, row=row: torch.from_numpy(v(sets.numpy() > 0.5)[:, row])
        ).attribute(torch.ones(1, len(GROUPS)))
        np.testing.assert_allclose(worth.values, found[0].numpy(), atol=1e-5)


def test_sampling_comes_as_near_as_it_says(game):
    v = game("beat")
    assert len(v.parts.tokens) <= 12
    true = shapley(v, one(v, 0), exact=True)
    drawn = shapley(v, one(v, 0), exact=False, sure=0.15)
    assert 0 < drawn.orders < 512
    assert drawn.error.max() <= 0.15 * np.abs(drawn.values).max()
    assert (np.abs(drawn.values - true.values) / np.maximum(drawn.error, 1e-9)).max() < 5
    again = shapley(v, one(v, 0), exact=False, sure=0.15)
    np.testing.assert_array_equal(drawn.values, again.values)


def test_sampling_stops_after_so_many_looks(game, checkpoint, tokens_of):
    v = game("beat")
    assert shapley(v, one(v, 0), exact=False, sure=0).orders <= 6144 // (len(v.parts.tokens) + 1) + 16
    assert shapley(v, one(v, 0), exact=False, sure=0, most=32).orders == 32
    tokens = tokens_of("long")
    v = Game(checkpoint, tokens, parts_of(tokens, "beat"))
    assert shapley(v, one(v, 0), sure=0).orders < 100


def test_a_part_that_changes_nothing_is_worth_nothing_and_equals_are_worth_the_same(checkpoint, tokens):
    class Made(Game):
        def _ask(self, sets):
            both = sets[:, 0] & sets[:, 1]
            return (3.0 * both + 2.0 * sets[:, 2])[:, None].repeat(len(checkpoint.targets), axis=1)

    v = Made(checkpoint, tokens, parts_of(tokens, "lead"))
    for exact in (True, False):
        values = shapley(v, one(v, 0), exact=exact, sure=0.01).values
        np.testing.assert_allclose(values, [1.5, 1.5, 2, *[0] * 9], atol=0.1 if not exact else 1e-9)


def test_nothing_to_take_apart_is_no_error(checkpoint, tokens):
    v = Game(checkpoint, tokens, parts_of(tokens, "lead", np.ones_like(tokens.valid)))
    assert np.isnan(shapley(v, one(v, 0)).values).all() and np.isnan(ablation(v, one(v, 0))).all()
    with pytest.raises(ValueError, match=r"level = 'atom'; parts are beat, lead, group, token"):
        parts_of(tokens, "atom")


def test_a_record_of_too_many_parts_is_refused_in_words(checkpoint, tokens, monkeypatch):
    monkeypatch.setattr("clear_hug.removal.MOST_PLAYERS", 5)
    monkeypatch.setattr("clear_hug.removal.MOST_PARTS", 5)
    v = Game(checkpoint, tokens, parts_of(tokens, "lead"))
    for method in (shapley, ablation):
        with pytest.raises(TooManyParts, match="falls into 12 parts, and up to 5 are taken apart"):
            method(v, one(v, 0))
