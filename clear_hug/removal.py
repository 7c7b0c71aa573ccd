"""What the model answers when parts of a record are left out, one by one or in any set.

A part is removed by leaving its tokens out, which CLEAR was trained for, so that no artificial baseline
stands in for it. With nothing there the answer is HUG's bias, v(empty). A segment of the beats of a lead is
no token: it is blanked to the line between its ends, the lead still read over its own scale. A record longer
than 10 s is read in windows, and v is the mean over them; a window without any part counts v(empty).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from clear_hug.batch import Beats
from clear_hug.beats import SEGMENTS, TOKEN_FS, TOKEN_SAMPLES, BeatTokens, split_windows
from clear_hug.checkpoint import Checkpoint
from clear_hug.diagnosis import Tick, check_hidden, hide, run
from clear_hug.ecg import freeze
from clear_hug.leads import GROUPS, LEADS, N_LEADS
from clear_hug.measure import measure_beats
from clear_hug.model import CLEARHUG

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LEVELS = ("beat", "lead", "group", "token", "segment")
USUAL_QRS = (-0.05, 0.06)  # s from the R peak, where it could not be measured
ROWS = 4096  # of the token sequences that are computed at once
MOST_PARTS = 1600  # that are worth waiting for, left out one by one
ASKED = 256  # looks at a window between two ticks


@dataclass(frozen=True, eq=False)
class Parts:
    """What a record is taken apart into.

    names : of the parts;  tokens : (part, 12, beat) bool, those that a part has a share in
    shape : of an array over the parts as it is shown: (part,), (12, beat) for tokens, (12, 3) for segments
    segments : (3, beat, 96) bool, the samples of P, QRS and ST-T where they are the parts, else None
    """

    names: tuple[str, ...]
    tokens: Bools
    shape: tuple[int, ...]
    segments: Bools | None = None

    def __post_init__(self) -> None:
        freeze(self)

    @property
    def there(self) -> Bools:
        """(part,) True where the part has any token."""
        there: Bools = np.any(self.tokens, axis=(1, 2))
        return there


def parts_of(tokens: BeatTokens, level: str, hidden: Bools | None = None) -> Parts:
    """What a record is taken apart into at one of `LEVELS`, without the tokens of `hidden` (12, beat)."""
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
    if level == "segment":
        spans = segments_of(tokens)
        has = spans.any(axis=2) & valid[:, None]  # (12, 3, beat)
        masks = leads[:, None] & has[:, :, None]
        return Parts(LEADS, masks.reshape(-1, N_LEADS, n), (N_LEADS, len(SEGMENTS)), spans)
    raise ValueError(f"level = {level!r}; parts are {', '.join(LEVELS)}.")


def segments_of(tokens: BeatTokens) -> Bools:
    """(3, beat, 96) bool: before the QRS complex, within it, after it; the samples of the beat's window."""
    at = (np.arange(TOKEN_SAMPLES) - TOKEN_SAMPLES // 2) / TOKEN_FS
    measured = measure_beats(tokens).qrs
    onset, offset = np.where(np.isfinite(measured), measured, USUAL_QRS).T[..., None]
    return np.stack([at < onset, (at >= onset) & (at <= offset), at > offset]) & tokens.inside


def blanked(tokens: BeatTokens, segments: Bools) -> NDArray[np.float32]:
    """(3, 12, beat, 96): the tokens' values along the line between the ends of each segment."""
    lined = np.repeat(tokens.values[None], len(segments), axis=0)
    for k, beat in np.argwhere(segments.any(axis=2)):
        at = np.flatnonzero(segments[k, beat])
        ends = tokens.values[:, beat, [at[0], at[-1]]]
        lined[k, :, beat, at] = np.linspace(ends[:, 0], ends[:, 1], at.size)
    return lined


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
        n = len(sets)
        seen: Bools = np.any(self.parts.tokens, axis=0)
        left = np.broadcast_to(seen, (n, *seen.shape))
        if self.parts.segments is None:
            left = np.matmul(sets, self.parts.tokens.reshape(len(self.parts.tokens), -1)).reshape(left.shape)
        windows = split_windows(self.tokens)

        def work(model: CLEARHUG, device: torch.device) -> Floats:
            total = np.zeros((n, len(self.checkpoint.targets)))
            for window in windows:
                whole = hide([window], ~seen).to(device)
                mine = left[:, :, window.beats]
                # sets that differ in other windows alone are one look at this one
                first, of = np.arange(n), np.arange(n)
                if self.parts.segments is None:
                    _, first, of = np.unique(
                        mine.reshape(n, -1), axis=0, return_index=True, return_inverse=True
                    )
                answers = np.zeros((len(first), total.shape[1]))
                for rows in _batches(mine[first]):
                    many = _left(whole, torch.from_numpy(mine[first[rows]]))
                    scale = None
                    if self.parts.segments is not None:
                        scale = whole.lead_scale()[0].expand(len(rows), -1)
                        values = self._with_blanks(sets[rows], window.beats)
                        many = replace(many, values=torch.from_numpy(values).to(device))
                    answers[rows] = model(many, scale=scale).double().cpu().numpy()
                total += answers[of.ravel()]
            return total / len(windows)

        answers, self.device, note = run(self.checkpoint, work, self._on)
        self.note = note or self.note
        return answers

    @cached_property
    def _blanked(self) -> NDArray[np.float32]:
        assert self.parts.segments is not None
        return blanked(self.tokens, self.parts.segments)

    def _with_blanks(self, sets: Bools, beats: NDArray[np.int64]) -> NDArray[np.float32]:
        """(set, 12, beat, 96) the values of some beats, with the segments blanked that are not there."""
        assert self.parts.segments is not None
        out = np.repeat(self.tokens.values[None, :, beats], len(sets), axis=0)
        gone = ~sets.reshape(len(sets), *self.parts.shape)
        for k, where in enumerate(self.parts.segments):
            blank = gone[:, :, k, None, None] & where[beats]
            out = np.where(blank, self._blanked[k][:, beats], out)
        return out


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


def ablation(game: Game, of: Floats, tick: Tick | None = None) -> Floats:
    """(part,) how far the answer falls when the part alone is left out; captum's FeatureAblation.

    of : (label,) what is explained: a logit (1 at its label), or a difference of two
    tick : told the share that is done; what it raises ends the computation
    """
    from captum.attr import FeatureAblation

    n, done = len(game.parts.tokens), 0

    def answer(sets: torch.Tensor) -> torch.Tensor:
        nonlocal done
        answers = torch.from_numpy(game(sets.numpy() > 0.5) @ of)
        done += len(sets)
        if tick:
            tick(min(1.0, done / (n + 1)))  # captum asks for the whole as well
        return answers

    bearable(int(game.parts.there.sum()), MOST_PARTS)
    values = FeatureAblation(answer).attribute(torch.ones(1, n), perturbations_per_eval=min(n, ASKED))
    return np.where(game.parts.there, values[0].numpy().astype(np.float64), np.nan)


def bearable(n: int, most: int) -> None:
    """Refuse, in words, more parts than can be waited for."""
    if n > most:
        raise TooManyParts(
            f"the record falls into {n:,} parts, and up to {most:,} are taken apart; leave out leads or "
            "groups instead, or cut the record shorter."
        )
