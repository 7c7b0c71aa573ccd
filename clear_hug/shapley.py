"""Shapley values of a game: each part's mean worth over all orders in which the parts may come.

Shapley values are the regression of v on which parts are there, weighed by Shapley's kernel (Lundberg and Lee
2017). A subset is always asked together with the rest (Covert and Lee 2021): half the difference of the two
answers is linear in who is there even where parts act in twos, and what depends on their number alone is
taken off, so that only what three and more do together is left to chance. Subsets of one size are drawn
without asking one twice, as many of each size as the kernel weighs it; a size of which all are asked leaves
nothing to chance, and all sizes asked give the exact values.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from clear_hug.beats import split_windows
from clear_hug.diagnosis import Tick
from clear_hug.ecg import freeze
from clear_hug.removal import ASKED, Bools, Floats, Game, bearable

EXACT = 256  # so many subsets are all asked; more are sampled
SURE = 0.05  # standard error that sampling goes for, as a share of the largest value
LOOKS = 6144  # at a window of the record, at most, for one set of sampled values
FEWEST = 4  # pairs a part, before a standard error is believed
MOST_PLAYERS = 64  # that are worth waiting for
SEED = 0


@dataclass(frozen=True, eq=False)
class Shapley:
    """What each part is worth.

    values : (part,), NaN for a part without tokens;  error : (part,) standard error, 0 where exact
    asked : subsets, with the whole and the empty one;  exact : all of them

    """

    values: Floats
    error: Floats
    asked: int
    exact: bool

    def __post_init__(self) -> None:
        freeze(self)


def shapley(
    game: Game,
    of: Floats,
    exact: bool | None = None,
    sure: float = SURE,
    most: int | None = None,
    seed: int = SEED,
    tick: Tick | None = None,
) -> Shapley:
    """Shapley values, exactly or from subsets drawn by seed.

    Parameters
    ----------
    game : Game
    of : (label,) what is explained: a logit (1 at its label), or a difference of two
    exact : ask all subsets, or sample; None = all where they are 256 at most
    sure : sampling stops once every standard error is this share of the largest value
    most : subsets, at most, but four pairs a part at least; None = as many as 6,144 looks at a window allow
    tick : told the share that is done, every now and then; what it raises ends the computation, and what
        was asked so far stays remembered by the game

    """
    players = np.flatnonzero(game.parts.there)
    n = len(players)
    values, error = np.full((2, len(game.parts.tokens)), np.nan)
    if not n:
        return Shapley(values, error, 0, True)
    bearable(n, MOST_PLAYERS)
    if exact is None:
        exact = 2**n <= EXACT
    windows = len(split_windows(game.tokens))
    every = sum(_pairs_of(n, size) for size in _sizes(n))
    most = every if exact else (LOOKS // windows if most is None else most) // 2
    most = min(every, max(FEWEST * n, most))
    streams = {size: _subsets(n, size, seed) for size in _sizes(n)}
    there, halves = np.zeros((0, n), dtype=bool), np.zeros(0)
    total = float((game.whole - game.empty) @ of)
    pairs = most if exact else min(most, FEWEST * n)
    at_once = max(1, ASKED // (4 * windows))  # pairs: half a batch, so that little is asked in vain
    while True:
        have = np.bincount(there.sum(axis=1), minlength=n)
        new = [next(streams[size]) for size, k in _drawn_of(n, pairs).items() for _ in range(k - have[size])]
        for start in range(0, len(new), at_once):
            some = np.array(new[start : start + at_once])
            sets = np.zeros((2, len(some), len(values)), dtype=bool)
            sets[:, :, players] = some, ~some
            answers = (game(sets.reshape(-1, len(values))) @ of).reshape(2, -1)
            there, halves = np.concatenate([there, some]), np.append(halves, (answers[0] - answers[1]) / 2)
            if tick:
                tick(min(1.0, len(there) / most))
        mean, spread = _regressed(there, halves, total)
        if pairs >= most or spread.max() <= sure * np.abs(mean).max():
            break
        pairs = min(most, pairs + at_once)
    values[players], error[players] = mean, spread
    return Shapley(values, error, 2 + 2 * len(there), len(there) == every)


def _sizes(n: int) -> range:
    """Of the smaller half of n players: the larger half is asked with it."""
    return range(1, n // 2 + 1)


def _pairs_of(n: int, size: int) -> int:
    """How many ways there are to part n players into so many and the rest."""
    ways = math.comb(n, size)
    return ways // 2 if 2 * size == n else ways


def _kernel(n: int, size: int) -> float:
    """What all pairs of a size weigh together by Shapley's kernel."""
    return (0.5 if 2 * size == n else 1.0) / (size * (n - size))


def _drawn_of(n: int, pairs: int) -> dict[int, int]:
    """Size -> how many of the pairs are of it: each size by its weight, and no more than there are."""
    out, left = {}, pairs
    weigh = sum(_kernel(n, size) for size in _sizes(n))
    for size in _sizes(n):
        share = max(1, round(left * _kernel(n, size) / weigh))
        out[size] = min(_pairs_of(n, size), n if size == 1 else share)
        left, weigh = left - out[size], weigh - _kernel(n, size)
    return out


def _subsets(n: int, size: int, seed: int) -> Iterator[Bools]:
    """(n,) bool, so many of n players: in random order, none twice and none that is the rest of another."""
    rng = np.random.default_rng((seed, size))
    known: set[bytes] = set()
    while len(known) < _pairs_of(n, size):
        row = np.zeros(n, dtype=bool)
        row[rng.permutation(n)[:size]] = True
        if 2 * size == n and not row[0]:
            row = ~row
        if row.tobytes() not in known:
            known.add(row.tobytes())
            yield row


def _regressed(there: Bools, halves: Floats, total: float) -> tuple[Floats, Floats]:
    """(player,) values that add up to the total, and their standard errors.

    there : (pair, player) the smaller half;  halves : (pair,) half of v of it less v of the rest
    The errors are those of a regression whose residuals may differ in size (HC3), drawn without asking one
    twice: the more of a size are asked, the less is left to chance, and nothing where all are. While few are
    asked they err on the safe side.
    """
    n = there.shape[1]
    if n == 1:
        return np.full(1, total), np.zeros(1)
    size = there.sum(axis=1)
    count = np.bincount(size, minlength=n)
    weight = np.array([_kernel(n, k) / count[k] for k in size])
    chance = np.array([1 - count[k] / _pairs_of(n, k) for k in size])
    # values that add up to the total are the mean value and something in the plane across it
    plane = np.linalg.qr(np.column_stack([np.ones(n), np.eye(n)[:, 1:]]))[0][:, 1:]
    x = (there - 0.5) @ plane
    y = halves - (there - 0.5).sum(axis=1) * total / n
    # what depends on how many are there, and not on which, is worth the same to all: it is taken off
    own = np.zeros_like(weight)
    for k in np.unique(size[2 * size < n]):
        rows = size == k
        x[rows] -= x[rows].mean(axis=0)
        y[rows] -= y[rows].mean()
        own[rows] = 1 / count[k]
    inverse = np.linalg.inv(x.T @ (x * weight[:, None]))
    found = inverse @ (x.T @ (weight * y))
    values = total / n + plane @ found
    leverage = own + weight * np.einsum("ij,jk,ik->i", x, inverse, x)
    off = np.zeros_like(weight)
    np.divide(np.sqrt(chance) * weight * (y - x @ found), 1 - leverage, out=off, where=chance > 0)
    moved = plane @ inverse @ (x * off[:, None]).T
    return values, np.sqrt((moved**2).sum(axis=1))
