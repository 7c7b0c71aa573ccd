"""Where P, QRS and T begin and end in a median beat, in all leads together.

The leads are read as one: the root mean square over them of the slope, or of the height above a base line,
so that no polarity and no single lead decides. The edges lie where devices put theirs, from which the
normal limits were won; readers who mark leads one by one put them some 10 ms further out
(`benchmarks/measure_ludb.py` says how far, and how constantly). The constants stand on a plateau of the
error's SD on LUDB.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter1d

from clear_hug.measure.values import Floats

NONE = np.array([np.nan, np.nan])

# QRS: where the slope falls to a share of its height above rest
ONSET_SD, ONSET_SHARE = 0.012, 0.12  # s of the Gaussian that smooths, share of the height
OFFSET_SD, OFFSET_SHARE = 0.007, 0.05
QRS_PEAK = (-0.05, 0.08)  # s from the R peak, in which the slope is at its height
QRS_REACH = 0.22  # s
QRS_PAUSE = 0.02  # s; a shorter pause in the slope lies within the QRS
QRS_LATE, QRS_LONG = 0.16, 0.20  # s after the R peak, s in all: an offset beyond both lies in ST or T
QRS_FLOOR = 0.03  # share of the height: so near to where the slope is least the QRS has ended then
REST_AROUND, REST_QUANTILE = (-0.25, 0.30), 0.15  # s, where rest is told, and its quantile

# T: the tangent to its steepest descent meets the level after it
T_SD = 0.020  # s
T_FROM, T_TO = 0.067, 0.72  # s after QRS, s after the R peak
LONGEST_QT = 0.66  # s at 60/min; grows with the root of the RR interval
NEXT_P = 0.16  # s before the next R peak, at least, T has ended
T_FALL = 0.2  # s after the peak of T in which it falls steepest

# P: its onset where the slope, its offset where the height above a straight base line, falls to a share
P_ON_SD, P_ON_SHARE = 0.012, 0.30
P_OFF_SD, P_OFF_SHARE = 0.008, 0.20
AFTER_T = 0.04  # s after the T wave before it P may begin
P_REACH, P_FARTHEST = 0.29, 0.40  # s before QRS, at most, P begins; and where it does not begin within that
P_LONGEST = 0.18  # s; what lasts longer is no P wave alone
P_CLEAR = 0.024  # s before QRS, at least, P has ended
P_RISE = 0.06  # s before the peak of P in which it rises steepest
P_PAUSE = 0.02  # s; a shorter pause in the slope lies within P


class Waves(NamedTuple):
    """Onset and offset in s from the R peak, (2,) each; NaN where not found."""

    p: Floats
    qrs: Floats
    t: Floats


def qrs_edges(values: Floats, fs: float, zero: int, after: float = -np.inf) -> Floats:
    """(2,) s; `after`: s from the R peak, before which there can be no onset (a pacing spike)."""
    edges = []
    for step, sd, share in ((-1, ONSET_SD, ONSET_SHARE), (1, OFFSET_SD, OFFSET_SHARE)):
        slope = _slope(values, sd * fs)
        low, high = (max(0, zero + round(s * fs)) for s in QRS_PEAK)
        peak = low + int(np.argmax(slope[low:high]))
        low, high = (max(0, zero + round(s * fs)) for s in REST_AROUND)
        rest = np.quantile(slope[low:high], REST_QUANTILE)
        limit = rest + share * (slope[peak] - rest)
        edges.append((_leaves(slope, peak, step, limit, QRS_REACH * fs, QRS_PAUSE * fs) - zero) / fs)
    if edges[1] > QRS_LATE and edges[1] - edges[0] > QRS_LONG:  # a bundle branch block whose ST slopes
        low, high = (zero + round(s * fs) for s in (QRS_PEAK[1] / 2, QRS_LATE))
        limit = slope[low:high].min() + QRS_FLOOR * (slope[peak] - rest)
        edges[1] = (_leaves(slope, peak, 1, limit, pause=QRS_PAUSE * fs) - zero) / fs
    return np.array([max(edges[0], after), edges[1]])


def t_edges(values: Floats, fs: float, zero: int, rr: float, qrs: Floats) -> Floats:
    """(2,) s, from the end of the ST segment to the end of T."""
    last = min(T_TO, LONGEST_QT * np.sqrt(rr), rr - NEXT_P)
    low, high = zero + round((qrs[1] + T_FROM) * fs), min(zero + round(last * fs), values.shape[1])
    if high - low < 0.08 * fs:
        return NONE
    smooth = gaussian_filter1d(values, T_SD * fs, axis=-1)
    level = np.median(smooth[:, high - round(0.06 * fs) : high], axis=1, keepdims=True)
    height = _size(smooth - level)
    fall = np.gradient(height)
    peak = low + int(np.argmax(height[low:high]))
    steep = peak + int(np.argmin(fall[peak : min(high, peak + round(T_FALL * fs))]))
    if fall[steep] >= 0:
        return NONE
    rest = float(height[steep:high].min())
    end = steep + (height[steep] - rest) / -fall[steep]
    return np.array([low / fs - zero / fs, (end - zero) / fs])


def p_window(fs: float, zero: int, rr: float, qrs: Floats, t: Floats, reach: float = P_REACH) -> slice:
    """The samples before QRS in which a P wave may lie: after the T wave before it, `reach` s at most."""
    before = t[1] - rr + AFTER_T if np.isfinite(t[1]) else -np.inf
    low = max(0, zero + round(max(qrs[0] - reach, before) * fs))
    return slice(low, max(low, zero + round((qrs[0] - P_CLEAR) * fs)))


def p_edges(values: Floats, fs: float, zero: int, window: slice) -> Floats:
    """(2,) s, of the largest wave in the window; where it has begun before the window, -inf is its onset."""
    if window.stop - window.start < 0.04 * fs:
        return NONE
    height = _size(above_line(gaussian_filter1d(values, P_OFF_SD * fs, axis=-1)[:, window], fs))
    slope = _slope(values, P_ON_SD * fs)[window]
    peak = int(np.argmax(height))
    rise = max(0, peak - round(P_RISE * fs))
    rise += int(np.argmax(slope[rise : peak + 1]))
    rest = np.quantile(slope, 0.1)
    onset = _leaves(slope, rise, -1, rest + P_ON_SHARE * (slope[rise] - rest), pause=P_PAUSE * fs)
    offset = _leaves(height, peak, 1, P_OFF_SHARE * height[peak])
    onset = onset if onset > 0 else -np.inf
    out: Floats = (window.start - zero + np.array([onset, offset])) / fs
    return out


def above_line(rows: Floats, fs: float) -> Floats:
    """Rows less a straight line from their first samples to their last."""
    k = max(1, round(0.008 * fs))
    first, last = rows[..., :k].mean(axis=-1, keepdims=True), rows[..., -k:].mean(axis=-1, keepdims=True)
    out: Floats = rows - (first + (last - first) * np.linspace(0, 1, rows.shape[-1]))
    return out


def _size(rows: Floats) -> Floats:
    out: Floats = np.sqrt(np.square(rows).mean(axis=0))
    return out


def _slope(values: Floats, sd: float) -> Floats:
    return _size(gaussian_filter1d(values, sd, order=1, axis=-1))


def _leaves(
    curve: Floats, start: int, step: int, limit: float, reach: float = np.inf, pause: float = 0
) -> float:
    """Where the curve falls below the limit for longer than a pause, between samples."""
    last = start
    for k in range(start, len(curve) if step > 0 else -1, step):
        if abs(k - start) > reach:
            break
        if curve[k] > limit:
            last = k
        elif abs(k - last) > pause:
            break
    beyond = last + step
    if not 0 <= beyond < len(curve) or curve[last] <= curve[beyond]:
        return float(last)
    return last + step * float(np.clip((curve[last] - limit) / (curve[last] - curve[beyond]), 0, 1))
