"""What of an ECG is shown: as recorded, filtered for the eye, or as the model sees it; each says what it is.

A filter is for the eye alone: nothing that is measured, and nothing that the model reads, goes through it.
Samples that are absent stay absent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import signal as dsp

from clear_hug.beats import BAND, TOKEN_FS, TOKEN_SAMPLES, BeatTokens, split_windows
from clear_hug.ecg import ECG, Array, ECGError, bridge_gaps, cut

SIGNALS = ("raw", "for display", "as the model sees it")
HIGH_PASS = (0.05, 0.5)  # Hz, against the wandering of the base line
MAINS = (50.0, 60.0)  # Hz
LOW_PASS = (40.0, 150.0)  # Hz, against muscle noise
ORDER = 2  # of a Butterworth filter that runs both ways
NOTCH = 30.0  # quality factor: 50 Hz +- 0.8
LEAD_IN = 10.0  # s on either side of a stretch, in which a filter settles


@dataclass(frozen=True)
class DisplayFilter:
    """high_pass, mains, low_pass : Hz, or None for none."""

    high_pass: float | None = 0.5
    mains: float | None = None
    low_pass: float | None = 40.0

    def __post_init__(self) -> None:
        for name, allowed in (("high_pass", HIGH_PASS), ("mains", MAINS), ("low_pass", LOW_PASS)):
            value = getattr(self, name)
            if value is not None and value not in allowed:
                raise ECGError(
                    f"{name} = {value:g} Hz; expected one of {', '.join(f'{f:g}' for f in allowed)}, or None."
                )


@dataclass(frozen=True, eq=False)
class Shown:
    """What is drawn of a record.

    ecg : what to draw;  at : s of the record at which its first sample lies
    name : in a title;  words : all that was done to it, for the line under the trace
    unit : "mV", "arbitrary units", or "SD" (of the lead)
    """

    ecg: ECG
    at: float
    name: str
    words: str
    unit: str


def as_recorded(ecg: ECG) -> Shown:
    """The samples of the file."""
    return Shown(ecg, 0.0, "raw", "raw: no filter added", _unit(ecg))


def for_display(ecg: ECG, how: DisplayFilter, start: float, stop: float) -> Shown:
    """A stretch (s) of the record, filtered without a shift in time."""
    a = max(0, int(round((start - LEAD_IN) * ecg.fs)))
    part = cut(ecg, a / ecg.fs, stop + LEAD_IN)
    said: list[str] = []
    left_out: list[str] = []
    for freq, what in ((how.high_pass, "high-pass"), (how.mains, "notch"), (how.low_pass, "low-pass")):
        if freq is not None:
            (said if freq < 0.45 * ecg.fs else left_out).append(f"{freq:g} Hz {what}")
    words = ", ".join(said) or "no filter chosen"
    if left_out:
        words += f" ({', '.join(left_out)} left out: sampled at {ecg.fs:g} Hz)"
    shown = replace(
        part,
        signal=_filtered(part.signal, ecg.fs, how),
        extra={name: _filtered(row[None], ecg.fs, how)[0] for name, row in part.extra.items()},
    )
    return Shown(shown, a / ecg.fs, "filtered for display", f"filtered for display: {words}", _unit(ecg))


def as_the_model_sees(ecg: ECG, tokens: BeatTokens) -> Shown:
    """The beat tokens in their places: nothing stands between them, and each lead is over its own SD."""
    out = np.full(
        (len(ecg.signal), int(np.ceil(ecg.duration * TOKEN_FS)) + TOKEN_SAMPLES), np.nan, np.float32
    )
    for window in split_windows(tokens):
        seen = window.tokens
        held = seen.valid[..., None] & seen.inside
        n = np.maximum(held.sum(axis=(1, 2)), 1)
        values = seen.values.astype(np.float64)
        mean = np.where(held, values, 0).sum(axis=(1, 2)) / n
        square = np.where(held, np.square(values - mean[:, None, None]), 0).sum(axis=(1, 2)) / n
        scale = np.sqrt(np.where(square > 0, square, 1.0))
        index = np.rint(seen.r_peaks * TOKEN_FS).astype(np.int64)[:, None] - TOKEN_SAMPLES // 2
        index = index + np.arange(TOKEN_SAMPLES)
        for lead in range(len(out)):
            out[lead, index[held[lead]]] = values[lead][held[lead]] / scale[lead]
    signal = out[:, : max(1, int(np.ceil(ecg.duration * TOKEN_FS)))]
    seen_ecg = replace(ecg, signal=signal, fs=TOKEN_FS, units_known=False, extra={}, truth={})
    words = (
        f"as the model sees it: {BAND[0]:g}–{BAND[1]:g} Hz at {TOKEN_FS:g} Hz, the beats' windows alone, "
        "each lead over its SD"
    )
    return Shown(seen_ecg, 0.0, SIGNALS[2], words, "SD")


def _unit(ecg: ECG) -> str:
    return "mV" if ecg.units_known else "arbitrary units"


def _filtered(signal: Array, fs: float, how: DisplayFilter) -> Array:
    """(lead, sample) filtered; absent samples stay NaN, and a lead that never moves stays as it is."""
    absent = ~np.isfinite(signal)
    filled, _ = bridge_gaps(signal, fs)
    moves = np.ptp(filled, axis=1) > 0
    out: NDArray[np.float64] = filled.astype(np.float64)
    pad = {"padtype": "even", "padlen": min(signal.shape[1] - 1, int(2 * fs))}
    top = 0.45 * fs
    if how.high_pass is not None and how.high_pass < top:
        sos = dsp.butter(ORDER, how.high_pass, "highpass", fs=fs, output="sos")
        out = dsp.sosfiltfilt(sos, out, axis=-1, **pad)
    if how.mains is not None and how.mains < top:
        b, a = dsp.iirnotch(how.mains, NOTCH, fs=fs)
        out = dsp.sosfiltfilt(dsp.tf2sos(b, a), out, axis=-1, **pad)
    if how.low_pass is not None and how.low_pass < top:
        sos = dsp.butter(ORDER, how.low_pass, "lowpass", fs=fs, output="sos")
        out = dsp.sosfiltfilt(sos, out, axis=-1, **pad)
    out = np.where(moves[:, None], out, filled)
    return np.where(absent, np.nan, out).astype(np.float32)
