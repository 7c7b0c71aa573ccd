"""Beat tokens: one beat as one lead saw it, 0.96 s around the R peak, at 100 Hz.

`tokenize_beats(ecg)` takes a record apart; nothing is dropped that `BeatTokens` does not count.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clear_hug.ecg import ECG, Array, ECGError, _read_only, bandpass, bridge_gaps, resample, window_edges
from clear_hug.leads import N_LEADS
from clear_hug.qrs import detect_qrs

TOKEN_FS = 100.0  # Hz
TOKEN_SAMPLES = 96  # 0.96 s at 100 Hz
SEGMENTS = ("P", "QRS", "ST-T")  # of a beat: before, within and after its QRS complex
BAND = (0.67, 40.0)  # Hz
EDGE_SECONDS = 0.1  # at both ends of a record a filter may leave a mark of its own
MAX_BEATS = 60  # a window of 10 s; 360 beats/min
QRS_SAMPLES = slice(28, 68)  # 0.2 s on each side of the R peak: what beats of one origin share
MIN_RESEMBLANCE = 0.5  # between the beats of a record; see `_resemblance`


class NoBeats(ECGError):
    """The record holds no beat from which a token could be cut."""


@dataclass(frozen=True, eq=False)
class BeatTokens:
    """All beats of one record, in (lead, beat) order.

    Attributes
    ----------
    values : (12, beat, 96) float32
        Band-passed 0.67-40 Hz, 100 Hz, in mV (or the record's own unit where `units_known` is
        False); the R peak at sample 48; exactly 0 outside the beat's window and where not `valid`.
    lead_scale : (12,) float32, mV
        SD over the samples of the lead's tokens; NaN for a lead without any, or of unknown units.
    r_peaks : (beat,) float64, s on the original trace
        A beat without a token in any lead keeps its place, so that no RR interval bridges it.
    windows : (beat, 2) float64, s on the original trace
        The part of the trace that the token holds: cut at the mid-points to the neighbouring R peaks.
    valid : (12, beat) bool
        False: there is no token (lead absent or flat there, samples missing).
    n_dropped : int
        R peaks found and given no token: above the ceiling, or without any usable lead.
    units_known : bool
    duration : float, s
        Of the record.
    digest, record_id : of the ECG they came from
    """

    values: Array
    lead_scale: Array
    r_peaks: NDArray[np.float64]
    windows: NDArray[np.float64]
    valid: NDArray[np.bool_]
    n_dropped: int = 0
    units_known: bool = True
    duration: float = 10.0
    digest: str = ""
    record_id: str = ""

    def __post_init__(self) -> None:
        beats = self.values.shape[1] if self.values.ndim == 3 else -1
        expected = {
            "values": (N_LEADS, beats, TOKEN_SAMPLES),
            "lead_scale": (N_LEADS,),
            "r_peaks": (beats,),
            "windows": (beats, 2),
            "valid": (N_LEADS, beats),
        }
        for name, shape in expected.items():
            array = getattr(self, name)
            if array.shape != shape:
                raise ECGError(f"{name} has shape {array.shape}; expected {shape}.")
            object.__setattr__(self, name, _read_only(array))

    @property
    def n_beats(self) -> int:
        return int(self.r_peaks.size)

    @cached_property
    def bounds(self) -> NDArray[np.int64]:
        """(beat, 2) first and one-past-last sample of each token that lies in the beat's window."""
        centre = np.rint(self.r_peaks * TOKEN_FS)[:, None]
        edges = np.rint(self.windows * TOKEN_FS) - centre + TOKEN_SAMPLES // 2
        return np.clip(edges, 0, TOKEN_SAMPLES).astype(np.int64)

    @cached_property
    def inside(self) -> NDArray[np.bool_]:
        """(beat, 96) True for the samples of the beat's window."""
        axis = np.arange(TOKEN_SAMPLES)
        return (axis >= self.bounds[:, :1]) & (axis < self.bounds[:, 1:])

    @cached_property
    def rr(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """RR interval (s) before and after each beat; NaN at the ends of the record."""
        gaps = np.diff(self.r_peaks)
        return np.concatenate([[np.nan], gaps]), np.concatenate([gaps, [np.nan]])

    @property
    def present(self) -> NDArray[np.bool_]:
        """(12,) True where a lead has at least one token."""
        there: NDArray[np.bool_] = np.any(self.valid, axis=1)
        return there

    @property
    def uncovered(self) -> float:
        """Seconds of the record that no token holds (before, after and between the windows)."""
        covered = np.diff(self.windows, axis=1)[self.valid.any(axis=0)].sum()
        return max(0.0, float(self.duration - covered))

    @property
    def heart_rate(self) -> float:
        """Beats/min from the median RR interval, of which a checkpoint stores limits; NaN below two beats.

        What is shown is the mean rate (`ecg.mean_rate`).
        """
        return 60.0 / float(np.median(np.diff(self.r_peaks))) if self.n_beats > 1 else float("nan")


def _scale(values: Array, valid: NDArray[np.bool_], n_inside: NDArray[np.int64]) -> Array:
    """(12,) SD over the samples that the valid tokens of each lead hold; NaN without any."""
    n = (valid * n_inside).sum(axis=1).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        total = (values * valid[..., None]).sum(axis=(1, 2), dtype=np.float64)
        square = (np.square(values, dtype=np.float64) * valid[..., None]).sum(axis=(1, 2))
        scale = np.sqrt(np.maximum(square / n - (total / n) ** 2, 0))
    return np.where(n > 0, scale, np.nan).astype(np.float32)


def condition(signal: Array, fs: float) -> Array:
    """(12, sample) finite, at fs -> the 100 Hz, 0.67-40 Hz trace that tokens are cut from."""
    return bandpass(resample(signal, fs, TOKEN_FS), TOKEN_FS, *BAND).astype(np.float32)


def tokenize_beats(
    ecg: ECG,
    method: str = "clear",
    r_peaks: NDArray[np.float64] | None = None,
    max_beats: int = MAX_BEATS,
) -> BeatTokens:
    """Cut a record into beat tokens.

    Parameters
    ----------
    ecg : ECG
    method : a key of `clear_hug.qrs.DETECTORS`
    r_peaks : (beat,) s, instead of a detector's
    max_beats : ceiling a 10 s window; what lies above is counted in `n_dropped`

    Raises
    ------
    NoBeats : no R peak, no lead with a signal at any of them, or marks of a detector that do not
        resemble one another in any lead

    Source: Pan et al., AAAI 2026 (arXiv 2512.24002), with every beat kept.
    """
    return tokens_and_trace(ecg, method, r_peaks, max_beats)[0]


def tokens_and_trace(
    ecg: ECG,
    method: str = "clear",
    r_peaks: NDArray[np.float64] | None = None,
    max_beats: int = MAX_BEATS,
) -> tuple[BeatTokens, Array]:
    """As `tokenize_beats`, and the conditioned (12, sample) trace that the tokens were cut from."""
    name = ecg.record_id or "the record"
    if not ecg.present.any():
        raise NoBeats(f"{name} holds no signal: all twelve leads are absent.")
    if r_peaks is None:
        found = detect_qrs(ecg.signal, ecg.fs, method) / ecg.fs
        if (np.minimum(found, ecg.duration - found) < EDGE_SECONDS).all():
            found = found[:0]  # where a filter begins and ends, and nowhere between: no beats
    else:
        found = np.unique(np.asarray(r_peaks, dtype=np.float64))
        if found.size and not (0 <= found[0] and found[-1] <= ecg.duration):
            span = f"{found[0]:.2f} to {found[-1]:.2f} s"
            raise ECGError(f"R peaks lie from {span}; the record is {ecg.duration:.2f} s long.")
    if not found.size and r_peaks is not None:
        raise NoBeats(f"no R peak is left in {name}: add one, or go back to the detector's.")
    if not found.size:
        raise NoBeats(
            f"no QRS complex was found in {name} ({ecg.duration:.1f} s): "
            "is it an ECG, in the right unit, with its electrodes on?"
        )
    kept = _under_ceiling(found, ecg.duration, max_beats)

    filled, absent = bridge_gaps(ecg.signal, ecg.fs)
    trace = condition(filled, ecg.fs)
    n = trace.shape[1]

    # windows: 0.96 s around R, cut at the mid-points and where the signal ends (100 Hz grid)
    recorded = np.flatnonzero(~absent[ecg.present].all(axis=0)) / ecg.fs * TOKEN_FS
    first, last = int(np.ceil(recorded[0])), min(n, int(recorded[-1]) + 1)
    centre = np.clip(np.rint(kept * TOKEN_FS).astype(np.int64), first, last - 1)
    middle = (centre[1:] + centre[:-1] + 1) // 2
    start = np.maximum(centre - TOKEN_SAMPLES // 2, np.concatenate([[first], middle]))
    stop = np.minimum(centre + TOKEN_SAMPLES // 2, np.concatenate([middle, [last]]))

    spans = np.stack([start, stop], axis=1)
    valid = _has_signal(filled, absent, start / TOKEN_FS, stop / TOKEN_FS, ecg.fs) & ecg.present[:, None]
    some = valid.any(axis=0)
    if not some.any():
        raise NoBeats(f"{name} has R peaks but no lead with a signal at any of them.")
    tokens = cut_tokens(
        trace,
        kept,
        spans / TOKEN_FS,
        valid,
        n_dropped=int(found.size - some.sum()),
        units_known=ecg.units_known,
        duration=ecg.duration,
        digest=ecg.digest,
        record_id=ecg.record_id,
    )
    if r_peaks is None and _resemblance(tokens) < MIN_RESEMBLANCE:
        raise NoBeats(
            f"the {tokens.n_beats} marks found in {name} do not resemble one another: noise, not beats? "
            "If they are beats, give their R peaks."
        )
    return tokens, trace


def cut_tokens(
    trace: Array,
    r_peaks: NDArray[np.float64],
    windows: NDArray[np.float64],
    valid: NDArray[np.bool_],
    units_known: bool,
    **fields: Any,
) -> BeatTokens:
    """Tokens from a conditioned trace and what is known of its beats.

    Parameters
    ----------
    trace : (12, sample) band-passed, 100 Hz
    r_peaks, windows, valid, units_known, **fields : as `BeatTokens` has them

    """
    centre = np.rint(r_peaks * TOKEN_FS).astype(np.int64)
    spans = np.rint(windows * TOKEN_FS).astype(np.int64)
    index = centre[:, None] - TOKEN_SAMPLES // 2 + np.arange(TOKEN_SAMPLES)
    inside = (index >= spans[:, :1]) & (index < spans[:, 1:])
    values = trace[:, np.clip(index, 0, trace.shape[1] - 1)]
    values = np.where(valid[..., None] & inside, values, np.float32(0))
    scale = _scale(values, valid, inside.sum(axis=1))
    if not units_known:
        scale = np.full_like(scale, np.nan)
    return BeatTokens(values, scale, r_peaks, windows, valid, units_known=units_known, **fields)


def _resemblance(tokens: BeatTokens) -> float:
    """How alike the beats are in the lead where they are most alike; NaN below three tokens in each lead.

    Each beat is correlated with every other of its lead and keeps the upper quartile (in bigeminy half
    of them are of its kind); the lead's value is the median over its beats.
    """
    some = np.unique(np.linspace(0, tokens.n_beats - 1, MAX_BEATS).astype(np.int64))  # of a long record
    valid = tokens.valid[:, some]
    leads = valid.sum(axis=1) >= 3
    if not leads.any():
        return float("nan")
    qrs, valid = tokens.values[leads][:, some, QRS_SAMPLES].astype(np.float64), valid[leads]
    qrs -= qrs.mean(axis=-1, keepdims=True)
    qrs /= np.maximum(np.linalg.norm(qrs, axis=-1, keepdims=True), np.finfo(np.float64).tiny)
    alike = qrs @ qrs.swapaxes(1, 2)
    alike[~(valid[:, :, None] & valid[:, None]) | np.eye(some.size, dtype=bool)] = np.nan
    alike.sort(axis=2)  # NaN stands last
    n = valid.sum(axis=1)
    quartile = np.rint(0.75 * (n - 2)).astype(np.int64)
    kin = np.sort(np.take_along_axis(alike, quartile[:, None, None], axis=2)[..., 0], axis=1)
    return float(np.take_along_axis(kin, n[:, None] // 2, axis=1).max())


def _under_ceiling(r_peaks: NDArray[np.float64], duration: float, most: int) -> NDArray[np.float64]:
    edges = window_edges(duration)
    window = np.clip(np.searchsorted(edges, r_peaks, side="right") - 1, 0, edges.size - 2)
    first = np.searchsorted(window, window)  # index of each window's first beat
    return r_peaks[np.arange(r_peaks.size) - first < most]


def _has_signal(
    filled: Array, absent: NDArray[np.bool_], start: NDArray[np.float64], stop: NDArray[np.float64], fs: float
) -> NDArray[np.bool_]:
    """(12, beat) True where no sample of the window is absent and the raw trace moves at all."""
    moves = np.zeros(filled.shape, dtype=np.int32)
    np.cumsum(filled[:, 1:] != filled[:, :-1], axis=1, out=moves[:, 1:])
    a = np.clip(np.rint(start * fs).astype(np.int64), 0, filled.shape[1] - 1)
    b = np.clip(np.rint(stop * fs).astype(np.int64) - 1, a, filled.shape[1] - 1)
    there = moves[:, b] > moves[:, a]
    if absent.any():
        gone = np.zeros((filled.shape[0], filled.shape[1] + 1), dtype=np.int32)
        np.cumsum(absent, axis=1, out=gone[:, 1:])
        there &= gone[:, b + 1] == gone[:, a]
    return there


class Window(NamedTuple):
    """A stretch of a record that the model reads at once.

    tokens : its beats, R peaks and windows still in s on the original trace
    beats : (beat,) their rows in the whole record's tokens;  start, stop : s
    """

    tokens: BeatTokens
    beats: NDArray[np.int64]
    start: float
    stop: float


def split_windows(tokens: BeatTokens) -> list[Window]:
    """The windows of at most 10 s that hold a token; a record of one window comes back as it is."""
    edges = window_edges(tokens.duration)
    if edges.size == 2:
        return [Window(tokens, np.arange(tokens.n_beats), 0.0, tokens.duration)]
    return [
        Window(select_beats(tokens, beats), beats, float(edges[w]), float(edges[w + 1]))
        for w, beats in windows_of(tokens.r_peaks, tokens.valid, edges)
    ]


def windows_of(
    r_peaks: NDArray[np.float64], valid: NDArray[np.bool_], edges: NDArray[np.float64]
) -> list[tuple[int, NDArray[np.int64]]]:
    """Which windows between `edges` (s) hold a token, and the rows of each one's beats.

    r_peaks : (beat,) s;  valid : (12, beat) there is a token
    """
    window = np.clip(np.searchsorted(edges, r_peaks, side="right") - 1, 0, edges.size - 2)
    held = window[np.any(valid, axis=0)]
    told = np.unique(held if held.size else window)
    return [(int(w), np.flatnonzero(window == w)) for w in told]


def select_beats(tokens: BeatTokens, beats: NDArray[np.int64]) -> BeatTokens:
    """The tokens of some beats (rows, in order), with the lead scale taken anew."""
    values, valid = tokens.values[:, beats], tokens.valid[:, beats]
    scale = _scale(values, valid, tokens.inside[beats].sum(axis=1))
    return replace(
        tokens,
        values=values,
        valid=valid,
        lead_scale=scale if tokens.units_known else np.full_like(scale, np.nan),
        r_peaks=tokens.r_peaks[beats],
        windows=tokens.windows[beats],
    )
