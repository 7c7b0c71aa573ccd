"""Electrodes that were exchanged: which exchange the leads' beats suggest, and setting it right.

How the leads of a median beat hang together tells of an exchange. What is learnt stands in `quality.json`.

Source: Kors JA, van Herpen G. Accurate automatic detection of electrode interchange in the electrocardiogram.
Am J Cardiol 2001; 88:396-399.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clear_hug.ecg import ECG, ECGError
from clear_hug.leads import LEADS, N_LEADS

Floats = NDArray[np.float64]

P_TO_T = (0, 6, 14, 20, 24, 27, 31, 35, 44, 54, 64)  # samples of BEAT: the pieces an exchange is told from


class Exchange(NamedTuple):
    """A way to connect electrodes wrongly; done twice it is undone.

    rows, signs : (12,) the row that each lead is recorded from, and its sign
    words : what may have happened
    """

    rows: tuple[int, ...]
    signs: tuple[int, ...]
    words: str


def _exchange(words: str, *pairs: tuple[str, str], negative: Sequence[str] = ()) -> Exchange:
    rows, signs = list(range(N_LEADS)), [1] * N_LEADS
    for a, b in pairs:
        i, j = LEADS.index(a), LEADS.index(b)
        rows[i], rows[j] = j, i
    for lead in negative:
        signs[LEADS.index(lead)] = -1
    return Exchange(tuple(rows), tuple(signs), words)


REVERSALS: dict[str, Exchange] = {
    "LA/RA": _exchange("arm electrodes exchanged (LA/RA)", ("II", "III"), ("aVR", "aVL"), negative=("I",)),
    "LA/LL": _exchange(
        "left arm's and left leg's electrodes exchanged (LA/LL)",
        ("I", "II"), ("aVL", "aVF"), negative=("III",),
    ),
    "RA/LL": _exchange(
        "right arm's and left leg's electrodes exchanged (RA/LL)",
        ("I", "III"), ("aVR", "aVF"), negative=("I", "II", "III"),
    ),
    **{
        f"{a}/{b}": _exchange(f"electrodes of {a} and {b} exchanged", (a, b))
        for a, b in (("V1", "V2"), ("V2", "V3"), ("V3", "V4"), ("V4", "V5"), ("V5", "V6"), ("V1", "V3"))
    },
    **{f"-{lead}": _exchange(f"{lead} upside down", negative=(lead,)) for lead in LEADS[6:]},
}  # fmt: skip
"""Name -> an exchange of electrodes, or a lead of the wrong sign; the order is that of what was learnt."""


def beat_features(median: Floats) -> Floats:
    """(feature,) of the leads' median beats (12, sample): correlations, and the level of each piece.

    Each lead is looked at in its own size: no unit or gain matters. NaN for a lead that shows no beat.
    """
    beats = median - median.mean(axis=1, keepdims=True)
    size = np.sqrt(np.square(beats).sum(axis=1, keepdims=True))
    beats = np.divide(beats, size, out=np.full_like(beats, np.nan), where=size > 0)
    alike = (beats @ beats.T)[np.triu_indices(N_LEADS, 1)]
    lengths = np.diff([*P_TO_T, median.shape[1]])
    levels = np.add.reduceat(beats, P_TO_T, axis=1) / np.sqrt(lengths)
    return np.concatenate([alike, levels.ravel()])


def suspect(medians: Sequence[Floats], learnt: Mapping[str, Any]) -> tuple[str | None, float]:
    """The exchange that the windows' median beats (12, sample) agree on, if any, and its log odds.

    Set right, the leads must hang together: what looks odd either way was not in the learning.

    learnt : "reversal" of `quality.json`
    """
    if not len(medians):
        return None, np.nan
    name, odds = _likeliest(medians, learnt)
    if odds <= learnt["least"]:
        return None, odds
    rows, signs, _ = REVERSALS[name]
    right = [median[list(rows)] * np.array(signs)[:, None] for median in medians]
    return (name if _likeliest(right, learnt)[1] < 0 else None), odds


def _likeliest(medians: Sequence[Floats], learnt: Mapping[str, Any]) -> tuple[str, float]:
    """The likeliest exchange, and its log odds against the leads in their places."""
    features = np.array([beat_features(median) for median in medians])
    centred = np.nan_to_num(features - learnt["mean"], nan=0.0)  # a lead that shows no beat says nothing
    scores = learnt["intercept"] + centred.mean(axis=0) @ learnt["coefficients"].T
    best = int(np.argmax(scores[1:]))
    return list(REVERSALS)[best], float(scores[1 + best] - scores[0])


def undo_reversal(ecg: ECG, reversal: str) -> ECG:
    """The record with an exchange of electrodes set right, and a sentence that says so among its warnings.

    Parameters
    ----------
    reversal : a key of `REVERSALS`

    Raises
    ------
    ECGError : no such exchange
    """
    if reversal not in REVERSALS:
        raise ECGError(f"unknown exchange of electrodes {reversal!r}; expected {', '.join(REVERSALS)}.")
    rows, signs, words = REVERSALS[reversal]
    signal = ecg.signal[list(rows)] * np.array(signs, dtype=np.float32)[:, None]
    derived = tuple(lead for lead, row in zip(LEADS, rows, strict=True) if LEADS[row] in ecg.derived)
    said = f"Corrected by hand: {words}; the leads are no longer as recorded."
    return replace(ecg, signal=signal, derived=derived, warnings=(*ecg.warnings, said))
