"""Pacing spikes: pulses of a few milliseconds out of a quiet trace, at one and the same time before each QRS.

A pulse is what a running median takes away. A steep QRS leaves such a rest too, and muscle noise many; so
a pulse must stand well above the trace just before it and around it, be of some height beside the QRS, and
come again before at least `SHARE` of the beats with the same delay.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import maximum_filter1d, median_filter, minimum_filter1d
from scipy.signal import find_peaks

from clear_hug.measure.values import Floats

MIN_FS = 250.0  # Hz; below, a spike falls between the samples
WIDTH = 0.006  # s; a pulse no wider is taken away by the median of twice as much
JUST_BEFORE = 0.016  # s before a pulse in which the trace is quiet
STANDS_OUT = 1.0  # a pulse's height over the span of the trace just before it
ABOVE_NOISE = 4.0  # a pulse's height over the 80th percentile of such rests around it
AROUND = 0.25  # s on each side
HEIGHT = 0.13  # of the height of the QRS; a lower pulse is not told from a steep Q
LIKE = 0.4  # of the usual pulse's height: any other is one too
DELAYS = 0.4  # s before the R peak in which a pulse may lie (the atrium's come first)
SAME = 0.024  # s within which delays are the same
SHARE, FEWEST = 0.4, 3  # of the beats, at least, that have a pulse before them
EDGE = 0.02  # s at both ends of the record


def pacing_spikes(signal: Floats, fs: float, r_peaks: Floats) -> Floats:
    """(spike,) s.

    Parameters
    ----------
    signal : (lead, sample) finite, mV or any one unit
    fs : Hz, at least `MIN_FS`
    r_peaks : (beat,) s
    """
    none = np.empty(0)
    if len(r_peaks) < FEWEST or not len(signal):
        return none
    rest = median_filter(signal, size=(1, 2 * int(np.ceil(WIDTH * fs)) + 1), mode="nearest")
    pulse = _root_mean_square(signal - rest)
    edge = int(np.ceil(EDGE * fs))
    pulse[:edge] = pulse[-edge:] = 0
    height = HEIGHT * _qrs_height(rest, fs, r_peaks)
    peaks, _ = find_peaks(pulse, distance=max(1, round(2 * WIDTH * fs)), height=LIKE * height)
    if len(peaks) < FEWEST or len(peaks) > 100 * len(r_peaks):
        return none
    n = max(2, round(JUST_BEFORE * fs))
    span = [f(rest, n, axis=1, origin=(n - 1) // 2) for f in (maximum_filter1d, minimum_filter1d)]
    quiet = _root_mean_square(span[0] - span[1])[peaks]
    wing = round(AROUND * fs)
    noise = np.array([np.quantile(pulse[max(0, k - wing) : k + wing], 0.8) for k in peaks])
    stands = (pulse[peaks] > STANDS_OUT * quiet) & (pulse[peaks] > ABOVE_NOISE * noise)
    peaks = peaks[stands]
    high = peaks[pulse[peaks] >= height]
    delay = np.sort(_delays(high / fs, r_peaks))
    after = np.searchsorted(delay, delay + SAME, side="right") - np.arange(len(delay))
    if after.max(initial=0) < max(FEWEST, SHARE * len(r_peaks)):
        return none
    usual = float(np.median(pulse[high]))
    out: Floats = peaks[pulse[peaks] >= LIKE * usual] / fs
    return out


def without_spikes(signal: Floats, fs: float, spikes: Floats) -> Floats:
    """The signal with a straight line in place of each spike, so that no filter spreads it."""
    if not len(spikes):
        return signal
    out, axis = signal.copy(), np.arange(signal.shape[1])
    wing = max(1, int(np.ceil(WIDTH * fs)))
    gone = np.zeros(signal.shape[1], dtype=bool)
    for at in np.rint(spikes * fs).astype(int):
        gone[max(0, at - wing) : at + wing + 1] = True
    for row in out:
        row[gone] = np.interp(axis[gone], axis[~gone], row[~gone])
    return out


def _root_mean_square(rows: Floats) -> Floats:
    out: Floats = np.sqrt(np.square(rows).mean(axis=0))
    return out


def _qrs_height(rest: Floats, fs: float, r_peaks: Floats) -> float:
    """Root mean square over the leads of the span around a usual R peak."""
    wing = round(0.1 * fs)
    spans = [
        _root_mean_square(np.ptp(rest[:, max(0, k - wing) : k + wing + 1], axis=1)[:, None])[0]
        for k in np.clip(np.rint(r_peaks * fs).astype(int), 0, rest.shape[1] - 1)
    ]
    return float(np.median(spans))


def _delays(spikes: Floats, r_peaks: Floats) -> Floats:
    """(spike,) s from each spike to the next R peak, negative; those of no beat left out."""
    following = np.searchsorted(r_peaks, spikes - SAME / 2)
    some = following < len(r_peaks)
    delay = spikes[some] - r_peaks[following[some]]
    out: Floats = delay[delay > -DELAYS]
    return out
