"""The ECG value: twelve leads in millivolt on one time axis, and what may be done to it.

An absent lead, or an absent sample, is NaN; nothing in this package invents a signal to stand in
for it. `units_known=False` says that the shape is real and the voltage is not.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import signal as dsp

from clear_hug.leads import EXTRA_LEADS, LEADS, N_LEADS, canonical_lead

Array = NDArray[np.float32]

WINDOW_SECONDS = 10.0  # what the model reads at a time
BRIDGE_SECONDS = 0.02  # a gap no longer than this is bridged by a straight line
BEYOND = 1e12  # in no unit does a heart reach it, and a filter over such values gives no number
MIN_FS, MAX_FS = 50.0, 20_000.0  # Hz; outside this a file does not hold a diagnostic ECG


STORED: Mapping[str, str] = {
    "heart_rate": "/min", "p_duration": "ms", "pr": "ms", "qrs": "ms", "qt": "ms", "qtc": "ms",
    "p_axis": "°", "qrs_axis": "°", "t_axis": "°",
}  # fmt: skip
"""What `ECG.stored` may hold -> its unit."""


WRONG_GAIN = "wrong unit or gain in the file"
"""What a warning says where a voltage may not be what the file makes of it; see `ECG.voltage_doubts`."""


class ECGError(ValueError):
    """An ECG that cannot be used, in a sentence that names the value and the way out."""


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    array = np.ascontiguousarray(array)
    if array.flags.writeable:
        array = array.view()
        array.flags.writeable = False
    return array


def _own(values: Any) -> Array:
    """(...) float32, read-only; a copy where somebody could still write into it, or a digest goes stale."""
    array = np.asarray(values, dtype=np.float32)
    return _read_only(array.copy() if array.flags.writeable else array)


def _stored(values: Mapping[str, float]) -> dict[str, float]:
    """The device's measurements by name, in the order of `STORED`."""
    if unknown := set(values) - set(STORED):
        raise ECGError(f"no measurement is named {min(unknown)!r}; expected one of {', '.join(STORED)}.")
    return {name: float(values[name]) for name in STORED if name in values}


def freeze(value: Any) -> None:
    """Make the arrays of a frozen dataclass read-only: a cached value is shared by all its users."""
    for name, array in vars(value).items():
        if isinstance(array, np.ndarray):
            object.__setattr__(value, name, _read_only(array))


@dataclass(frozen=True, eq=False)
class ECG:
    """One recording.

    Attributes
    ----------
    signal : (12, sample) float32, mV
        Rows in the order of `LEADS`; NaN where a lead or a sample is absent, infinite, or
        beyond any unit (`BEYOND`). Read-only.
    fs : float, Hz
    record_id : str
        A name for people; never a patient's.
    units_known : bool
        False: arbitrary units, from which no voltage is to be read.
    derived : tuple of lead names
        Limb leads computed from two others (Einthoven, Goldberger), not recorded.
    extra : lead name -> (sample,) float32, mV
        Leads beyond the twelve: shown, never fed to the model.
    warnings : tuple of sentences
        What was found odd while reading, for the page to say.
    source : str
        The format the record came from, in words.
    age : years or None;  sex : "F", "M" or None
    stored : name -> value
        What the device itself measured and wrote into the file, for the names in `STORED`.
    device, filters : str
        What recorded it, and the filters that had been applied, in words; "" where the file does not say.
    guessed : tuple of "fs", "unit", "leads", "orientation", "record"
        What the file did not say and its reader guessed; the reasons are among `warnings`.
    simulated : bool
        Made by code, not by a heart.
    truth : mapping
        For a simulated record: what was planted ("beats", "leads", "r_peaks" in s, ...).
    """

    signal: Array
    fs: float
    record_id: str = ""
    units_known: bool = True
    derived: tuple[str, ...] = ()
    extra: Mapping[str, Array] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    source: str = ""
    age: float | None = None
    sex: str | None = None
    stored: Mapping[str, float] = field(default_factory=dict)
    device: str = ""
    filters: str = ""
    guessed: tuple[str, ...] = ()
    simulated: bool = False
    truth: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        signal = np.asarray(self.signal, dtype=np.float32)
        if signal.ndim != 2 or signal.shape[0] != N_LEADS:
            raise ECGError(
                f"signal has shape {signal.shape}; expected (12, sample) in the order {', '.join(LEADS)}. "
                "Use ecg_from_leads() for other leads or another order."
            )
        if signal.shape[1] == 0:
            raise ECGError("the record holds no sample.")
        if not MIN_FS <= self.fs <= MAX_FS:
            raise ECGError(f"fs = {self.fs:g} Hz; expected {MIN_FS:g} to {MAX_FS:g} Hz.")
        if (beyond := np.abs(signal) > BEYOND).any():
            signal = np.where(beyond, np.float32(np.nan), signal)
        object.__setattr__(self, "signal", _own(signal))
        object.__setattr__(self, "fs", float(self.fs))
        extra = {k: _own(v) for k, v in self.extra.items()}
        object.__setattr__(self, "extra", extra)
        object.__setattr__(self, "stored", _stored(self.stored))

    @property
    def n_samples(self) -> int:
        return int(self.signal.shape[1])

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.n_samples / self.fs

    @cached_property
    def present(self) -> NDArray[np.bool_]:
        """(12,) True where the lead has at least one sample."""
        there: NDArray[np.bool_] = np.any(np.isfinite(self.signal), axis=1)
        return there

    @property
    def absent_leads(self) -> tuple[str, ...]:
        return tuple(lead for lead, there in zip(LEADS, self.present, strict=True) if not there)

    @cached_property
    def flat(self) -> NDArray[np.bool_]:
        """(12,) True where a lead is there and never moves: an electrode off, not a heart."""
        low, high = np.fmin.reduce(self.signal, axis=1), np.fmax.reduce(self.signal, axis=1)
        return self.present & (high - low <= 0)

    @property
    def voltage_doubts(self) -> tuple[str, ...]:
        """The warnings that doubt the unit or the gain."""
        return tuple(said for said in self.warnings if WRONG_GAIN in said)

    @cached_property
    def digest(self) -> str:
        """sha256 of all that the record holds: the key of every cache."""
        h = hashlib.sha256()
        head = (self.record_id, self.units_known, self.derived, self.warnings, self.source,
                self.age, self.sex, self.simulated, sorted(self.extra),
                sorted(self.stored.items()), self.device, self.filters, self.guessed)  # fmt: skip
        h.update(repr(head).encode())
        h.update(struct.pack("<dq", self.fs, self.n_samples))
        h.update(self.signal.data)
        for name in sorted(self.extra):
            h.update(self.extra[name].tobytes())
        return h.hexdigest()


def ecg_from_leads(leads: Mapping[str, ArrayLike], fs: float, **fields: Any) -> ECG:
    """An ECG from named leads, in any order, under any of their usual names.

    Missing limb leads are derived where two are there (and marked); other missing leads are NaN.

    Parameters
    ----------
    leads : name -> (sample,) in mV
    fs : Hz
    **fields : any other field of `ECG`

    Raises
    ------
    ECGError : an unknown or repeated lead, leads of different lengths, no standard lead at all
    """
    rows: dict[str, Array] = {}
    for name, values in leads.items():
        lead = canonical_lead(name)
        where = f" in {fields['record_id']}" if fields.get("record_id") else ""
        if lead is None:
            raise ECGError(
                f"unknown lead {name!r}{where}; expected {', '.join(LEADS)} or {', '.join(EXTRA_LEADS)}."
            )
        if lead in rows:
            raise ECGError(f"lead {lead} stands twice{where}; keep one of the two.")
        rows[lead] = np.asarray(values, dtype=np.float32).ravel()
    lengths = {lead: row.size for lead, row in rows.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{lead} {n:,}" for lead, n in lengths.items())
        raise ECGError(
            f"leads differ in length{where} ({said} samples); export them over the same stretch, with empty "
            "cells or NaN where one was not recorded."
        )
    if not any(lead in rows for lead in LEADS):
        raise ECGError(f"none of the twelve leads is in the record (found: {', '.join(rows) or 'nothing'}).")
    n = next(iter(lengths.values()))
    signal = np.full((N_LEADS, n), np.nan, dtype=np.float32)
    for i, lead in enumerate(LEADS):
        if lead in rows:
            signal[i] = rows[lead]
    signal, derived = derive_limb_leads(signal)
    extra = {lead: row for lead, row in rows.items() if lead not in LEADS}
    return ECG(signal, fs, derived=derived, extra=extra, **fields)


_LIMB_FROM_I_II = np.array(
    [[1, 0], [0, 1], [-1, 1], [-0.5, -0.5], [1, -0.5], [-0.5, 1]], dtype=np.float64
)  # I, II, III, aVR, aVL, aVF as multiples of (I, II)


def derive_limb_leads(signal: Array) -> tuple[Array, tuple[str, ...]]:
    """Fill absent limb leads from any two that move (Einthoven's and Goldberger's identities).

    A lead that never moves is an electrode off: what were computed from it would look like a heart.

    Parameters
    ----------
    signal : (12, sample); absent leads are NaN

    Returns
    -------
    signal : (12, sample) with the derivable limb leads filled; derived : their names
    """
    known = np.isfinite(signal[:6])
    there = known.any(axis=1)
    if there.all():
        return signal, ()
    high, low = (np.where(known, signal[:6], end) for end in (-np.inf, np.inf))
    moves = high.max(axis=1) > low.min(axis=1)
    if moves.sum() < 2:
        return signal, ()
    rows = np.flatnonzero(moves)[:2]
    if np.linalg.matrix_rank(_LIMB_FROM_I_II[rows]) < 2:  # never for two of the six
        return signal, ()
    basis = np.linalg.inv(_LIMB_FROM_I_II[rows]) @ signal[rows].astype(np.float64)
    out = signal.copy()
    missing = np.flatnonzero(~there)
    out[missing] = (_LIMB_FROM_I_II[missing] @ basis).astype(np.float32)
    return out, tuple(LEADS[i] for i in missing)


def bridge_gaps(signal: NDArray[Any], fs: float) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Straight lines over absent samples, and which samples are still to be called absent.

    Gaps up to `BRIDGE_SECONDS` count as there afterwards. Longer ones are bridged only so that a
    filter can run over them; the returned mask says where.

    Returns
    -------
    filled : (lead, sample), finite wherever the lead has any sample, else 0
    absent : (lead, sample) bool
    """
    missing = ~np.isfinite(signal)
    if not missing.any():
        return signal, missing
    filled = signal.copy()
    absent = missing.copy()
    longest = int(round(BRIDGE_SECONDS * fs))
    axis = np.arange(signal.shape[1])
    for row in np.flatnonzero(missing.any(axis=1)):
        gap = missing[row]
        if gap.all():
            filled[row] = 0
            continue
        filled[row, gap] = np.interp(axis[gap], axis[~gap], signal[row, ~gap])
        edges = np.flatnonzero(np.diff(np.concatenate([[0], gap.view(np.int8), [0]])))
        for start, stop in edges.reshape(-1, 2):
            if stop - start <= longest:
                absent[row, start:stop] = False
    return filled, absent


def over_gaps(absent: ArrayLike, fs: float, r_peaks: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(interval,) whether a beat may be missing between two R peaks (s): (sample,) no lead is there."""
    lost = np.cumsum(np.asarray(absent, dtype=bool))
    at = np.clip(np.rint(r_peaks * fs).astype(np.int64), 0, lost.size - 1)
    return np.asarray(np.diff(lost[at]) > 0)


def gaps_between(ecg: ECG, r_peaks: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(interval,) whether a stretch without a sample in any lead lies between two R peaks (s)."""
    _, absent = bridge_gaps(ecg.signal, ecg.fs)
    return over_gaps(absent.all(axis=0), ecg.fs, r_peaks)


def mean_rate(r_peaks: NDArray[np.float64], over: ArrayLike = False) -> float:
    """Beats/min of the mean RR interval, as devices print it; NaN without an interval.

    Parameters
    ----------
    r_peaks : (beat,) s
    over : (interval,) bool, those that span a gap and are left out
    """
    gaps = np.diff(r_peaks)
    gaps = gaps[~np.broadcast_to(np.asarray(over, dtype=bool), gaps.shape)]
    return 60.0 / float(gaps.mean()) if gaps.size else float("nan")


def resample(signal: NDArray[Any], fs: float, to: float) -> NDArray[Any]:
    """Polyphase resampling along the last axis, anti-aliased; `signal` must be finite.

    The ratio is a fraction near enough for the last sample to lie within a tenth of one of its time.
    """
    if fs == to:
        return signal
    exact = Fraction(to) / Fraction(fs)
    n = signal.shape[-1]
    # A small denominator means a short filter; no standard rate needs more than the first.
    limits = (1000, 10_000, 100_000, 1_000_000)
    ratios = (exact.limit_denominator(limit) for limit in limits)
    ratio = next((r for r in ratios if abs(r - exact) * n <= 0.1), exact.limit_denominator(limits[-1]))
    if ratio == 1:  # so near that no sample moves by a tenth of one
        return signal.copy()
    fir = _anti_alias(max(ratio.numerator, ratio.denominator)).astype(signal.dtype)
    if ratio.numerator == 1:
        return _decimate(signal, ratio.denominator, fir)
    return dsp.resample_poly(signal, ratio.numerator, ratio.denominator, axis=-1, window=fir, padtype="line")


@lru_cache(maxsize=8)  # a file may name any rate, and an odd one has many taps
def _anti_alias(factor: int) -> NDArray[np.float64]:
    """The taps that `resample_poly` would design anew for each record."""
    fir: NDArray[np.float64] = dsp.firwin(20 * factor + 1, 1 / factor, window=("kaiser", 5.0))
    return fir


def _decimate(signal: NDArray[Any], factor: int, fir: NDArray[Any]) -> NDArray[Any]:
    """What `resample_poly(signal, 1, factor, padtype="line")` gives, bit for bit, in half of its time.

    Tap after tap is added for all samples at once. Straight lines go on beyond the first and last sample.
    """
    n, half = signal.shape[-1], fir.size // 2
    kept = math.ceil(n / factor)
    blocks = math.ceil((n + 2 * half) / factor)
    first, last = signal[..., :1], signal[..., -1:]
    beyond = (last - first) / max(1, n - 1) * np.arange(1, blocks * factor - n - half + 1, dtype=fir.dtype)
    padded = np.concatenate([first - beyond[..., half - 1 :: -1], signal, last + beyond], axis=-1)
    phases = np.moveaxis(padded.reshape(*signal.shape[:-1], blocks, factor), -1, 0).copy()
    out = np.zeros((*signal.shape[:-1], kept), signal.dtype)
    one = np.empty_like(out)
    for i, tap in enumerate(fir):
        block, phase = divmod(i, factor)
        out += np.multiply(phases[phase][..., block : block + kept], tap, out=one)
    return out


def bandpass(signal: NDArray[Any], fs: float, low: float, high: float, order: int = 2) -> NDArray[Any]:
    """Zero-phase Butterworth band-pass along the last axis; `signal` must be finite."""
    # As scipy.signal.sosfiltfilt does with padtype="even", which finds the settled state anew each time.
    n = signal.shape[-1]
    pad = min(n - 1, int(round(2 * fs)))
    sos, settled = _butter(order, low, high, fs, signal.ndim)
    trace = np.concatenate([signal[..., pad:0:-1], signal, signal[..., -2 : -pad - 2 : -1]], axis=-1)
    for _ in range(2):  # there and back
        trace = dsp.sosfilt(sos, trace, axis=-1, zi=settled * trace[..., :1])[0][..., ::-1]
    return trace[..., pad : pad + n]


@lru_cache(maxsize=32)
def _butter(order: int, low: float, high: float, fs: float, ndim: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """The sections of the filter, and their state after ones without end, for signals of `ndim` axes."""
    sos: NDArray[Any] = (
        dsp.butter(order, (low, high), "bandpass", fs=fs, output="sos")
        if high < fs / 2
        else dsp.butter(order, low, "highpass", fs=fs, output="sos")
    )
    return sos, dsp.sosfilt_zi(sos).reshape(-1, *[1] * (ndim - 1), 2)


def cut(ecg: ECG, start: float, stop: float) -> ECG:
    """The stretch from `start` to `stop` (s) as an ECG of its own."""
    a, b = (max(0, int(round(edge * ecg.fs))) for edge in (start, stop))
    return replace(ecg, signal=ecg.signal[:, a:b], extra={k: v[a:b] for k, v in ecg.extra.items()}, truth={})


def window_edges(duration: float, seconds: float = WINDOW_SECONDS) -> NDArray[np.float64]:
    """Edges (window + 1,) in s of the equal stretches a record is read in.

    A record of up to `seconds` (and half a second of grace) is one window; a longer one is cut into
    the fewest equal windows of that length, so that every second is read exactly once.
    """
    n = max(1, int(np.ceil((duration - 0.5) / seconds)))
    return np.linspace(0.0, duration, n + 1)


def clock(seconds: float) -> str:
    """Seconds into a record as hours, minutes and seconds: "03:12:00"."""
    whole = round(seconds)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"
