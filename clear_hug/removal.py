"""What the model answers when parts of a record are left out, and what each part is worth by that.

A part is removed by leaving its tokens out, which CLEAR was trained for, so that no artificial baseline
stands in for it. With nothing there the answer is HUG's bias, v(empty). A record longer than 10 s is
read in windows, and v is the mean over them; a window without any part counts v(empty).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from clear_hug.batch import Beats
from clear_hug.beats import BeatTokens, split_windows
from clear_hug.checkpoint import Checkpoint
from clear_hug.diagnosis import check_hidden, collate, run
from clear_hug.ecg import freeze
from clear_hug.leads import GROUPS, LEADS, N_LEADS
from clear_hug.model import CLEARHUG

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LEVELS = ("beat", "lead", "group", "token")
ROWS = 4096  # of the token sequences that are computed at once
EXACT = 256  # so many subsets are all asked; more are sampled
SURE = 0.05  # standard error that sampling goes for, as a share of the largest value
LOOKS = 6144  # at a window of the record, at most, for one set of sampled values
MOST_PLAYERS, MOST_PARTS = 64, 1600  # that are worth waiting for: by Shapley values, and left out one by one
SEED = 0


@dataclass(frozen=True, eq=False)
class Parts:
    """What a record is taken apart into.

    names : of the parts;  tokens : (part, 12, beat) bool, no token in two parts
    shape : of an array over the parts as it is shown: (part,), or (12, beat) for tokens
    """

    names: tuple[str, ...]
    tokens: Bools
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        freeze(self)

    @property
    def there(self) -> Bools:
        """(part,) True where the part has any token."""
        there: Bools = np.any(self.tokens, axis=(1, 2))
        return there


def parts_of(tokens: BeatTokens, level: str, hidden: Bools | None = None) -> Parts:
    """The record's beats, leads, groups of leads or single tokens, without those of `hidden` (12, beat)."""
    valid = tokens.valid & ~check_hidden(tokens, hidden)
    n = tokens.n_beats
    if level == "beat":
        masks, names = np.eye(n, dtype=bool)[:, None, :].repeat(N_LEADS, axis=1), range(1, n + 1)
        return Parts(tuple(f"beat {k}" for k in names), masks & valid, (n,))
    leads = np.eye(N_LEADS, dtype=bool)[:, :, None].repeat(n, axis=2)
    if level == "lead":
        return Parts(LEADS, leads & valid, (N_LEADS,))
    if level == "group":
        masks = np.stack([leads[list(rows)].any(axis=0) for rows in GROUPS.values()])
        return Parts(tuple(GROUPS), masks & valid, (len(masks),))
    if level == "token":
        masks = np.eye(N_LEADS * n, dtype=bool).reshape(-1, N_LEADS, n)
        return Parts(LEADS, masks & valid, (N_LEADS, n))
    raise ValueError(f"level = {level!r}; parts are {', '.join(LEVELS)}.")


class TooManyParts(ValueError):
    """The record falls into more parts than can be waited for; the message says what to do."""


class Game:
    """v: which parts are there -> every logit. What was asked once is remembered.

    Attributes
    ----------
    parts : Parts;  device : where it was computed, "" before;  note : a sentence or ""

    """

    def __init__(
        self, checkpoint: Checkpoint, tokens: BeatTokens, parts: Parts, device: torch.device | None = None
    ) -> None:
        self.checkpoint, self.tokens, self.parts = checkpoint, tokens, parts
        self.device, self.note = "", ""
        self._on = device
        self._known: dict[bytes, Floats] = {}

    @property
    def whole(self) -> Floats:
        """(label,) v with every part there: the answer that is explained."""
        whole: Floats = self(np.ones((1, len(self.parts.tokens)), dtype=bool))[0]
        return whole

    @property
    def empty(self) -> Floats:
        """(label,) v(empty)."""
        empty: Floats = self(np.zeros((1, len(self.parts.tokens)), dtype=bool))[0]
        return empty

    def __call__(self, sets: Bools) -> Floats:
        """(set, label) logits for (set, part) bool, True = there."""
        sets = np.asarray(sets, dtype=bool) & self.parts.there
        keys = [row.tobytes() for row in sets]
        new = {key: row for key, row in zip(keys, sets, strict=True) if key not in self._known}
        if new:
            answers = self._ask(np.stack(list(new.values())))
            self._known.update(zip(new, answers, strict=True))
        return np.stack([self._known[key] for key in keys])

    def _ask(self, sets: Bools) -> Floats:
        n, n_beats = len(sets), self.tokens.n_beats
        left = (sets @ self.parts.tokens.reshape(len(self.parts.tokens), -1)).reshape(n, N_LEADS, n_beats)
        windows = split_windows(self.tokens)

        def work(model: CLEARHUG, device: torch.device) -> Floats:
            total = np.zeros((n, len(self.checkpoint.targets)))
            for window in windows:
                whole = collate([window]).to(device)
                for rows in _batches(left[:, :, window.beats]):
                    seen = _left(whole, torch.from_numpy(left[rows][:, :, window.beats]))
                    total[rows] += model(seen).double().cpu().numpy()
            return total / len(windows)

        answers, self.device, note = run(self.checkpoint, work, self._on)
        self.note = note or self.note
        return answers


def _batches(left: Bools) -> Iterator[NDArray[np.int64]]:
    """Rows of about equally many tokens, so many at once that little is padded and memory is bounded."""
    size = left.sum(axis=(1, 2)) + N_LEADS
    order = np.argsort(-size, kind="stable")
    start = 0
    while start < len(order):
        stop = start + max(1, ROWS // int(size[order[start]]))
        yield order[start:stop]
        start = stop


def _left(whole: Beats, there: torch.Tensor) -> Beats:
    """One record several times, each with other tokens there: (set, 12, beat)."""
    n = len(there)
    many = {
        name: getattr(whole, name).expand(n, *getattr(whole, name).shape[1:])
        for name in Beats.__dataclass_fields__
    }
    many["there"] = many["there"] & there.to(whole.there.device)
    return replace(whole, **many)


# What a part is worth


def ablation(game: Game, of: Floats) -> Floats:
    """(part,) how far the answer falls when the part alone is left out; captum's FeatureAblation.

    of : (label,) what is explained: a logit (1 at its label), or a difference of two
    """
    from captum.attr import FeatureAblation

    def answer(sets: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(game(sets.numpy() > 0.5) @ of)

    n = len(game.parts.tokens)
    _bearable(int(game.parts.there.sum()), MOST_PARTS)
    values = FeatureAblation(answer).attribute(torch.ones(1, n), perturbations_per_eval=n)
    return np.where(game.parts.there, values[0].numpy().astype(np.float64), np.nan)


@dataclass(frozen=True, eq=False)
class Shapley:
    """Shapley values: each part's mean worth over all orders in which the parts may come.

    values : (part,), NaN for a part without tokens;  error : (part,) standard error, 0 where exact
    orders : how many orders were drawn; 0 where all subsets were asked

    """

    values: Floats
    error: Floats
    orders: int

    def __post_init__(self) -> None:
        freeze(self)


def shapley(
    game: Game,
    of: Floats,
    exact: bool | None = None,
    sure: float = SURE,
    most: int | None = None,
    seed: int = SEED,
) -> Shapley:
    """Shapley values, exactly or from orders drawn by seed, each with its reverse.

    Parameters
    ----------
    game : Game
    of : (label,) what is explained: a logit (1 at its label), or a difference of two
    exact : ask all subsets, or sample; None = all where they are 256 at most
    sure : sampling stops once every standard error is this share of the largest value
    most : orders, at most; None = as many as 6,144 looks at a window allow, and 16 at least

    """
    players = np.flatnonzero(game.parts.there)
    n = len(players)
    values, error = np.full((2, len(game.parts.tokens)), np.nan)
    if not n:
        return Shapley(values, error, 0)
    _bearable(n, MOST_PLAYERS)
    if exact if exact is not None else 2**n <= EXACT:
        values[players], error[players] = _all_subsets(game, of, players), 0.0
        return Shapley(values, error, 0)
    rng = np.random.default_rng(seed)
    if most is None:
        most = max(16, LOOKS // ((n + 1) * len(split_windows(game.tokens))))
    worth = np.empty((0, n))  # of each pair of orders
    while 2 * len(worth) < most:
        worth = np.concatenate([worth, _drawn(game, of, players, rng)])
        mean, spread = worth.mean(axis=0), worth.std(axis=0, ddof=1) / math.sqrt(len(worth))
        if spread.max() <= sure * np.abs(mean).max():
            break
    values[players], error[players] = mean, spread
    return Shapley(values, error, 2 * len(worth))


def _bearable(n: int, most: int) -> None:
    if n > most:
        raise TooManyParts(
            f"the record falls into {n:,} parts, and up to {most:,} are taken apart; leave out leads or "
            "groups instead, or cut the record shorter."
        )


def _drawn(
    game: Game, of: Floats, players: NDArray[np.int64], rng: np.random.Generator, pairs: int = 8
) -> Floats:
    """(pair, player) worth of each player when it comes, the mean over an order and its reverse."""
    n = len(players)
    orders = np.array([rng.permutation(n) for _ in range(pairs)])
    orders = np.stack([orders, orders[:, ::-1]], axis=1).reshape(-1, n)
    comes = np.argsort(orders, axis=1)  # (order, player)
    sets = np.zeros((len(orders), n + 1, len(game.parts.tokens)), dtype=bool)
    sets[:, :, players] = comes[:, None, :] < np.arange(n + 1)[:, None]
    gain = np.diff((game(sets.reshape(-1, sets.shape[-1])) @ of).reshape(len(orders), n + 1), axis=1)
    worth: Floats = np.take_along_axis(gain, comes, axis=1).reshape(pairs, 2, n).mean(axis=1)
    return worth


def _all_subsets(game: Game, of: Floats, players: NDArray[np.int64]) -> Floats:
    """(player,) by the definition: the weighted mean over all subsets of the others."""
    n = len(players)
    subsets = np.array(list(itertools.product([False, True], repeat=n)))  # row k is k in binary
    sets = np.zeros((len(subsets), len(game.parts.tokens)), dtype=bool)
    sets[:, players] = subsets
    v = game(sets) @ of
    size = subsets.sum(axis=1)
    weight = np.array([1 / (n * math.comb(n - 1, k)) for k in range(n)])  # of a subset of k others
    out = np.empty(n)
    for i in range(n):
        without = np.flatnonzero(~subsets[:, i])
        out[i] = weight[size[without]] @ (v[without + 2 ** (n - 1 - i)] - v[without])
    return out
