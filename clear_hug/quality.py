"""assess_quality(ecg) -> Quality: is each lead fit to be read, is the record, are the leads in their places?

Three steps, each on windows of 10 s:

1. Each lead is measured: how much of it is absent, flat or clipped; mains, baseline wander, noise, spikes
   and steps, in shares of its own QRS height, so that no unit or gain matters; and how alike its beats are.
   A measure beyond its limit takes from the lead's quality and is said in words.
2. A logistic regression on the measures of all leads tells whether people would accept the record. It was
   learnt on the PhysioNet/CinC challenge of 2011, whose records were judged by several readers. No
   coefficient is negative: nothing that makes a lead worse makes the record better.
3. Another, on how the leads' median beats hang together, tells whether electrodes were exchanged. It was
   learnt on PTB-XL, with leads exchanged on purpose.

`python -m benchmarks.quality fit` learns both and writes `quality.json`. All but mains and what is cut off
is looked at near 100 Hz, so that a record reads the same at any rate.

References
----------
Silva I, Moody GB, Celi L. Improving the quality of ECGs collected using mobile phones: the
PhysioNet/Computing in Cardiology Challenge 2011. Comput Cardiol 2011; 38:273-276.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy import signal as dsp

from clear_hug.ecg import ECG, bandpass, bridge_gaps, freeze, resample, window_edges
from clear_hug.exchange import REVERSALS, suspect
from clear_hug.leads import LEADS, N_LEADS
from clear_hug.qrs import detect_qrs

Floats = NDArray[np.float64]
V1 = LEADS.index("V1")

PARAMETERS = Path(__file__).with_suffix(".json")
LOOK_FS = 100.0  # Hz; at which all but mains, clipping and flatness are looked at
BAND = (0.5, 40.0)  # Hz; the shape of a beat
BASELINE_HZ = 0.6  # below it lies the baseline
NOISE_BAND = (22.0, 40.0)  # Hz; between beats a heart has little there, muscles and loose contacts much
BEAT = (-0.26, 0.44)  # s around the R peak: P, QRS and most of T
QRS = (-0.12, 0.12)  # s around the R peak; a pacing spike may stand before the QRS
BLOCK = 0.1  # s; in which noise between beats is told
COARSE = 4  # of the samples at LOOK_FS one is enough to see a step
FLAT = 0.1  # of the time that a lead does not move, beyond which it is called flat
STILL = 0.5  # s without the least movement: no heart
CUT_OFF = 0.008  # s at the very end of the range: no wave stays there
MAINS_HZ = (50.0, 60.0)
SHORTEST = 1.0  # s; less of a record is not judged
FAINT_MV = 0.03  # a lead whose whole range is less is flat, where the unit is known
FAINT = 0.02  # of the usual lead's QRS height: so is a lead that shows less
LITTLE = 1 / 3  # of the usual lead's QRS height: noise in a lead that shows less is held against that
DOUBTFUL = 0.5  # a lead or a record below that is warned of
ALL_OF_IT = 0.9  # of a lead
REPEATED = 0.02  # SD of the difference of two chest leads over the larger SD; below it one stands there twice
FEWEST_BEATS, FEWEST_LEADS = 3, 10  # that tell of an exchange of electrodes


class Measure(NamedTuple):
    """What may be wrong with a lead.

    of : (12,) of a window, 0 for a clean lead
    limit : where the lead's quality halves, and it is said
    least : what counts as nothing: a floor for the logarithm
    words : of the defect
    """

    of: Callable[[_Seen], Floats]
    limit: float
    least: float
    words: str


@dataclass(frozen=True, eq=False)
class Quality:
    """How far a record may be read.

    Attributes
    ----------
    acceptable : 0 to 1, that a reader would accept the record: of its worst window. NaN for a record of
        less than a second, which is not judged
    leads : (12,) 0 to 1, of each lead in its own worst window; NaN for an absent lead
    measures : (window, 12, measure) as `MEASURES` names them; NaN for a lead that is absent there
    windows : (window, 2) s;  by_window : (window,) `acceptable` of each; 0 where no lead holds a sample
    reversal : key of `REVERSALS` that is suspected, or None; `undo_reversal` sets it right
    odds : natural logarithm of how much likelier `reversal` is than the leads in their places, as learnt;
        NaN where nothing was judged
    reasons : sentences, of the record
    lead_reasons : (12,) of what is wrong with each lead, in words
    repeated : pairs of chest leads that hold nearly the same trace
    """

    acceptable: float
    leads: Floats
    measures: Floats
    windows: Floats
    by_window: Floats
    reversal: str | None
    odds: float
    reasons: tuple[str, ...]
    lead_reasons: tuple[tuple[str, ...], ...]
    repeated: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        freeze(self)

    @property
    def doubtful(self) -> bool:
        """A reader would rather not accept the record."""
        return self.acceptable < DOUBTFUL

    @property
    def doubtful_leads(self) -> tuple[str, ...]:
        return tuple(lead for lead, value in zip(LEADS, self.leads, strict=True) if value < DOUBTFUL)

    @property
    def worst(self) -> tuple[float, float]:
        """(start, stop) s of the worst window."""
        start, stop = self.windows[int(np.argmin(np.nan_to_num(self.by_window, nan=1.0)))]
        return float(start), float(stop)


def assess_quality(ecg: ECG, r_peaks: NDArray[np.int64] | None = None) -> Quality:
    """Quality of a record and of each of its leads, and whether electrodes may have been exchanged.

    A long record is looked at in windows of 10 s; what is told is of the worst.

    Parameters
    ----------
    r_peaks : (beat,) samples, where `detect_qrs` has been asked already
    """
    edges = window_edges(ecg.duration)
    windows = np.stack([edges[:-1], edges[1:]], axis=1)
    names = list(MEASURES)
    if ecg.duration < SHORTEST or not ecg.present.any():
        why = "No lead holds a sample." if not ecg.present.any() else "Less than a second: not judged."
        nothing = np.full((len(windows), N_LEADS, len(names)), np.nan)
        value = np.nan if ecg.present.any() else 0.0
        return Quality(value, np.full(N_LEADS, np.nan), nothing, windows, np.full(len(windows), value), None,
                       np.nan, (why,), ((),) * N_LEADS)  # fmt: skip
    r_peaks = detect_qrs(ecg.signal, ecg.fs) if r_peaks is None else r_peaks
    all_measures, acceptable, medians, apart = [], [], [], []
    for start, stop in np.rint(windows * ecg.fs).astype(int):
        inside = r_peaks[(r_peaks >= start) & (r_peaks < stop)] - start
        seen = see(ecg.signal[:, start:stop], ecg.fs, inside)
        measures = measure_leads(seen, ecg.units_known)
        measures[ecg.present & np.isnan(measures).all(axis=1)] = _GONE
        all_measures.append(measures)
        apart.append(chest_apart(seen))
        recorded = np.isfinite(seen.raw).any()
        acceptable.append(_accepted(record_features(measures, len(inside))) if recorded else 0.0)
        if tells_exchange(measures, len(inside)):
            medians.append(seen.median)
    measures = np.array(all_measures)
    by_window = np.array(acceptable)
    leads = lead_quality(measures).min(axis=0)
    reversal, odds = suspect(medians, learnt_parameters()["reversal"])
    lead_reasons = _lead_reasons(measures, windows)
    repeated = _repeated(np.array(apart))
    quality = Quality(float(by_window.min()), leads, measures, windows, by_window, reversal, odds, (),
                      lead_reasons, repeated)  # fmt: skip
    return replace(quality, reasons=_reasons(quality, len(r_peaks)))


# What is looked at


@dataclass(frozen=True, eq=False)
class _Seen:
    """A window, as the measures look at it.

    raw : (12, sample) as recorded, NaN where absent;  filled : the same without gaps or offset;  fs : Hz
    slow : (12, sample at LOOK_FS) finite;  shape, noise, low : the same through BAND, NOISE_BAND, BASELINE_HZ
    r_peaks : (beat,) samples of `slow`;  quiet : (sample,) False within a QRS
    height : (12,) of the usual QRS
    beats : (12, beat, sample) of `shape`;  median : (12, sample)
    """

    raw: Floats
    filled: Floats
    fs: float
    slow: Floats
    shape: Floats
    noise: Floats
    low: Floats
    r_peaks: NDArray[np.int64]
    quiet: NDArray[np.bool_]
    height: Floats
    beats: Floats
    median: Floats

    @property
    def there(self) -> NDArray[np.bool_]:
        """(12,) leads with at least a sample."""
        return np.asarray(np.isfinite(self.raw).any(axis=1))

    def over_usual(self, values: Floats, size: Floats) -> Floats:
        """Values (12, ...) over each lead's size (12,); where it shows little, over a part of the usual size.

        A lead at right angles to the heart is no worse for it.
        """
        usual = np.median(size[self.there]) if self.there.any() else 0.0
        held = np.maximum(np.maximum(size, LITTLE * usual), np.finfo(float).tiny)
        return np.asarray(values / held.reshape(-1, *[1] * (values.ndim - 1)))


def see(signal: NDArray[Any], fs: float, r_peaks: NDArray[np.int64]) -> _Seen:
    """A window as the measures look at it; r_peaks : samples of `signal`."""
    raw = np.asarray(signal, dtype=np.float64)
    filled = bridge_gaps(raw, fs)[0]
    filled = filled - np.median(filled, axis=1, keepdims=True)
    slow = resample(filled, fs, LOOK_FS)
    shape, noise = bandpass(slow, LOOK_FS, *BAND), bandpass(slow, LOOK_FS, *NOISE_BAND)
    low = _lowpass(slow)
    n = slow.shape[1]
    marks = np.rint(r_peaks / fs * LOOK_FS).astype(np.int64)
    quiet = np.ones(n, dtype=bool)
    before, after = (round(edge * LOOK_FS) for edge in QRS)
    for mark in marks:
        quiet[max(0, mark + before) : mark + after + 1] = False
    start, stop = (round(edge * LOOK_FS) for edge in BEAT)
    whole = marks[(marks + start >= 0) & (marks + stop < n)]
    if whole.size:
        beats = shape[:, whole[:, None] + np.arange(start, stop + 1)]
        median = np.median(beats, axis=1)
        near = np.abs(median[:, -start + before : -start + after + 1])
        height = near.max(axis=1)
    else:  # no beat was found: what a block of two seconds reaches, at the median
        beats, median = np.zeros((N_LEADS, 0, stop - start + 1)), np.zeros((N_LEADS, stop - start + 1))
        blocks = np.array_split(np.abs(shape), max(1, round(n / LOOK_FS / 2)), axis=1)
        height = np.median([block.max(axis=1) for block in blocks], axis=0)
    return _Seen(raw, filled, fs, slow, shape, noise, low, marks, quiet, height, beats, median)


def _lowpass(slow: Floats) -> Floats:
    sos = dsp.butter(2, BASELINE_HZ, "lowpass", fs=LOOK_FS, output="sos")
    return np.asarray(dsp.sosfiltfilt(sos, slow, axis=-1, padtype="even", padlen=min(slow.shape[1] - 1, 200)))


# Measures: (12,) each, 0 for a clean lead


def _missing(seen: _Seen) -> Floats:
    """Share of the samples."""
    return np.asarray(np.mean(~np.isfinite(seen.raw), axis=1))


def flat_share(signal: NDArray[np.floating[Any]], fs: float) -> Floats:
    """(lead,) share of the time in stretches of half a second and more that do not move; `fs` in Hz."""
    out = np.zeros(len(signal))
    still = max(2, round(STILL * fs))
    for lead, values in enumerate(signal):
        known = np.isfinite(values)
        if not known.any():
            continue
        same = np.abs(np.diff(values)) <= 1e-4 * (np.nanmax(values) - np.nanmin(values))
        starts, stops = _runs(same)
        lengths = stops - starts + 1
        out[lead] = lengths[lengths >= still].sum() / values.size
    return np.minimum(out, 1.0)


def _flat(seen: _Seen) -> Floats:
    return flat_share(seen.raw, seen.fs)


def _clipped(seen: _Seen) -> Floats:
    """Share of the time at the highest or lowest value, reached in a jump."""
    out = np.zeros(N_LEADS)
    shortest = max(2, round(CUT_OFF * seen.fs))
    for lead, values in enumerate(seen.raw):
        known = values[np.isfinite(values)]
        if known.size < 2 or known.max() == known.min():
            continue
        steep = 2 * (known.max() - known.min()) / seen.fs  # a sample's step, at twice the range a second
        for end in (known.max(), known.min()):
            starts, stops = _runs(np.abs(known - end) <= 1e-6 * abs(end))
            from_, to = known[np.maximum(starts - 1, 0)], known[np.minimum(stops, known.size - 1)]
            jump = np.maximum(np.abs(from_ - end), np.abs(to - end))
            cut_off = (stops - starts >= shortest) & (jump >= steep)
            if cut_off.sum() > 1 or (stops - starts)[cut_off].sum() >= 0.1 * seen.fs:
                out[lead] += (stops - starts)[cut_off].sum() / values.size
    return out


def _runs(there: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Starts and stops of the stretches that are True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], there, [False]]).astype(np.int8)))
    return edges[::2], edges[1::2]


def _mains(seen: _Seen) -> Floats:
    """Amplitude of 50 or 60 Hz over the QRS height; 0 where the rate cannot tell."""
    hertz = [hz for hz in MAINS_HZ if hz + 6 < seen.fs / 2]
    if not hertz:
        return np.zeros(N_LEADS)
    length = min(seen.filled.shape[1], round(2 * seen.fs))
    at, power = dsp.welch(seen.filled, seen.fs, nperseg=length, axis=-1)
    step = at[1] - at[0]
    best = np.zeros(N_LEADS)
    for hz in hertz:
        line = np.abs(at - hz) <= max(1.0, 2 * step)
        beside = (np.abs(at - hz) > max(1.0, 2 * step)) & (np.abs(at - hz) <= 6)
        more = (power[:, line] - np.median(power[:, beside], axis=1, keepdims=True)).clip(min=0)
        best = np.maximum(best, np.sqrt(2 * more.sum(axis=1) * step))
    return seen.over_usual(best, seen.height)


def _baseline(seen: _Seen) -> Floats:
    """Range of the baseline over the QRS height."""
    return seen.over_usual(np.ptp(seen.low, axis=1), seen.height)


def _noise(seen: _Seen) -> Floats:
    """Noise between beats in the median block over the QRS height."""
    return np.median(_blocks(seen), axis=1)


def _bursts(seen: _Seen) -> Floats:
    """Noise between beats in the worst tenth of the blocks over the QRS height."""
    return np.quantile(_blocks(seen), 0.9, axis=1)


def _blocks(seen: _Seen) -> Floats:
    """(12, block) RMS of the noise between beats over the QRS height."""
    between = seen.noise[:, seen.quiet] if seen.quiet.sum() >= BLOCK * LOOK_FS else seen.noise
    size = round(BLOCK * LOOK_FS)
    n = max(1, between.shape[1] // size)
    blocks = between[:, : n * size].reshape(N_LEADS, n, -1)
    return seen.over_usual(np.sqrt(np.square(blocks).mean(axis=2)), seen.height)


def _spikes(seen: _Seen) -> Floats:
    """Steepest slope between beats over the steepest of the usual beat."""
    slope = np.abs(np.diff(seen.slow, axis=1))
    quiet = seen.quiet[1:]
    if not quiet.any():
        return np.zeros(N_LEADS)
    usual = np.abs(np.diff(seen.median, axis=1)).max(axis=1) if seen.beats.shape[1] else seen.height / 3
    return seen.over_usual(slope[:, quiet].max(axis=1), usual)


def _steps(seen: _Seen) -> Floats:
    """Greatest sudden and lasting change of level over the QRS height."""
    slow = seen.slow[:, ::COARSE]
    rate, n = LOOK_FS / COARSE, slow.shape[1]
    half, gap = round(0.25 * rate), round(0.06 * rate)
    reach = half + gap
    if n < 2 * reach + 1:
        return np.zeros(N_LEADS)
    level = ndimage.median_filter(slow, size=(1, 2 * half + 1), mode="nearest")
    lasting = np.abs(level[:, 2 * reach :] - level[:, : n - 2 * reach])
    sudden = np.abs(level[:, reach + gap : n - reach + gap] - level[:, reach - gap : n - reach - gap])
    step = np.minimum(2 * sudden - lasting, lasting)  # nothing for a slope: it goes on
    return seen.over_usual(step.max(axis=1).clip(min=0), seen.height)


def _unlike(seen: _Seen) -> Floats:
    """One less the usual correlation of a beat with the median beat."""
    if seen.beats.shape[1] < 2:
        return np.zeros(N_LEADS) if seen.beats.shape[1] else np.ones(N_LEADS)
    beats = seen.beats - seen.beats.mean(axis=2, keepdims=True)
    median = seen.median - seen.median.mean(axis=1, keepdims=True)
    size = np.sqrt(np.square(beats).sum(axis=2) * np.square(median).sum(axis=1)[:, None])
    like = np.divide(np.einsum("lbs,ls->lb", beats, median), size, out=np.zeros_like(size), where=size > 0)
    return 1 - np.median(like, axis=1)


MEASURES: dict[str, Measure] = {
    "missing": Measure(_missing, 0.1, 0.01, "samples absent"),
    "flat": Measure(_flat, FLAT, 0.01, "flat"),
    "clipped": Measure(_clipped, 0.01, 0.003, "cut off at the end of its range"),
    "mains": Measure(_mains, 0.1, 0.01, "mains hum"),
    "baseline": Measure(_baseline, 3.0, 0.05, "baseline wander"),
    "noise": Measure(_noise, 0.06, 0.005, "muscle noise"),
    "bursts": Measure(_bursts, 0.12, 0.01, "bursts of noise"),
    "spikes": Measure(_spikes, 2.0, 0.1, "spikes between beats"),
    "steps": Measure(_steps, 1.0, 0.05, "sudden steps of the baseline"),
    "unlike": Measure(_unlike, 0.35, 0.005, "beats hardly alike"),
}


def measure_leads(seen: _Seen, units_known: bool) -> Floats:
    """(12, measure) as `MEASURES` names them; NaN for a lead that is absent."""
    out = np.stack([measure.of(seen) for measure in MEASURES.values()], axis=1)
    if units_known:
        known = np.isfinite(seen.raw)
        high, low = (np.where(known, seen.raw, end) for end in (-np.inf, np.inf))
        faint = high.max(axis=1) - low.min(axis=1) < FAINT_MV
        if seen.there.any():
            faint |= seen.height < FAINT * np.median(seen.height[seen.there])
        out[faint, list(MEASURES).index("flat")] = 1.0
    out = np.clip(out, 0.0, 1e3)
    out[~seen.there] = np.nan
    return out


_GONE = np.array([float(name == "missing") for name in MEASURES])  # absent for a whole window
_LIMITS = np.array([measure.limit for measure in MEASURES.values()])
_LEAST = np.array([measure.least for measure in MEASURES.values()])
_STEEP = 3  # how sharply quality falls around a limit


def lead_quality(measures: Floats) -> Floats:
    """(..., 12) 0 to 1 from (..., 12, measure); half where one measure stands at its limit."""
    return np.asarray(np.prod(1 / (1 + (measures / _LIMITS) ** _STEEP), axis=-1))


# Would people accept it?


def record_features(measures: Floats, n_beats: int) -> Floats:
    """(feature,) from (12, measure): each measure at its mean, worst and third worst lead; no beat at all.

    What is absent of a lead counts as flat: nobody can read either.
    """
    names = list(MEASURES)
    there = ~np.isnan(measures).any(axis=1)
    told = measures[there] if there.any() else np.eye(len(names))[[names.index("flat")]]
    told = told.copy()
    flat, missing = names.index("flat"), names.index("missing")
    told[:, flat] = np.minimum(told[:, flat] + told[:, missing], 1.0)
    logs = np.sort(np.log10(np.clip(_LEAST + told, None, 100.0)), axis=0)
    logs = np.delete(logs, missing, axis=1)
    third = logs[-min(3, len(logs))]
    return np.concatenate([logs.mean(axis=0), logs[-1], third, [float(n_beats == 0)]])


def _accepted(features: Floats) -> float:
    learnt = learnt_parameters()["acceptable"]
    logit = learnt["intercept"] + learnt["coefficients"] @ (features - learnt["mean"])
    return float(1 / (1 + np.exp(np.clip(logit, -50, 50))))  # the logit is that of "unacceptable"


# Are the leads in their places?


def chest_apart(seen: _Seen) -> Floats:
    """(6, 6) SD of the difference of two chest leads over the larger SD; NaN where one holds no signal.

    Near 0 both their shape and their height are the same, noise and all, which no two places on a chest show.
    Limb leads are not looked at: each follows from two others.
    """
    gone = ~seen.there[V1:] | (np.isfinite(seen.raw[V1:]).mean(axis=1) < 1 - FLAT)
    chest = seen.shape[V1:]
    size = chest.std(axis=1)
    apart = np.full((len(chest), len(chest)), np.nan)
    for a, b in itertools.combinations(np.flatnonzero(~gone & (size > 0)), 2):
        apart[a, b] = (chest[a] - chest[b]).std() / max(size[a], size[b])
    return apart


def _repeated(apart: Floats) -> tuple[tuple[str, str], ...]:
    """Pairs of leads that are one trace in at least half of the windows (window, 6, 6)."""
    like = (apart < REPEATED).sum(axis=0)
    told = np.isfinite(apart).sum(axis=0)
    rows = np.argwhere((like > 0) & (2 * like >= told)) + V1
    return tuple((LEADS[a], LEADS[b]) for a, b in rows.tolist())


def tells_exchange(measures: Floats, n_beats: int) -> bool:
    """Enough beats in enough leads to tell an exchange of electrodes from."""
    good = lead_quality(np.nan_to_num(measures, nan=np.inf)) >= DOUBTFUL
    return n_beats >= FEWEST_BEATS and int(good.sum()) >= FEWEST_LEADS


@cache
def learnt_parameters() -> dict[str, dict[str, Any]]:
    told = json.loads(PARAMETERS.read_text(encoding="utf-8"))
    return {
        part: {name: np.array(value) if isinstance(value, list) else value for name, value in what.items()}
        for part, what in told.items()
    }


# In words


def _lead_reasons(measures: Floats, windows: Floats) -> tuple[tuple[str, ...], ...]:
    """What is wrong with each lead; in a long record, where it is worst."""
    said: list[tuple[str, ...]] = []
    for lead in range(N_LEADS):
        phrases = []
        for k, (name, measure) in enumerate(MEASURES.items()):
            values = np.nan_to_num(measures[:, lead, k], nan=-1.0)
            worst = int(np.argmax(values))
            if values[worst] > measure.limit:
                phrases.append(measure.words + _when(windows, worst))
            if name == "flat" and values.max() >= ALL_OF_IT:
                break  # nothing is left to be said of it
        said.append(tuple(phrases))
    return tuple(said)


def _when(windows: Floats, row: int) -> str:
    return f" (worst from {windows[row, 0]:.0f} to {windows[row, 1]:.0f} s)" if len(windows) > 1 else ""


def _reasons(quality: Quality, n_beats: int) -> tuple[str, ...]:
    said = []
    if quality.doubtful:
        where = ""
        if len(quality.windows) > 1:
            bad = int((quality.by_window < DOUBTFUL).sum())
            start, stop = quality.worst
            where = f" in {bad} of {len(quality.windows)} windows, worst from {start:.0f} to {stop:.0f} s"
        said.append(f"Human readers would probably reject this recording{where}.")
    if quality.reversal:
        also = "; dextrocardia looks alike" if quality.reversal == "LA/RA" else ""
        said.append(f"Suspected: {REVERSALS[quality.reversal].words}{also}.")
    if quality.repeated:
        pairs = ", ".join(f"{a} and {b}" for a, b in quality.repeated)
        said.append(
            f"Suspected: {pairs} hold nearly the same trace, which no two places on the chest do: one lead "
            "recorded twice?"
        )
    if not n_beats:
        said.append("No beat was found.")
    for measure in MEASURES.values():
        leads = [
            lead
            for lead, phrases in zip(LEADS, quality.lead_reasons, strict=True)
            if any(phrase.startswith(measure.words) for phrase in phrases)
        ]
        if leads:
            said.append(f"{measure.words[0].upper()}{measure.words[1:]}: {_names(leads)}.")
    return tuple(said)


def _names(leads: Sequence[str]) -> str:
    """Leads in words; a whole group under its name."""
    if len(leads) == N_LEADS:
        return "all leads"
    for group, name in ((LEADS[:6], "all limb leads"), (LEADS[6:], "V1–V6")):
        if set(group) <= set(leads):
            others = [lead for lead in leads if lead not in group]
            return ", ".join([name, *others] if group[0] == "I" else [*others, name])
    return ", ".join(leads)
