"""Shapley values: the definition, the axioms, captum's own values, and the error that sampling tells."""

import itertools
import math

import numpy as np
import pytest
import torch
from captum.attr import ShapleyValues

from clear_hug.beats import split_windows
from clear_hug.leads import GROUPS, N_LEADS
from clear_hug.removal import Game, TooManyParts, parts_of
from clear_hug.shapley import _drawn_of, _pairs_of, _sizes, _subsets, shapley


@pytest.fixture
def made(checkpoint, tokens):
    """made(v) -> a game of twelve leads whose answer to (set, 12) bool is v, whatever the record."""

    def make(v):
        class Made(Game):
            asked = 0

            def _ask(self, sets):
                Made.asked += len(sets)
                return v(sets).reshape(-1, 1).repeat(len(checkpoint.targets), axis=1)

        return Made(checkpoint, tokens, parts_of(tokens, "lead"))

    return make


def one(game, row):
    return np.eye(len(game.checkpoint.targets))[row]


def wild(seed):
    """An answer in which leads act alone, in twos and threes, and all together."""
    rng = np.random.default_rng(seed)
    alone, twos = rng.normal(size=N_LEADS), rng.normal(size=(N_LEADS, N_LEADS))
    threes = [(rng.choice(N_LEADS, 3, replace=False), rng.normal()) for _ in range(30)]

    def v(sets):
        x = sets.astype(float)
        together = sum(w * x[:, list(some)].prod(axis=1) for some, w in threes)
        return x @ alone + np.einsum("ni,ij,nj->n", x, twos, x) + together + 3 * np.tanh(x.sum(axis=1) - 6)

    return v


def by_definition(v, n=N_LEADS):
    """(n,) the weighted mean over all subsets of the others."""
    sets = np.array(list(itertools.product([False, True], repeat=n)))
    answers = v(sets)
    out = np.zeros(n)
    for i in range(n):
        without = np.flatnonzero(~sets[:, i])
        weight = [1 / (n * math.comb(n - 1, k)) for k in sets[without].sum(axis=1)]
        out[i] = weight @ (answers[without + 2 ** (n - 1 - i)] - answers[without])
    return out


def test_all_subsets_give_the_definition(made):
    v = made(wild(0))
    worth = shapley(v, one(v, 0), exact=True)
    assert worth.exact and worth.asked == v.asked == 2**N_LEADS and not worth.error.any()
    np.testing.assert_allclose(worth.values, by_definition(wild(0)), atol=1e-9)


def test_sampling_comes_as_near_as_it_says(made):
    off = []
    for seed in range(40):
        v = made(wild(seed))
        worth = shapley(v, one(v, 0), exact=False, sure=0.05, seed=seed)
        assert worth.asked == v.asked < 1000 and not worth.exact
        assert 0 < worth.error.max() <= 0.05 * np.abs(worth.values).max()
        off.append((worth.values - by_definition(wild(seed))) / worth.error)
    assert 0.7 < np.sqrt(np.mean(np.square(off))) < 1.3  # a standard error is what it is called
    again = shapley(v, one(v, 0), exact=False, sure=0.05, seed=seed)
    np.testing.assert_array_equal(worth.values, again.values)


def test_what_acts_in_twos_is_known_at_the_first_look(made):
    twos = np.random.default_rng(3).normal(size=(N_LEADS, N_LEADS))
    v = made(lambda sets: np.einsum("ni,ij,nj->n", sets, twos, sets))
    worth = shapley(v, one(v, 0), exact=False, sure=1e-6)
    assert worth.asked < 120
    alone = np.diag(twos)
    np.testing.assert_allclose(worth.values, alone + (twos + twos.T).sum(axis=1) / 2 - alone, atol=1e-9)


@pytest.mark.parametrize("n", range(2, 14))
def test_subsets_of_all_sizes_come_once_and_without_their_rest(n):
    every = sum(_pairs_of(n, size) for size in _sizes(n))
    assert every == 2 ** (n - 1) - 1
    rows = np.array([row for size in _sizes(n) for row in _subsets(n, size, 0)])
    assert len(rows) == every == len(np.unique(np.concatenate([rows, ~rows]), axis=0)) / 2
    assert sum(_drawn_of(n, every).values()) == every
    for pairs in range(4 * n, every, 7):
        drawn = _drawn_of(n, pairs)
        assert abs(sum(drawn.values()) - pairs) <= len(drawn) and drawn[1] == n


@pytest.mark.parametrize("exact", [True, False])
def test_a_part_that_changes_nothing_is_worth_nothing_and_equals_are_worth_the_same(made, exact):
    v = made(lambda sets: 3.0 * (sets[:, 0] & sets[:, 1]) + 2.0 * sets[:, 2])
    worth = shapley(v, one(v, 0), exact=exact)
    np.testing.assert_allclose(worth.values, [1.5, 1.5, 2, *[0] * 9], atol=1e-9)


@pytest.mark.parametrize("level", ["beat", "lead", "group"])
def test_shapley_values_add_up(game, one_lead_and_beat, level):
    for hidden in (None, one_lead_and_beat):
        v = game(level, hidden)
        of = one(v, 0) - one(v, 3)
        worth = shapley(v, of, sure=0.3)
        assert worth.exact == (level == "group")
        assert (v.empty @ of) + np.nansum(worth.values) == pytest.approx(v.whole @ of, abs=1e-6)
        np.testing.assert_array_equal(np.isnan(worth.values), ~v.parts.there)


def test_exact_values_are_captums(game):
    v = game("group")
    for row in range(2):
        worth = shapley(v, one(v, row))
        assert worth.exact and not worth.error.any()
        found = ShapleyValues(
            lambda sets, row=row: torch.from_numpy(v(sets.numpy() > 0.5)[:, row])
        ).attribute(torch.ones(1, len(GROUPS)))
        np.testing.assert_allclose(worth.values, found[0].numpy(), atol=1e-5)


def test_a_computation_can_be_ended_and_what_was_asked_is_kept(made):
    class Enough(Exception):
        pass

    told = []

    def tick(share):
        told.append(share)
        if len(told) == 2:
            raise Enough

    v = made(wild(0))
    with pytest.raises(Enough):
        shapley(v, one(v, 0), exact=False, sure=0, most=600, tick=tick)
    assert len(told) == 2 and 0 < told[0] < told[1] <= 1
    known = len(v._known)
    assert known > 50
    whole = shapley(v, one(v, 0), exact=False, sure=0, most=600, tick=told.append)
    assert told[-1] == 1
    np.testing.assert_array_equal(
        whole.values, shapley(made(wild(0)), one(v, 0), exact=False, sure=0, most=600).values
    )


def test_sampling_stops_after_so_many_looks(made, checkpoint, tokens_of):
    v = made(wild(0))
    assert abs(shapley(v, one(v, 0), exact=False, sure=0, most=200).asked - 200) < 12
    v = made(wild(0))
    assert abs(shapley(v, one(v, 0), exact=False, sure=0, most=1).asked - 2 * 4 * N_LEADS) < 12


@pytest.mark.long
def test_the_windows_of_a_long_record_share_the_looks(checkpoint, tokens_of):
    tokens = tokens_of("long")
    v = Game(checkpoint, tokens, parts_of(tokens, "beat"))
    windows = len(split_windows(tokens))
    assert windows > 2
    assert shapley(v, one(v, 0), sure=0).asked <= 6144 // windows + 64


def test_nothing_and_one_part_and_too_many(checkpoint, tokens, monkeypatch):
    v = Game(checkpoint, tokens, parts_of(tokens, "lead", np.ones_like(tokens.valid)))
    assert np.isnan(shapley(v, one(v, 0)).values).all()
    hidden = np.ones_like(tokens.valid)
    hidden[1] = False
    v = Game(checkpoint, tokens, parts_of(tokens, "lead", hidden))
    for exact in (True, False):
        worth = shapley(v, one(v, 0), exact=exact)
        assert worth.exact and worth.values[1] == pytest.approx((v.whole - v.empty)[0])
    monkeypatch.setattr("clear_hug.shapley.MOST_PLAYERS", 5)
    v = Game(checkpoint, tokens, parts_of(tokens, "lead"))
    with pytest.raises(TooManyParts, match="falls into 12 parts, and up to 5 are taken apart"):
        shapley(v, one(v, 0))
