"""Beats: one R-peak mark a beat, found on all leads together.

Arrays in, sample indices out; nothing of this package is imported here, so that a detector can be
read, tried and replaced on its own. Ours, in four steps:

1. Every lead is looked at in the band where QRS stand out, and divided by its own usual beat, so that
   no unit, gain or polarity matters and a loud lead counts no more than a faint one.
2. The leads vote: the energy is what most good leads agree on at that moment, less what an impulse
   would leave in them. An artefact in half of the leads, or a pacing spike, is no beat.
3. Peaks of the energy above the noise are beats, unless they are the T wave of the beat before; where
   the rhythm says that one is missing, the search goes lower. Wide beats of the ventricles, which that
   band hardly sees, are found by their slopes.
4. The mark is put on the first major peak of the QRS, one instant for all leads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray
from scipy import fft
from scipy.signal import find_peaks

Array = NDArray[Any]

MIN_SECONDS = 0.3  # a shorter signal holds no beat to speak of
OTHERS_MIN_SECONDS = 1.0  # the filters of neurokit2 and wfdb refuse less
WORK_FS = 250.0  # Hz; every record is looked at near this rate, whatever its own
CHUNK, MARGIN = 60.0, 5.0  # s; a longer record is read in pieces that overlap by the margin

# Gaussian bands of one width, so that an impulse leaves the same trace in both: where QRS stand out
# (Elgendi 2010: 8 to 20 Hz), and above it, where a QRS has faded and an impulse has not.
QRS_HZ, IMPULSE_HZ, BAND_SD = 14.0, 34.0, 5.0
BASELINE_HZ = 2.0  # below it nothing counts
IMPULSE = 0.5  # share of the second band taken off the first; more of it costs narrow QRS
SHAPE_BAND = (2.0, 40.0)  # Hz; what the mark is placed on: the whole QRS, no baseline, no mains
SLOPE_HZ = (
    22.0  # below it slopes are looked at: those of a wide ventricular beat too, which QRS_HZ hardly sees
)

BLOCK = 2.0  # s; holds a beat at 30 / min
FAINTEST = 0.004  # of a lead's SD; a QRS that drowns deeper in the baseline is none
AGREEMENT = 0.4  # quantile over the good leads: more than half of them must show a beat
THRESHOLD, SEARCH_BACK = 0.35, 0.2  # of the usual beat's height above the noise
MIN_CONTRAST = 3.0  # usual beat over median energy; twelve leads of noise reach about 2.7, ECGs 4 and more
REFRACTORY = 0.2  # s; no ventricle beats twice within it
T_WINDOW, T_HEIGHT = 0.36, 0.5  # s and share of the beat before: a T wave (Pan and Tompkins 1985)
MAX_HEIGHT = 2.0  # of the usual beat; what is higher may be an artefact and hides no beat after it
MISSED_RR = 1.5  # of the usual RR; a longer one is searched again
LONG_RR = 1.5  # s; so is one longer than this: where every second beat is missed, all are long
SHORT_RR = 0.25  # quantile of the RR that is taken for usual: in bigeminy every other one hides a beat
# Of the usual beat's slope: a wide beat anywhere, in a long gap, and where a T wave may be (T: about 0.1).
WIDE, WIDE_IN_GAP, WIDE_ON_T = 0.5, 0.2, 0.25
WIDE_APART = 0.28  # s from the beats beside it

REACH = 0.1  # s; how far from the middle of its energy the mark of a wide QRS may lie
FIRST_PEAK = 0.6  # of the QRS's greatest magnitude: what makes a peak a major one
SATURATION = 1.5  # of a lead's usual beat; an artefact in one lead may not place the mark alone


def detect_qrs(signal: ArrayLike, fs: float, method: str = "clear") -> NDArray[np.int64]:
    """R peaks of a record, one mark a beat for all of its leads.

    Parameters
    ----------
    signal : (12, sample), (lead, sample) or (sample,), any unit
        NaN where a lead or a sample is absent.
    fs : Hz
    method : a key of `DETECTORS`

    Returns
    -------
    (beat,) int64, sorted sample indices at `fs`; empty where no beat is found

    Raises
    ------
    ValueError : an unknown method, or a signal of another shape
    """
    if method not in DETECTORS:
        raise ValueError(f"unknown QRS detector {method!r}; choose one of {', '.join(DETECTORS)}.")
    leads = np.asarray(signal)
    leads = leads[None] if leads.ndim == 1 else leads
    if leads.ndim != 2:
        raise ValueError(f"signal has shape {leads.shape}; expected (lead, sample) or (sample,).")
    n = leads.shape[1]
    if n < MIN_SECONDS * fs:
        return np.empty(0, np.int64)
    return np.unique(np.clip(DETECTORS[method](leads, float(fs)), 0, n - 1)).astype(np.int64)


def _clear(signal: Array, fs: float) -> Array:
    """Ours, piece by piece: levels stay local and memory bounded however long the record."""
    n = signal.shape[1]
    step, margin = round(CHUNK * fs), round(MARGIN * fs)
    if n <= step + margin:
        return _clear_piece(signal, fs)
    found: list[int] = []
    for start in range(0, n, step):
        left = max(0, start - margin)
        peaks = left + _clear_piece(signal[:, left : start + step + margin], fs)
        # A beat on a seam is seen from both sides, perhaps a sample apart.
        after = found[-1] + REFRACTORY * fs if found else -1
        found.extend(peaks[(peaks >= start) & (peaks < start + step) & (peaks > after)].tolist())
    return np.array(found, dtype=np.int64)


def _clear_piece(signal: Array, fs: float) -> Array:
    leads = _usable(signal)
    if not len(leads):
        return np.empty(0, np.int64)
    envelope, impulse, slope, shape, rate = _views(leads, fs)
    usual = _usual_height(envelope, rate)
    if usual.max() < FAINTEST:
        return np.empty(0, np.int64)
    # How far a lead's beats stand above what lies between them: about 2 for noise, 10 and more for an ECG.
    contrast = usual / (_median(envelope) + 1e-9)
    weight = np.clip((contrast - 2.0) / 6.0, 0.02, 1.0) * (usual >= FAINTEST)
    good = weight >= 0.5 * weight.max()
    heights = (usual, usual, _usual_height(slope, rate))
    seen = np.stack([
        view[good] / height[good, None]
        for view, height in zip((envelope, impulse, slope), heights, strict=True)
    ])  # fmt: skip
    agreed, spiky, steep = _agreed(seen)
    beats = _pick(np.maximum(agreed - IMPULSE * spiky, 0), rate)
    beats = _with_wide(beats, steep, rate)
    return np.rint(_place(beats, shape, weight, rate) * fs).astype(np.int64)


def _agreed(seen: Array) -> Array:
    """(view, sample) the quantile AGREEMENT over the leads of (view, lead, sample).

    The smallest values rise to the top by whole leads: NumPy would sort the few leads of each sample alone,
    which takes ten times as long.
    """
    leads = list(seen.swapaxes(0, 1))
    at = AGREEMENT * (len(leads) - 1)
    low, high = math.floor(at), math.ceil(at)
    for k in range(high + 1):
        for i in range(len(leads) - 1, k, -1):
            above, below = leads[i - 1], leads[i]
            leads[i - 1], leads[i] = np.minimum(above, below), np.maximum(above, below)
    return leads[low] + (at - low) * (leads[high] - leads[low])


def _median(rows: Array) -> Array:
    """(row,) medians; np.median takes five times as long."""
    middle = rows.shape[1] // 2
    halves = np.partition(rows, middle, axis=1)
    if rows.shape[1] % 2:
        return halves[:, middle]
    return (halves[:, :middle].max(axis=1) + halves[:, middle]) / 2


def _usable(signal: Array) -> Array:
    """(lead, sample) float32: the leads that move, gaps bridged, without offset, of unit SD."""
    there = np.isfinite(signal)
    keep = there.any(axis=1)
    leads, there = np.array(signal[keep], dtype=np.float64), there[keep]
    axis = np.arange(leads.shape[1])
    for row in np.flatnonzero(~there.all(axis=1)):
        lead, known = leads[row], there[row]
        lead[~known] = np.interp(axis[~known], axis[known], lead[known])
    tiny = np.finfo(float).tiny
    leads /= np.maximum(np.maximum(leads.max(axis=1), -leads.min(axis=1)), tiny)[:, None]
    leads -= leads.mean(axis=1, keepdims=True)
    sd = np.sqrt(np.vecdot(leads, leads) / leads.shape[1])
    leads /= np.maximum(sd, tiny)[:, None]
    return leads.astype(np.float32)[sd > 1e-6]


def _views(leads: Array, fs: float) -> tuple[Array, Array, Array, Array, float]:
    """Envelopes of QRS band, impulse band and slope, and shape, (lead, sample) each, and their rate in Hz.

    One Fourier transform filters without delay and changes the rate, so that a record reads the same
    at any `fs`.
    """
    n = leads.shape[1]
    size = fft.next_fast_len(n + round(fs), real=True)
    # From the last sample half a cosine leads back to the first: a circle without a step or a kink.
    ramp = 0.5 - 0.5 * np.cos(np.linspace(0, np.pi, size - n, dtype=np.float32))
    back = leads[:, -1:] + ramp * (leads[:, :1] - leads[:, -1:])
    spectrum = fft.rfft(np.concatenate([leads, back], axis=1), axis=1)
    new = fft.next_fast_len(int(np.ceil(size * WORK_FS / fs)))
    rate = new * fs / size
    bins = min(spectrum.shape[1], new // 2, int(3 * SHAPE_BAND[1] * size / fs))
    kept = int((n - 1) / fs * rate) + 1
    # Positive frequencies alone give the analytic signal: its magnitude is the envelope.
    *others, shape = (
        fft.ifft(spectrum[:, :bins] * gain, n=new, axis=1)[:, :kept] for gain in _gains(bins, fs / size)
    )
    envelope, impulse, slope = (np.abs(view) for view in others)
    return envelope, impulse, slope, shape.real, rate


@lru_cache(maxsize=8)
def _gains(bins: int, step: float) -> Array:
    """(view, bin) what passes into envelope, impulse, slope and shape, at multiples of `step` Hz."""
    hz = np.arange(bins) * step
    low, high = SHAPE_BAND
    no_baseline = 1 - np.exp(-0.5 * (hz / BASELINE_HZ) ** 2)  # or a great step would ring
    gains = np.stack([
        np.exp(-0.5 * ((hz - QRS_HZ) / BAND_SD) ** 2) * no_baseline,
        np.exp(-0.5 * ((hz - IMPULSE_HZ) / BAND_SD) ** 2),
        hz * no_baseline / (1 + (hz / SLOPE_HZ) ** 8),
        hz**4 / (hz**4 + low**4) / (1 + (hz / high) ** 4),
    ])  # fmt: skip
    return gains.astype(np.float32)


def _usual_height(rows: Array, rate: float, quantile: float = 0.5) -> Array:
    """(row,) height of a usual beat: the median (or a quantile) over blocks of each block's maximum."""
    n_blocks = max(1, round(rows.shape[1] / (BLOCK * rate)))
    size, longer = divmod(rows.shape[1], n_blocks)
    block = np.arange(n_blocks)
    starts = block * size + np.minimum(block, longer)
    highest = np.sort(np.maximum.reduceat(rows, starts, axis=1), axis=1)
    # Silence (padding, an electrode off for a while) says nothing of the beats, nor does one great step.
    heard = highest > 0.003 * highest[:, -1:]
    alive = heard & (highest >= 0.05 * _lower_quantile(highest, heard, 0.75)[:, None])
    return np.maximum(_lower_quantile(highest, alive, quantile), 1e-6)


def _lower_quantile(rows: Array, counted: Array, quantile: float) -> Array:
    """(row,) the value at or below a quantile of those that are counted, the last ones of sorted rows."""
    n = counted.sum(axis=1)
    at = rows.shape[1] - n + np.floor(quantile * (n - 1)).astype(np.int64)
    return rows[np.arange(len(rows)), at]


def _pick(energy: Array, rate: float) -> Array:
    """(beat,) positions of the beats among the peaks of the energy (sample,)."""
    floor = float(_median(energy[None])[0])
    typical, small = (float(_usual_height(energy[None], rate, q)[0]) for q in (0.5, 0.25))
    if typical < MIN_CONTRAST * floor:
        return np.empty(0, np.int64)
    # Where many beats are premature and tall, the small ones set the level; a long pause may not.
    usual = max(small, 0.5 * typical)
    # Zeros around let a beat that the record cuts in half have its peak on the edge.
    peaks = find_peaks(_in_zeros(energy), distance=max(1, round(REFRACTORY * rate)))[0] - 1
    height = np.minimum((energy[peaks] - floor) / (usual - floor), MAX_HEIGHT)
    beats: list[int] = []
    for i in np.flatnonzero(height >= THRESHOLD).tolist():
        t_wave = (
            beats
            and peaks[i] - peaks[beats[-1]] < T_WINDOW * rate
            and height[i] < T_HEIGHT * height[beats[-1]]
        )
        if not t_wave:
            beats.append(i)
    return peaks[_search_back(peaks, height, beats, rate)]


def _in_zeros(row: Array, n: int = 1) -> Array:
    """(sample + 2 n,) the row between zeros; np.pad takes eight times as long."""
    zeros = np.zeros(n, row.dtype)
    return np.concatenate([zeros, row, zeros])


def _search_back(peaks: Array, height: Array, beats: list[int], rate: float) -> list[int]:
    """Add the highest peak in each gap that is too long for the rhythm, down to a lower threshold."""
    if len(beats) < 3:
        return beats
    gap = np.diff(peaks[beats])
    added: list[int] = []
    for k in np.flatnonzero(gap > MISSED_RR * _usual_rr(peaks[beats])):
        between = np.arange(beats[k] + 1, beats[k + 1])
        away = np.minimum(peaks[between] - peaks[beats[k]], peaks[beats[k + 1]] - peaks[between])
        between = between[(away >= T_WINDOW * rate) & (height[between] >= SEARCH_BACK)]
        if between.size:
            added.append(int(between[np.argmax(height[between])]))
    return sorted(beats + added)


def _with_wide(beats: Array, steep: Array, rate: float) -> Array:
    """The beats, and among them wide ones that no QRS band showed: as steep as half a beat, or in a gap less.

    steep : (sample,) slope in shares of the usual beat's
    """
    if len(beats) < 2:
        return beats
    usual = float(np.median(steep[beats]))
    peaks, _ = find_peaks(
        _in_zeros(steep), height=WIDE_IN_GAP * usual, distance=max(1, round(REFRACTORY * rate))
    )
    peaks = peaks - 1
    long = _long_gap(beats, rate)
    for peak in peaks[np.argsort(-steep[peaks], kind="stable")]:
        after = int(np.searchsorted(beats, peak))
        before = (peak - beats[after - 1]) / rate if after else np.inf
        until = (beats[after] - peak) / rate if after < len(beats) else np.inf
        gap = long < before + until < np.inf
        limit = (WIDE_IN_GAP if gap else WIDE) * usual
        if before < T_WINDOW:  # where a T wave may be
            limit = max(limit, WIDE_ON_T * usual)
        if min(before, until) >= WIDE_APART and steep[peak] >= limit:
            beats = np.insert(beats, after, peak)
            long = _long_gap(beats, rate)
    return beats


def _long_gap(beats: Array, rate: float) -> float:
    """Seconds between two beats above which one of them may be missing."""
    return min(MISSED_RR * _usual_rr(beats) / rate, LONG_RR)


def _usual_rr(beats: Array) -> float:
    """The quantile SHORT_RR of the RR intervals, in samples; np.quantile takes five times as long."""
    gaps = np.sort(np.diff(beats))
    return float(np.interp(SHORT_RR * (len(gaps) - 1), np.arange(len(gaps)), gaps))


def _place(beats: Array, shape: Array, weight: Array, rate: float) -> Array:
    """(beat,) s: the first major peak of the QRS's magnitude over all leads.

    R comes before S, whichever of the two is the taller: the first major peak keeps to one wave of the
    QRS where the tallest would jump from beat to beat. A magnitude knows no polarity, and taking it over
    all leads gives one instant for all. Just before a paced beat it may be the pacing spike.
    """
    loud = np.clip(shape / _usual_height(np.abs(shape), rate)[:, None], -SATURATION, SATURATION)
    magnitude = np.sqrt(weight @ np.square(loud))
    reach = round(REACH * rate)
    tops = np.zeros(len(magnitude), np.bool_)
    tops[find_peaks(magnitude)[0]] = True
    qrs, peaked = (
        sliding_window_view(_in_zeros(row, reach), 2 * reach + 1)[beats] for row in (magnitude, tops)
    )
    major = peaked & (qrs >= FIRST_PEAK * qrs.max(axis=1, keepdims=True))
    major[:, [0, -1]] = False  # there it may be the peak of what lies beyond
    top = beats - reach + np.where(major.any(axis=1), major.argmax(axis=1), qrs.argmax(axis=1))
    return (top + _vertex(magnitude, top)) / rate


def _vertex(row: Array, at: Array) -> Array:
    """(at,) where between a sample and its neighbours their parabola peaks, -0.5 to 0.5 from it."""
    inner = np.clip(at, 1, len(row) - 2)
    left, middle, right = (row[inner + k].astype(np.float64) for k in (-1, 0, 1))
    bend = left - 2 * middle + right
    peaks = (bend < 0) & (inner == at)
    off = 0.5 * (left - right) / np.where(peaks, bend, -1)
    return np.where(peaks, np.clip(off, -0.5, 0.5), 0.0)


def _one_lead(signal: Array) -> Array:
    """(1 or 0, sample) lead II where it moves, else the first lead that does."""
    order = [1, 0, *range(2, len(signal))] if len(signal) > 1 else [0]
    for row in order:
        lead = _usable(signal[row : row + 1])
        if len(lead):
            return lead
    return np.empty((0, signal.shape[1]), np.float32)


def _neurokit(signal: Array, fs: float) -> Array:
    """The default of neurokit2 on one lead: the gradient against its running mean."""
    import neurokit2

    lead = _one_lead(signal)
    if not len(lead) or lead.shape[1] < OTHERS_MIN_SECONDS * fs:
        return np.empty(0, np.int64)
    cleaned = neurokit2.ecg_clean(lead[0].astype(np.float64), sampling_rate=fs, method="neurokit")
    _, found = neurokit2.ecg_peaks(cleaned, sampling_rate=fs, method="neurokit")
    return np.asarray(found["ECG_R_Peaks"], dtype=np.int64)


def _xqrs(signal: Array, fs: float) -> Array:
    """XQRS of wfdb on one lead, its marks (early at low rates) moved to the R peak by our rule."""
    from wfdb.processing import XQRS

    lead = _one_lead(signal)
    if not len(lead) or lead.shape[1] < OTHERS_MIN_SECONDS * fs:
        return np.empty(0, np.int64)
    detector = XQRS(sig=lead[0].astype(np.float64), fs=fs)
    with np.errstate(all="ignore"):  # it normalises by what it has learnt, which may be 0
        detector.detect(verbose=False)
    envelope, _, _, shape, rate = _views(lead, fs)
    early, late = round(0.05 * rate), round(0.15 * rate)
    beats: list[int] = []
    for mark in np.rint(np.asarray(detector.qrs_inds) / fs * rate).astype(int).tolist():
        start = max(0, mark - early)
        beat = start + int(np.argmax(envelope[0, start : mark + late]))
        if not beats or beat - beats[-1] > REFRACTORY * rate:  # two marks may move to one beat
            beats.append(beat)
    return np.rint(_place(np.array(beats, int), shape, np.ones(1), rate) * fs).astype(np.int64)


DETECTORS: dict[str, Callable[[Array, float], Array]] = {
    "clear": _clear,
    "neurokit": _neurokit,
    "xqrs": _xqrs,
}
"""Detector name -> function of (lead, sample) and fs in Hz; the first is the default."""
