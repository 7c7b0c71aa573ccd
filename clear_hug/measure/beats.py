"""measure_beats(tokens) -> BeatFacts: what each beat looks like, told from its tokens alone.

The QRS complex is found in the activity of all leads together: the root of the sum of squared slopes,
each lead over its own scale, so that neither the voltage nor one quiet lead decides. Edges lie where the
activity falls to a share of its height. A beat is held against the record's usual beat, not against a
norm: bundle branch block widens every beat of a record and makes none of them ectopic.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from clear_hug.beats import TOKEN_FS, TOKEN_SAMPLES, BeatTokens
from clear_hug.ecg import freeze

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

FINE = 5  # samples for each of a token: edges lie between them
FINE_FS = FINE * TOKEN_FS  # Hz
CORE = 0.08  # s on each side of the R peak, in which the QRS is at its steepest and its shape is told
REACH = 0.16  # s on each side of the R peak, beyond which no QRS edge lies
EDGE = 0.08  # of the activity's height above rest: where the QRS begins and ends
DIP = 0.03  # s; a shorter pause in the activity lies within the QRS
EARLY = 0.85  # of the usual RR interval: a beat before that is premature
AROUND = 4  # RR intervals on each side that say what is usual
WIDE = 0.12  # s, of a wide QRS
WIDER = 0.04  # s more than usual: beyond what the edges err by
SAME = 0.97  # correlation with the usual beat's QRS from which a beat is as wide as that: an edge was missed
ALIKE = 0.8  # correlation with the usual beat's QRS; below it the shape is another
SHAPE = 0.12  # s on each side of the R peak that are held against the usual beat
SHIFT = 0.03  # s by which an R mark may be off when shapes are compared


@dataclass(frozen=True, eq=False)
class BeatFacts:
    """Facts of each beat.

    Attributes
    ----------
    qrs : (beat, 2) s, onset and offset of the QRS relative to the R peak; NaN where not found
    resemblance : (beat,) correlation of the beat's QRS in all its leads with the usual beat's; NaN
        where the record holds less than 0.08 s of it on each side of the R peak. The usual beat is the
        median of those that do not come early
    premature : (beat,) bool, comes before 0.85 of the median of up to four RR intervals on each side;
        never the first beat, nor one of a record with fewer than three intervals
    wide : (beat,) bool, QRS of at least 0.12 s, at least 0.04 s longer than usual, and not of the usual
        beat's very shape (resemblance below 0.97)
    unlike : (beat,) bool, QRS of another shape than usual: resemblance below 0.8

    """

    qrs: Floats
    resemblance: Floats
    premature: Bools
    wide: Bools
    unlike: Bools

    def __post_init__(self) -> None:
        freeze(self)

    @property
    def duration(self) -> Floats:
        """(beat,) s, of the QRS."""
        out: Floats = self.qrs[:, 1] - self.qrs[:, 0]
        return out

    @property
    def ectopic(self) -> Bools:
        """(beat,) bool, premature and wide or of another shape: what a premature ventricular beat is."""
        return self.premature & (self.wide | self.unlike)


def measure_beats(tokens: BeatTokens) -> BeatFacts:
    """QRS edges, prematurity and shape of each beat of a record."""
    values = _levelled(tokens)
    qrs = np.array([_edges(activity) for activity in _activity(values, tokens)]).reshape(-1, 2)
    premature = premature_beats(tokens.r_peaks)
    there: Bools = np.any(tokens.valid, axis=0)
    usual: Bools = there & ~premature
    if not usual.any():
        usual = there
    duration = qrs[:, 1] - qrs[:, 0]
    known = duration[usual & np.isfinite(duration)]
    longer = duration - (np.median(known) if known.size else np.nan)
    resemblance = _resemblance(values, tokens, usual)
    return BeatFacts(
        qrs=qrs,
        resemblance=resemblance,
        premature=premature,
        wide=(duration >= WIDE - 1e-9) & (longer >= WIDER - 1e-9) & ~(resemblance >= SAME),
        unlike=resemblance < ALIKE,
    )


def _levelled(tokens: BeatTokens) -> Floats:
    """(12, beat, 96) tokens, each lead over its scale; `lead_scale` is unknown where the units are."""
    values = tokens.values.astype(np.float64)
    n = np.maximum((tokens.valid[..., None] & tokens.inside).sum(axis=(1, 2)), 1)
    scale = np.sqrt(np.square(values).sum(axis=(1, 2)) / n)
    values /= np.where(scale > 0, scale, 1.0)[:, None, None]
    return values


def _activity(values: Floats, tokens: BeatTokens) -> Floats:
    """(beat, fine sample) root mean square slope over the leads; NaN outside the beat's window."""
    total = np.zeros((tokens.n_beats, FINE * TOKEN_SAMPLES))
    for lead in values:
        total += np.square(np.gradient(resample_poly(lead, FINE, 1, axis=-1), axis=-1))
    inside = np.repeat(tokens.inside, FINE, axis=-1)
    leads = tokens.valid.sum(axis=0)[:, None]
    return np.where(inside & (leads > 0), np.sqrt(total / np.maximum(leads, 1)), np.nan)


def _edges(activity: Floats) -> tuple[float, float]:
    """QRS onset and offset (s from the R peak) in one beat's activity."""
    middle = len(activity) // 2
    reach, core, dip = (round(s * FINE_FS) for s in (REACH, CORE, DIP))
    near = activity[middle - core : middle + core + 1]
    if np.isnan(near).all():
        return np.nan, np.nan
    peak = middle - core + int(np.nanargmax(near))
    rest = float(np.nanpercentile(activity, 25))
    limit = rest + EDGE * (activity[peak] - rest)

    def edge(step: int) -> float:
        last = peak
        for k in range(peak, middle + step * (reach + 1), step):
            if np.isnan(activity[k]):  # the record ends within the QRS, or just after it
                return np.nan
            if activity[k] > limit:
                last = k
            elif abs(k - last) > dip:
                return (last + step - middle) / FINE_FS
        return np.nan

    return edge(-1), edge(1)


def premature_beats(r_peaks: Floats) -> Bools:
    """(beat,) True where a beat comes far sooner than the RR intervals around it; `r_peaks` in s."""
    gaps = np.diff(r_peaks)
    out = np.zeros(len(r_peaks), dtype=bool)
    if gaps.size < 3:
        return out
    for k, gap in enumerate(gaps):
        around = np.delete(gaps[max(0, k - AROUND) : k + AROUND + 1], min(k, AROUND))
        out[k + 1] = gap < EARLY * np.median(around)
    return out


def _resemblance(values: Floats, tokens: BeatTokens, usual: Bools) -> Floats:
    """(beat,) the best correlation with the usual beat within the shift that an R mark may be off by.

    Told from the samples that the beat's window holds: a beat at the end of the record is cut short.
    """
    middle = TOKEN_SAMPLES // 2
    wing, core, shift = (round(s * TOKEN_FS) for s in (SHAPE, CORE, SHIFT))
    start, stop = middle - wing, middle + wing + 1
    model = np.zeros((len(values), 1, stop - start))
    for lead, valid in enumerate(tokens.valid):
        if (rows := valid & usual).any():
            model[lead, 0] = np.median(values[lead, rows, start:stop], axis=0)
    best = np.full(tokens.n_beats, np.nan)
    for by in range(-shift, shift + 1):
        held = tokens.valid[..., None] & tokens.inside[:, start + by : stop + by]
        beats, like = _centred(values[:, :, start + by : stop + by], held), _centred(model, held)
        size = np.sqrt(np.square(beats).sum(axis=(0, 2)) * np.square(like).sum(axis=(0, 2)))
        with np.errstate(invalid="ignore", divide="ignore"):
            best = np.fmax(best, np.where(size > 0, (beats * like).sum(axis=(0, 2)) / size, np.nan))
    whole = tokens.inside[:, middle - core : middle + core].all(axis=1)
    return np.where(whole, best, np.nan)


def _centred(values: Floats, held: Bools) -> Floats:
    """Values less their mean over the samples that are held; 0 at the others."""
    n = np.maximum(held.sum(axis=-1, keepdims=True), 1)
    out: Floats = np.where(held, values - np.where(held, values, 0).sum(axis=-1, keepdims=True) / n, 0)
    return out
