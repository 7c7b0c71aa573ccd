"""novelty(checkpoint, tokens) -> Novelty: where a record did what the rest of it did not foretell.

Every token is hidden alone and rebuilt from all others. How far off that is differs from lead to lead: by
voltage, by noise, and because six of the twelve leads are sums of others. So an error is held against
those of the same lead: how many robust standard deviations it lies above the lead's median.

What the decoder adds counts in full here (`CLEAR.rebuild`): by half of it hidden tokens are rebuilt a little
better, and by all of it more of the premature beats stand out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from clear_hug.beats import BeatTokens
from clear_hug.checkpoint import Checkpoint
from clear_hug.diagnosis import Tick
from clear_hug.ecg import freeze
from clear_hug.reconstruct import Reconstruction, reconstruct_each

Floats = NDArray[np.float64]

LEAST_BEATS = 4  # of a lead, for its usual error to be known
FLOOR = 0.03  # of a lead's SD; errors that differ by less are alike: an exact sum of leads has none
MOST = 10.0  # of a token's surprise, as it counts for its beat: no lead decides alone
LIMIT = 3.0  # a beat's score from which it stands out
NAMED = 5  # beats that are listed, at most


@dataclass(frozen=True, eq=False)
class Novelty:
    """How surprising each token and each beat is.

    Attributes
    ----------
    rebuilt, linear : each token as rebuilt from all others, by the model and by the regression alone
    surprise : (12, beat) RMSE above the median of its lead, in robust SDs of the lead's errors; NaN where
        not rebuilt, or where the lead has fewer than `LEAST_BEATS`
    score : (beat,) mean over the leads of the surprise, each from 0 to `MOST`; NaN without any
    limit : of the score, from which a beat stands out
    why : a sentence where no beat has a score, else ""

    """

    rebuilt: Reconstruction
    linear: Reconstruction
    surprise: Floats
    score: Floats
    limit: float = LIMIT
    why: str = ""

    def __post_init__(self) -> None:
        freeze(self)

    @property
    def order(self) -> list[int]:
        """Rows of the beats that have a score, the most surprising first."""
        known = np.flatnonzero(np.isfinite(self.score))
        return known[np.argsort(-self.score[known], kind="stable")].tolist()

    @property
    def stands_out(self) -> NDArray[np.bool_]:
        """(beat,) True where the score reaches the limit."""
        return np.nan_to_num(self.score, nan=-np.inf) >= self.limit

    @property
    def most_surprising(self) -> list[int]:
        """Rows of the beats that stand out, the most surprising first, `NAMED` at most."""
        return [beat for beat in self.order if self.stands_out[beat]][:NAMED]

    def leads_of(self, beat: int) -> list[int]:
        """Rows of the leads in which a beat is surprising by itself, the most so first, three at most."""
        values = np.nan_to_num(self.surprise[:, beat], nan=-np.inf)
        order = np.argsort(-values, kind="stable")
        return [int(lead) for lead in order[:3] if values[lead] >= self.limit]


def novelty(
    checkpoint: Checkpoint,
    tokens: BeatTokens,
    beats: NDArray[np.bool_] | None = None,
    device: torch.device | None = None,
    tick: Tick | None = None,
) -> Novelty:
    """Hide each token in turn, and say where that surprises.

    Parameters
    ----------
    checkpoint, tokens : as for `reconstruct`
    beats : (beat,) bool, those that are asked for; None = all
    tick : told the share that is done

    """
    rebuilt, linear = reconstruct_each(checkpoint, tokens, beats, device, tick, doubt=0.0)
    surprise = surprise_of(tokens, rebuilt.rmse)
    score = score_of(surprise)
    why = ""
    if not np.isfinite(score).any():
        n = int(rebuilt.hidden.any(axis=0).sum())
        why = (
            f"A beat is surprising beside the others of its lead, and that takes {LEAST_BEATS} of them; here "
            f"{'none' if not n else f'only {n}'} could be hidden and rebuilt from the rest."
        )
    return Novelty(rebuilt, linear, surprise, score, why=why)


def surprise_of(tokens: BeatTokens, rmse: Floats) -> Floats:
    """(12, beat) errors above the median of their lead, in its robust SD; NaN where that is not known."""
    out = np.full(rmse.shape, np.nan)
    for lead, errors in enumerate(rmse):
        known = np.isfinite(errors)
        if known.sum() < LEAST_BEATS:
            continue
        samples = tokens.values[lead][tokens.valid[lead][:, None] & tokens.inside].astype(np.float64)
        median = np.median(errors[known])
        spread = 1.4826 * np.median(np.abs(errors[known] - median))
        unit = max(spread, FLOOR * samples.std(), np.finfo(np.float64).tiny)
        out[lead, known] = (errors[known] - median) / unit
    return out


def score_of(surprise: Floats) -> Floats:
    """(beat,) mean over the leads of what a beat surprises by, each from 0 to `MOST`; NaN without any."""
    known = np.isfinite(surprise)
    counted = np.where(known, np.clip(surprise, 0, MOST), 0.0).sum(axis=0)
    n = known.sum(axis=0)
    return np.where(n > 0, counted / np.maximum(n, 1), np.nan)
