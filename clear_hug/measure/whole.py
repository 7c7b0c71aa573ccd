"""measure(ecg) -> Measurements: the values of a whole ECG, told from its median beat.

Beats of the most frequent kind are aligned and their median taken in every lead; premature beats and beats of
another shape stay out. P, QRS and T have one onset and one offset in all leads together (`edges`). Of a long
record one stretch is measured.

References
----------
Kligfield P, Gettes LS, Bailey JJ, et al. Recommendations for the standardization and interpretation of the
electrocardiogram, part I. Circulation 2007; 115:1306-1324 (median beat, global intervals).
Rautaharju PM, Surawicz B, Gettes LS. AHA/ACCF/HRS recommendations ..., part IV. Circulation 2009;
119:e241-e250 (QT in all leads, its correction, and when it is not to be corrected).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from clear_hug.beats import MIN_RESEMBLANCE
from clear_hug.ecg import ECG, ECGError, bridge_gaps, cut, mean_rate, over_gaps, resample, window_edges
from clear_hug.leads import LEADS
from clear_hug.measure.beats import premature_beats
from clear_hug.measure.edges import (
    NONE,
    P_FARTHEST,
    P_LONGEST,
    P_REACH,
    Waves,
    above_line,
    p_edges,
    p_window,
    qrs_edges,
    t_edges,
)
from clear_hug.measure.median import SHAPE, WORK_FS, Beats, dominant_beats, level, median
from clear_hug.measure.pacing import MIN_FS as PACING_FS
from clear_hug.measure.pacing import pacing_spikes, without_spikes
from clear_hug.measure.values import NAN, Bools, Floats, Measurements, MedianBeat
from clear_hug.qrs import detect_qrs

LONGEST = 15.0  # s; of a longer record one stretch of about 10 s is measured
ENOUGH_BEATS = 4  # in the stretch of a long record
MOST_STRETCHES = 30  # that are looked at
PACING_MAX_FS = 1000.0  # Hz; a finer record tells no more of a spike
QRS_NEAR = 0.08  # s on each side of the R peak, in which a lead's span is told
LOW_LEAD = 0.2  # of the usual lead's span; a lower lead counts less
USABLE = 0.5  # of the stretch, at least, that a lead holds, and of the beats in which it moves
TACHYCARDIA = 100  # beats/min
MANY_OTHER = 0.25  # of the beats; in a tachycardia with more of another shape nothing is the usual rhythm
IRREGULAR = 0.08  # SD of the RR intervals over their mean, from which a rhythm is irregular
P_ALIKE = 0.5  # correlation with the median P wave in all leads, from which a beat has one
COMES_AGAIN_P, COMES_AGAIN_T = 0.75, 0.6  # correlation of a wave between the odd and the even beats
WIDE_QRS = 120.0  # ms
J_LEVEL = (0.0, 0.008)  # s after the offset of QRS: readers put the J point there (`benchmarks.measure_ludb`)
ST_LEVEL = (0.056, 0.064)  # s after the offset of QRS
REFERENCE = (-0.016, -0.002)  # s from the onset of QRS: the level that amplitudes are told from
LEAST_WAVE = 0.02  # mV; a lower deflection is no R or S
LEAST_FALL = 0.05  # of the lead's span in QRS; what falls less after its top is a hump on the way to ST, no R
NET = 0.05  # of all that lies above and below the line in I and aVF; with less net of it a wave has no axis
AVF_IN_UNITS_OF_I = 2 / np.sqrt(3)  # an augmented lead is the shorter projection

AVL, V1, V3, V5, V6 = (LEADS.index(lead) for lead in ("aVL", "V1", "V3", "V5", "V6"))
INTERVALS = ("heart_rate", "rr", "rr_sd", "rmssd", "regular")
OF_THE_BEAT = ("p", "pr", "qrs", "qt", "qtc_bazett", "qtc_fridericia", "qtc_framingham", "qtc_hodges",
               "p_axis", "qrs_axis", "t_axis", "r_amplitude", "s_amplitude", "st_j", "st", "sokolow_lyon",
               "cornell", "pacing_spikes")  # fmt: skip
QTCS = OF_THE_BEAT[4:8]
NO_P = "No P wave was found: what precedes QRS differs from beat to beat."
P_BEGAN = "P begins within the T wave before it, or earlier than can be measured."
P_LONG = f"What precedes QRS lasts longer than {1000 * P_LONGEST:.0f} ms: P is not told from what adjoins it."
P_IN_T = "The T wave has not ended before the next QRS: a P wave is not told from it."
P_UNMEASURED = (P_BEGAN, P_LONG, P_IN_T)  # a P wave may well be there


def measure(ecg: ECG, r_peaks: Floats | None = None) -> Measurements:
    """Measure one ECG.

    Parameters
    ----------
    ecg : ECG
    r_peaks : (beat,) s, instead of the detector's

    Returns
    -------
    Measurements : of a record without beats every value is absent, with the reason; nothing is raised

    Raises
    ------
    ECGError : `r_peaks` that lie outside the record
    """
    given = None
    if r_peaks is not None:
        given = np.unique(np.asarray(r_peaks, dtype=np.float64))
        if not np.isfinite(given).all() or (given.size and not 0 <= given[0] <= given[-1] <= ecg.duration):
            raise ECGError(f"R peaks must lie within the record, from 0 to {ecg.duration:.2f} s.")
    piece, peaks, start = _stretch(ecg, given)
    span = (start, start + piece.duration)
    usable, reasons = _usable(piece, peaks)
    if not usable.any():
        return _nothing("No lead holds a signal that moves.", reasons, span)
    if not len(peaks):
        return _nothing("No QRS complex was found.", reasons, span)

    filled, absent = bridge_gaps(piece.signal.astype(np.float64), piece.fs)
    filled, absent = filled[usable], absent[usable]
    spikes = _spikes(filled, piece.fs, peaks)
    if piece.fs < PACING_FS:
        reasons["pacing_spikes"] = (
            f"Not looked for: at {piece.fs:g} Hz a spike of 1 or 2 ms falls between the samples; "
            f"{PACING_FS:g} Hz are needed."
        )
    signal = resample(without_spikes(filled, piece.fs, spikes), piece.fs, WORK_FS)
    signal = level(signal, WORK_FS, peaks)
    heights = _heights(signal, peaks)
    signal /= heights  # so that no tall lead decides alone, whatever its gain
    if absent.any():
        at = np.minimum(np.rint(np.arange(signal.shape[1]) * piece.fs / WORK_FS), piece.n_samples - 1)
        signal[absent[:, at.astype(np.int64)]] = np.nan
    beats = dominant_beats(signal, WORK_FS, peaks, premature_beats(peaks))
    if given is None and len(peaks) > 2 and np.median(beats.likeness) < MIN_RESEMBLANCE:
        return _nothing(
            f"The {len(peaks)} marks that were found do not resemble one another: noise, not beats?",
            reasons,
            span,
        )
    if not beats.dominant.any():
        return _nothing("No beat stands where a lead moves.", reasons, span)
    values: dict[str, Any] = {"span": span, "pacing_spikes": start + spikes}
    values |= _kinds(beats, piece.duration, premature_beats(peaks))
    seen = ~over_gaps(~np.isfinite(signal).any(axis=0), WORK_FS, beats.r_peaks)
    values |= _rhythm(beats, peaks, seen, values["n_other"], reasons)
    whole, zero = _whole(median(beats.values), beats.zero)
    rr = float(np.median(np.diff(beats.r_peaks)[seen])) if seen.any() else 1.0  # of a usual beat
    waves = _waves(whole, zero, beats, rr, spikes, reasons)
    values["n_usual"] = int(beats.dominant.sum())
    values["n_with_p"] = _with_p(whole, zero, beats, waves.p)
    values |= _intervals(waves, values["rr"], reasons)
    without_p = np.isnan(values["p"]) and reasons["p"] not in P_UNMEASURED
    values["irregular_without_p"] = bool(values["regular"] is False and without_p)
    values["qtc_doubt"] = _doubt(values, reasons)

    twelve = np.full((len(LEADS), whole.shape[1]), np.nan)
    twelve[usable] = whole * heights
    reference = _reference(twelve, zero, waves.qrs[0])
    twelve -= reference[:, None]
    values |= _axes(twelve, zero, waves, ecg.units_known, reasons)
    values |= _amplitudes(twelve, zero, waves.qrs, ecg.units_known, reasons)
    values["median"] = MedianBeat(
        twelve, WORK_FS, zero, start + beats.r_peaks, beats.dominant, waves.p, waves.qrs, waves.t
    )
    return Measurements(**values, reasons=reasons)


def _nothing(why: str, reasons: dict[str, str], span: tuple[float, float]) -> Measurements:
    return Measurements(reasons=reasons | dict.fromkeys(INTERVALS + OF_THE_BEAT, why), span=span)


def _stretch(ecg: ECG, given: Floats | None) -> tuple[ECG, Floats, float]:
    """The part that is measured, the R peaks in it (s from its start), and its start (s)."""
    best: tuple[ECG, Floats, float] | None = None
    for first, last in _stretches(ecg):
        piece = ecg if last - first >= ecg.duration else cut(ecg, first, last)
        if given is None:
            peaks = detect_qrs(piece.signal, piece.fs) / piece.fs if piece.present.any() else np.empty(0)
        else:
            peaks = given[(given >= first) & (given < last)] - first
            peaks = peaks[peaks <= piece.duration]
        if best is None or len(peaks) > len(best[1]):
            best = piece, peaks, first
        if len(peaks) >= ENOUGH_BEATS:
            break
    assert best is not None
    return best


def _stretches(ecg: ECG) -> Iterator[tuple[float, float]]:
    if ecg.duration <= LONGEST:
        yield 0.0, ecg.duration
        return
    edges = window_edges(ecg.duration)
    which = np.unique(np.linspace(0, len(edges) - 2, MOST_STRETCHES).astype(int))
    for k in which:
        yield float(edges[k]), float(edges[k + 1])


def _usable(ecg: ECG, peaks: Floats) -> tuple[Bools, dict[str, str]]:
    """(12,) the leads to measure in; by lead, why not in the others."""
    held = np.isfinite(ecg.signal).mean(axis=1)
    still = _still(ecg, peaks)
    usable = (held >= USABLE) & ~ecg.flat & (still <= 1 - USABLE)
    reasons = {}
    for row in np.flatnonzero(~usable):
        why = (
            "was not recorded"
            if not held[row]
            else "is flat"
            if ecg.flat[row]
            else f"is flat in {100 * still[row]:.0f} % of the beats"
            if still[row] > 1 - USABLE
            else "is there for less than half the time"
        )
        reasons[LEADS[row]] = f"{LEADS[row]} {why}."
    return usable, reasons


def _still(ecg: ECG, peaks: Floats) -> Floats:
    """(12,) share of the beats within whose QRS a lead stands still.

    Between beats a trace without noise, as of a simulator, stands still as well.
    """
    if not len(peaks):
        return np.zeros(len(LEADS))
    wing = max(1, round(QRS_NEAR * ecg.fs))
    at = np.rint(peaks * ecg.fs).astype(int)[:, None] + np.arange(-wing, wing + 1)
    at = np.clip(at, 0, ecg.n_samples - 1)
    out: Floats = (np.ptp(ecg.signal[:, at], axis=-1) == 0).mean(axis=1)
    return out


def _heights(signal: Floats, peaks: Floats) -> Floats:
    """(lead, 1) span of each lead's usual QRS, in its unit; of a very low one that of low leads."""
    wing = round(QRS_NEAR * WORK_FS)
    at = np.clip(np.rint(peaks * WORK_FS).astype(int), wing, max(wing, signal.shape[1] - wing - 1))
    near = signal[:, np.minimum(at[:, None] + np.arange(-wing, wing + 1), signal.shape[1] - 1)]
    spans = np.median(np.ptp(near, axis=-1), axis=1)
    floor = max(LOW_LEAD * float(np.median(spans)), np.finfo(float).tiny)
    return np.maximum(spans, floor)[:, None]


def _spikes(signal: Floats, fs: float, peaks: Floats) -> Floats:
    if fs < PACING_FS:
        return np.empty(0)
    if fs > PACING_MAX_FS:
        signal, fs = resample(signal, fs, PACING_MAX_FS), PACING_MAX_FS
    return pacing_spikes(signal, fs, peaks)


def _rhythm(
    beats: Beats, peaks: Floats, seen: Bools, n_other: int, reasons: dict[str, str]
) -> dict[str, Any]:
    """Intervals in ms; those that begin or end at a beat of another shape are left out of the scatter.

    Where fewer than half of the intervals remain, the rhythm is not called regular; nor is a tachycardia of
    several shapes of beats, which may be ventricular.

    peaks : (beat,) s, the R peaks as they are marked, of which the rate is told on every page
    seen : (interval,) those without a gap in the record
    n_other : beats of another shape
    """
    gaps = np.diff(beats.r_peaks) * 1000
    if not seen.any():
        why = (
            "The record has a gap between any two beats."
            if len(gaps)
            else "A single beat has no RR interval."
        )
        reasons |= dict.fromkeys(INTERVALS, why)
        return {"rr": NAN, "regular": None}
    rate = mean_rate(peaks, ~seen)
    usual = beats.likeness > MIN_RESEMBLANCE
    kept = usual[1:] & usual[:-1] & seen
    pairs = kept[1:] & kept[:-1]
    out: dict[str, Any] = {"rr": 60_000 / rate, "heart_rate": rate, "regular": None}
    if kept.sum() >= 3:
        out["rr_sd"] = float(np.std(gaps[kept], ddof=1))
        regular = bool(out["rr_sd"] <= IRREGULAR * gaps[kept].mean())
        if regular and rate >= TACHYCARDIA and n_other >= MANY_OTHER * len(beats.r_peaks):
            reasons["regular"] = (
                f"A tachycardia in which {n_other} of {len(beats.r_peaks)} beats are of another shape."
            )
        elif not regular or 2 * kept.sum() >= seen.sum():
            out["regular"] = regular
        else:
            reasons["regular"] = "Fewer than half of the RR intervals lie between usual beats."
    else:
        reasons |= dict.fromkeys(("rr_sd", "regular"), "Fewer than three RR intervals between usual beats.")
    if pairs.sum() >= 2:
        out["rmssd"] = float(np.sqrt(np.mean(np.square(np.diff(gaps)[pairs]))))
    else:
        reasons["rmssd"] = "Fewer than three successive RR intervals between usual beats."
    return out


def _kinds(beats: Beats, duration: float, premature: Bools) -> dict[str, int]:
    """How many beats there are, of another shape than usual, and of the usual shape and early.

    A beat whose QRS the record cuts off has no shape.
    """
    inside = (beats.r_peaks >= SHAPE) & (beats.r_peaks <= duration - SHAPE)
    other = ~(beats.likeness > MIN_RESEMBLANCE)
    return {
        "n_beats": len(other),
        "n_other": int((other & inside).sum()),
        "n_premature": int((premature & ~other).sum()),
    }


def _whole(values: Floats, zero: int) -> tuple[Floats, int]:
    """The stretch around the R peak in which every lead has a median, and the R peak's sample in it."""
    gone = np.flatnonzero(~np.isfinite(values).all(axis=0))
    low = int(gone[gone < zero].max(initial=-1)) + 1
    high = int(gone[gone >= zero].min(initial=values.shape[1]))
    if high - low < 2:  # a lead has no sample at the R peak of any beat
        return np.nan_to_num(values), zero
    return values[:, low:high], zero - low


def _waves(
    values: Floats, zero: int, beats: Beats, rr: float, spikes: Floats, reasons: dict[str, str]
) -> Waves:
    n = values.shape[1]
    if zero < 0.1 * WORK_FS or n - zero < 0.15 * WORK_FS:
        reasons["qrs"] = "No beat lies wholly within the record."
        return Waves(NONE, NONE, NONE)
    qrs = qrs_edges(values, WORK_FS, zero, _last_spike(spikes, beats.r_peaks))
    t = t_edges(values, WORK_FS, zero, rr, qrs)
    never_ended = bool(np.isnan(t[1]))
    if never_ended:
        reasons["t"] = "The next beat, or the end of the record, comes before T could end."
    elif not _comes_again(beats, zero - beats.zero, zero + np.rint(t * WORK_FS).astype(int), COMES_AGAIN_T):
        t, reasons["t"] = NONE, "No T wave stands out: what follows QRS differs from beat to beat."
    p, why = _p_wave(values, zero, beats, rr, qrs, t)
    if never_ended and not why:  # as in a fast tachycardia: what comes again before QRS may be ST-T
        p, why = NONE, P_IN_T
    if why:
        reasons["p"] = why
    return Waves(p, qrs, t)


def _p_wave(values: Floats, zero: int, beats: Beats, rr: float, qrs: Floats, t: Floats) -> tuple[Floats, str]:
    """Its edges, and why there are none; "" where there are."""
    for reach in (P_REACH, P_FARTHEST):
        window = p_window(WORK_FS, zero, rr, qrs, t, reach)
        p = p_edges(values, WORK_FS, zero, window)
        if np.isnan(p[1]):
            return NONE, "There is no room for a P wave between the T wave before and QRS."
        if not _comes_again(beats, zero - beats.zero, [window.start, window.stop], COMES_AGAIN_P):
            return NONE, NO_P if reach == P_REACH else P_BEGAN
        if np.isfinite(p[0]):
            return (NONE, P_LONG) if p[1] - p[0] > P_LONGEST else (p, "")
    return NONE, P_BEGAN


def _with_p(values: Floats, zero: int, beats: Beats, p: Floats) -> int:
    """How many of the dominant beats have the P wave of their median."""
    if np.isnan(p).any():
        return 0
    start, stop = zero + np.rint(p * WORK_FS).astype(int)
    cut_out = np.nan_to_num(beats.values[:, :, start + beats.zero - zero : stop + beats.zero - zero])
    usual, each = (
        above_line(gaussian_filter1d(rows, 0.008 * WORK_FS, axis=-1), WORK_FS)
        for rows in (values[:, start:stop], cut_out)
    )
    size = np.linalg.norm(usual) * np.linalg.norm(each, axis=(1, 2))
    return int(((each * usual).sum(axis=(1, 2)) > P_ALIKE * size).sum())


def _last_spike(spikes: Floats, r_peaks: Floats) -> float:
    """Seconds from the R peak, of the usual spike that goes before QRS; -inf without."""
    delay = (spikes[:, None] - r_peaks).ravel()
    near = delay[(delay > -0.15) & (delay < 0.03)]
    return float(np.median(near)) + 0.004 if 2 * len(near) >= len(r_peaks) else -np.inf


def _comes_again(beats: Beats, offset: int, edges: Any, least: float) -> bool:
    """Whether a stretch of the odd beats looks like that of the even ones, in all leads; true of one beat."""
    if len(beats.values) < 2:
        return True
    start, stop = np.asarray(edges) - offset
    rows = gaussian_filter1d(np.nan_to_num(beats.values[:, :, start:stop]), 0.008 * WORK_FS, axis=-1)
    one, other = (above_line(np.median(rows[k::2], axis=0), WORK_FS) for k in (0, 1))
    size = np.linalg.norm(one) * np.linalg.norm(other)
    return bool(size > 0 and (one * other).sum() >= least * size)


def _intervals(waves: Waves, rr: float, reasons: dict[str, str]) -> dict[str, float]:
    """All in ms."""
    p, qrs, t = (1000 * wave for wave in waves)
    out = {"p": p[1] - p[0], "pr": qrs[0] - p[0], "qrs": qrs[1] - qrs[0], "qt": t[1] - qrs[0]}
    for name, wave in (("p", "p"), ("pr", "p"), ("qt", "t")):
        if np.isnan(out[name]):
            reasons[name] = reasons.get(wave) or reasons["qrs"]
    reasons.pop("t", None)
    out |= corrected(out["qt"], rr)
    if np.isnan(out["qtc_bazett"]):
        reasons |= dict.fromkeys(QTCS, reasons.get("qt") or reasons["rr"])
    return {name: float(value) for name, value in out.items()}


def corrected(qt: float, rr: float) -> dict[str, float]:
    """QTc by each formula, ms; Bazett 1920, Fridericia 1920, Sagie 1992 (Framingham), Hodges 1983.

    Parameters
    ----------
    qt, rr : ms
    """
    s = rr / 1000
    return {
        "qtc_bazett": qt / np.sqrt(s),
        "qtc_fridericia": qt / np.cbrt(s),
        "qtc_framingham": qt + 154 * (1 - s),
        "qtc_hodges": qt + 1.75 * (60 / s - 60),
    }


def _doubt(values: dict[str, Any], reasons: dict[str, str]) -> str:
    """Why no QTc of this record is to be relied upon, in a sentence."""
    if np.isnan(values["qtc_bazett"]):
        return ""
    why = []
    if values["qrs"] >= WIDE_QRS:
        why.append(f"QRS is wide ({values['qrs']:.0f} ms), which lengthens QT by itself")
    if len(values["pacing_spikes"]):
        why.append("the heart is paced")
    if values["irregular_without_p"]:
        why.append("the rhythm is irregular without P waves, as in atrial fibrillation")
    return f"QTc is not reliable: {'; '.join(why)}." if why else ""


def _reference(values: Floats, zero: int, onset: float) -> Floats:
    """(12,) the level just before QRS."""
    if np.isnan(onset):
        return np.zeros(len(values))
    low, high = (max(0, zero + round((onset + s) * WORK_FS)) for s in REFERENCE)
    out: Floats = values[:, low : max(high, low + 1)].mean(axis=1)
    return out


def _axes(
    values: Floats, zero: int, waves: Waves, units_known: bool, reasons: dict[str, str]
) -> dict[str, float]:
    """Degrees, from the net area in I and aVF; of a wide QRS from R less Q or S, whichever is deeper.

    Of a bundle branch block the slow terminal forces would decide an area. Against the axes that readers
    gave, heights do better from 120 ms on (17 ECGs of PTB-XL and LUDB), and below neither does (153).
    """
    out: dict[str, float] = {}
    pair = values[[LEADS.index("I"), LEADS.index("aVF")]]
    for name, edges in (("p_axis", waves.p), ("qrs_axis", waves.qrs), ("t_axis", waves.t)):
        out[name] = NAN
        if not units_known:
            reasons[name] = "The voltage is unknown, and with it how the leads compare."
        elif not np.isfinite(pair).all():
            reasons[name] = "Leads I and aVF are both needed."
        elif np.isnan(edges).any():
            reasons[name] = reasons.get({"p_axis": "p", "t_axis": "qt"}.get(name, "qrs"), "")
        else:
            low, high = zero + np.rint(edges * WORK_FS).astype(int)
            wave = pair[:, low : high + 1]
            if name == "p_axis":
                wave = above_line(wave, WORK_FS)
            above, below = np.maximum(wave, 0), np.maximum(-wave, 0)
            wide = name == "qrs_axis" and round(1000 * float(edges[1] - edges[0])) >= WIDE_QRS
            up, down = (side.max(axis=1) if wide else side.sum(axis=1) for side in (above, below))
            net, whole = up - down, float((up + down).sum())
            if np.abs(net).sum() < NET * whole or not whole:
                reasons[name] = "What lies above and below the line cancels out in I and in aVF."
            else:
                out[name] = float(np.rad2deg(np.arctan2(AVF_IN_UNITS_OF_I * net[1], net[0])))
    return out


def _amplitudes(
    values: Floats, zero: int, qrs: Floats, units_known: bool, reasons: dict[str, str]
) -> dict[str, Any]:
    names = ("r_amplitude", "s_amplitude", "st_j", "st", "sokolow_lyon", "cornell")
    if not units_known or np.isnan(qrs).any():
        why = reasons["qrs"] if units_known else "The voltage of this record is unknown."
        reasons |= dict.fromkeys(names, why)
        return {}
    low, high = zero + np.rint(qrs * WORK_FS).astype(int)
    wave = values[:, max(0, low) : high + 1]
    r, s = r_and_s(wave)
    levels = {}
    for name, (first, last), words in (("st_j", J_LEVEL, "at"), ("st", ST_LEVEL, "60 ms after")):
        start, stop = high + round(first * WORK_FS), high + round(last * WORK_FS) + 1
        if stop <= values.shape[1]:
            levels[name] = values[:, start:stop].mean(axis=1)
        else:
            reasons[name] = (
                f"The next beat, or the end of the record, comes before the level {words} the J point."
            )
    lateral = np.nan if np.isnan(r[[V5, V6]]).any() else float(r[[V5, V6]].max())
    out = {"sokolow_lyon": float(s[V1] + lateral), "cornell": float(r[AVL] + s[V3])}
    for name, needed in (("sokolow_lyon", (V1, V5, V6)), ("cornell", (AVL, V3))):
        gone = [LEADS[row] for row in needed if np.isnan(values[row]).any()]
        if gone:
            reasons[name] = f"{' and '.join(gone)} could not be measured."
    return {"r_amplitude": r, "s_amplitude": s, **levels, **out}


def r_and_s(wave: Floats) -> tuple[Floats, Floats]:
    """Height of R and depth of S in (lead, sample) mV between the edges of QRS, the level before it at 0.

    R is the tallest wave, R' as well. A wave rises and falls again within QRS: where the trace merely ends
    high, as into the raised ST after a deep S, there is none. S is the deepest deflection after the first R
    wave, so that of an RSR' it lies between the two; where there is no R, the depth of QS.

    Returns
    -------
    r, s : (lead,) mV, both >= 0; NaN where a lead is absent
    """
    r, s = np.full(len(wave), np.nan), np.full(len(wave), np.nan)
    for row, lead in enumerate(wave):
        if np.isnan(lead).any():
            continue
        trace = np.concatenate([[0.0], lead])  # a wave may stand at the onset itself
        tops, _ = find_peaks(trace, height=LEAST_WAVE)
        rise = trace - np.minimum.accumulate(trace)
        fall = trace - np.minimum.accumulate(trace[::-1])[::-1]
        least = max(LEAST_WAVE, LEAST_FALL * np.ptp(trace))
        tops = tops[(rise[tops] >= LEAST_WAVE) & (fall[tops] >= least)]
        r[row] = trace[tops].max(initial=0.0)
        depth = -float(trace[tops[0] if tops.size else 0 :].min())
        s[row] = depth if depth >= LEAST_WAVE else 0.0
    return r, s
