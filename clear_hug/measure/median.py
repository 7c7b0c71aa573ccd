"""The median beat: the dominant beats of a stretch, aligned, and the median of each lead at each time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from clear_hug.measure.values import Bools, Floats

WORK_FS = 500.0  # Hz
BEFORE, AFTER = 0.45, 0.75  # s around the R peak, at most
SHAPE = 0.12  # s on each side of the R peak by which beats are told apart and aligned
SHIFT = 0.03  # s by which an R mark may be off
ALIKE = 0.85  # correlation of the QRS in all leads, from which beats are of one kind
NEIGHBOUR = 0.10  # s around the R peaks before and after, which a beat does not reach


class Beats(NamedTuple):
    """The dominant beats, aligned.

    Attributes
    ----------
    values : (dominant beat, lead, sample); NaN where the record, or the beat, holds nothing
    zero : sample of the R peak
    r_peaks : (beat,) s, of all beats, moved to where their QRS lies on the usual one's
    dominant : (beat,) bool
    likeness : (beat,) correlation of the QRS, in all leads, with that of the usual dominant beat
    """

    values: Floats
    zero: int
    r_peaks: Floats
    dominant: Bools
    likeness: Floats


def dominant_beats(signal: Floats, fs: float, r_peaks: Floats, premature: Bools) -> Beats:
    """The beats of the most frequent kind, cut from a (lead, sample) signal; NaN where it is absent."""
    usual = ~premature if (~premature).sum() >= 2 else np.ones(len(r_peaks), dtype=bool)
    values, zero = _cut(signal, fs, r_peaks)
    shift, shapes = _align(values, fs, zero, usual)
    dominant, likeness = _dominant(shapes, usual)
    moved = np.clip(r_peaks + shift / fs, 0, (signal.shape[1] - 1) / fs)
    values, _ = _cut(signal, fs, moved[dominant])
    times = (np.arange(values.shape[2]) - zero) / fs
    for beat, k in zip(values, np.flatnonzero(dominant), strict=True):
        if k + 1 < len(moved):
            beat[:, times > moved[k + 1] - moved[k] - NEIGHBOUR] = np.nan
        if k:
            beat[:, times < moved[k - 1] - moved[k] + NEIGHBOUR] = np.nan
    return Beats(values, zero, moved, dominant, likeness)


def level(signal: Floats, fs: float, r_peaks: Floats) -> Floats:
    """(lead, sample) less a line through the level just before each QRS, straight from beat to beat."""
    n = signal.shape[1]
    start = np.rint((r_peaks - 0.10) * fs).astype(int)
    width = max(1, round(0.03 * fs))
    inside = (start >= 0) & (start + width <= n)
    if not inside.any():
        return signal - np.median(signal, axis=1, keepdims=True)
    start = start[inside]
    knots: Floats = signal[:, start[:, None] + np.arange(width)].mean(axis=-1)
    at = start + width / 2
    axis = np.arange(n)
    return signal - np.stack([np.interp(axis, at, row) for row in knots])


def _cut(signal: Floats, fs: float, r_peaks: Floats) -> tuple[Floats, int]:
    """(beat, lead, sample) around each R peak, and the sample at which it lies."""
    before, after = round(BEFORE * fs), round(AFTER * fs)
    padded = np.pad(signal, ((0, 0), (before, after + 1)), constant_values=np.nan)
    at = np.clip(np.rint(r_peaks * fs).astype(int), 0, signal.shape[1] - 1)
    return np.moveaxis(padded[:, at[:, None] + np.arange(before + after + 1)], 1, 0), before


def _align(values: Floats, fs: float, zero: int, usual: Bools) -> tuple[Floats, Floats]:
    """Shift in samples of each beat that brings its QRS to the usual one's; and the shapes then.

    Returns
    -------
    shift : (beat,) int;  shapes : (beat, lead * sample) QRS of each beat, aligned, each lead less its mean
    """
    wing, reach = round(SHAPE * fs), round(SHIFT * fs)
    whole = np.nan_to_num(values[:, :, zero - wing - reach : zero + wing + reach + 1])
    lags = np.arange(-reach, reach + 1)
    shifted = np.moveaxis(np.lib.stride_tricks.sliding_window_view(whole, 2 * wing + 1, axis=2), 2, 1)
    flat = (shifted - shifted.mean(axis=-1, keepdims=True)).reshape(len(values), len(lags), -1)
    norm = np.maximum(np.linalg.norm(flat, axis=-1), 1e-12)
    shift, beats = np.full(len(flat), reach), np.arange(len(flat))
    for _ in range(2):
        model = np.median(flat[beats, shift][usual], axis=0)
        shift = np.argmax(flat @ model / norm, axis=1)
    return lags[shift], flat[beats, shift]


def _dominant(shapes: Floats, usual: Bools) -> tuple[Bools, Floats]:
    """(beat,) the largest kind among the usual beats; and how like its middle each beat is."""
    unit = shapes / np.maximum(np.linalg.norm(shapes, axis=1, keepdims=True), 1e-12)
    like = unit @ unit.T
    mates = ((like > ALIKE) & usual).sum(axis=1) + 1e-3 * like[:, usual].mean(axis=1)
    middle = int(np.argmax(np.where(usual, mates, -1)))
    return (like[middle] > ALIKE) & usual, like[middle]


def median(stack: Floats) -> Floats:
    """(lead, sample) over the beats; NaN where fewer than half of them hold a sample.

    np.nanmedian takes ten times as long.
    """
    ordered = np.sort(stack, axis=0)  # NaN stands last
    n = np.isfinite(ordered).sum(axis=0)
    low, high = np.maximum(n - 1, 0) // 2, n // 2
    high = np.minimum(high, len(stack) - 1)
    middle = [np.take_along_axis(ordered, at[None], axis=0)[0] for at in (low, high)]
    out: Floats = np.where(n >= max(1, len(stack) / 2), (middle[0] + middle[1]) / 2, np.nan)
    return out
