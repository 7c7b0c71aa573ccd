"""check_input(ecg, tokens, checkpoint) -> Gate: what is unusual about a record, said before a number is read.

Limits come from the records that a checkpoint learned its labels from: its operating.json keeps, for each
measure, the range that holds 99 % of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clear_hug.beats import MIN_RESEMBLANCE, BeatTokens, split_windows
from clear_hug.checkpoint import Checkpoint
from clear_hug.ecg import ECG, ECGError, gaps_between, mean_rate
from clear_hug.leads import LEADS, N_LEADS
from clear_hug.measure.beats import measure_beats
from clear_hug.reconstruct import reconstruct
from clear_hug.words import missing, runs_of_leads

if TYPE_CHECKING:
    from clear_hug.measure import Measurements
    from clear_hug.quality import Quality

QUANTILES = (0.005, 0.995)  # of the training records; what lies beyond is unusual
ADULT = 18  # years
FEW_BEATS = 3  # with fewer there is one RR interval at most, and no rhythm to tell
FIBRILLATION = ("AFIB", "AFLT", "AF")  # labels that an irregular rhythm without P waves may bear
WIDE_QRS, FAST = 120, 120  # ms, beats/min; what reaches both may be a ventricular tachycardia
FIBRILLATES = ("AFIB", "AF")  # those of atrial fibrillation alone, which has no P waves
SIMULATED_WORDS = "This ECG is simulated; the model was trained on real ones."
NORMAL_WORDS = "In PTB-XL “normal ECG” means that the beats look normal; it says nothing about the rhythm."
STILL, CUT_OFF = 0.02, 0.1  # s that a trace stands still at its end; and how near to that a beat is cut off
SHORT = 0.9  # of the shortest stretch read in training; a record may miss a little at its ends

RATE, BEATS, SECONDS, SCALE, UNTOLD = "heart_rate", "beats", "seconds", "scale", "not_rebuilt"
"""Measures: beats/min; beats and seconds of each stretch that is read at once; median SD of the leads (mV);
1 - R2 of all tokens, each rebuilt while half of them are hidden. SCALE and UNTOLD stand for each lead too, as
"scale/V1"."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Gate:
    """What is to be known before an answer is read.

    sentences : what is unusual, the gravest first
    compared : the record was held against what training showed
    """

    sentences: tuple[str, ...]
    compared: bool

    @property
    def ok(self) -> bool:
        """Nothing unusual was found."""
        return not self.sentences


def input_measures(checkpoint: Checkpoint, tokens: BeatTokens) -> dict[str, float]:
    """Measure -> its value for a record; those that it does not have are left out."""
    windows = split_windows(tokens)
    found = {
        RATE: tokens.heart_rate,
        BEATS: float(np.mean([w.tokens.n_beats for w in windows])),
        SECONDS: float(np.mean([w.stop - w.start for w in windows])),
    }
    if np.isfinite(tokens.lead_scale).any():
        found[SCALE] = float(np.nanmedian(tokens.lead_scale))
        found |= _each(SCALE, tokens.lead_scale)
    whole, leads = _untold(checkpoint, tokens)
    found |= {UNTOLD: whole, **_each(UNTOLD, leads)}
    return {name: value for name, value in found.items() if np.isfinite(value)}


def _each(name: str, values: Iterable[float]) -> dict[str, float]:
    return {f"{name}/{lead}": float(value) for lead, value in zip(LEADS, values, strict=True)}


def _untold(checkpoint: Checkpoint, tokens: BeatTokens) -> tuple[float, Floats]:
    """1 - R2 of all tokens, and (12,) of each lead's; hidden as a chessboard's colours are, one by one."""
    lead, beat = np.indices(tokens.valid.shape)
    error, power = np.zeros(N_LEADS), np.zeros(N_LEADS)
    for colour in (0, 1):
        hidden = (lead + beat) % 2 == colour
        try:
            rebuilt = reconstruct(checkpoint, tokens, hidden)
        except ECGError:  # a stretch with a single token, from which nothing is foretold
            continue
        some = rebuilt.hidden[..., None] & tokens.inside
        truth = np.where(some, tokens.values, 0).astype(np.float64)
        error += np.square(np.where(some, rebuilt.values, 0) - truth).sum(axis=(1, 2))
        power += np.square(truth).sum(axis=(1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.divide(error.sum(), power.sum())), error / power


def limits_of(measured: Iterable[Mapping[str, float]]) -> dict[str, dict[str, Any]]:
    """Measure -> its range over training records and how many had it, for operating.json."""
    table: dict[str, list[float]] = {}
    for record in measured:
        for name, value in record.items():
            table.setdefault(name, []).append(value)
    return {
        name: {"range": [float(f"{q:.4g}") for q in np.quantile(values, QUANTILES)], "records": len(values)}
        for name, values in table.items()
    }


def check_input(ecg: ECG, tokens: BeatTokens, checkpoint: Checkpoint, quality: Quality | None = None) -> Gate:
    """What is unusual about a record.

    Parameters
    ----------
    ecg, tokens : of the record
    checkpoint : whose training it is held against, where its operating.json tells
    quality : of `assess_quality(ecg)`
    """
    said = missing(tokens) + _over_gaps(ecg, tokens) + _cut_off(ecg, tokens)
    if quality is not None and (quality.doubtful or quality.reversal or quality.repeated):
        said += quality.reasons
    limits = checkpoint.operating.get("input", {})
    if limits:
        rate = mean_rate(tokens.r_peaks, gaps_between(ecg, tokens.r_peaks))  # as it is shown on every page
        said += _beyond(input_measures(checkpoint, tokens) | {RATE: rate}, limits)
    said += ecg.voltage_doubts
    if ecg.simulated:
        said += [SIMULATED_WORDS]
    return Gate(tuple(said), bool(limits))


def of_a_child(age: float | None) -> list[str]:
    """That next to no record in training was of a child, where this one is; age in years."""
    if age is None or age >= ADULT:
        return []
    return [f"This is a child's ECG ({age:.0f} years). Next to no record in training was of a child."]


def rhythm_doubts(
    measured: Measurements | None, n_beats: int, targets: Iterable[str], called: Iterable[str] | None
) -> list[str]:
    """Where what is measured of the rhythm and what a model answers part, in sentences.

    Parameters
    ----------
    measured : of the record, None where nothing could be measured
    n_beats : that the model reads
    targets : "task/label" that the model answers
    called : those that it calls; None while that is not to be told
    """
    said = []
    if measured is not None and measured.paced:
        said.append(
            "Pacing spikes were found; next to no record in training was paced. Read every label with care."
        )
    if measured is not None and wide_tachycardia(measured):
        said.append(
            f"Measured: a tachycardia of wide complexes ({measured.heart_rate:.0f}/min, QRS "
            f"{measured.qrs:.0f} ms). It may be ventricular: no label of the model tells. Look at the trace."
        )
    if n_beats < FEW_BEATS:
        some = f"{n_beats} beat{'' if n_beats == 1 else 's'}"
        said.append(f"The rhythm cannot be told from {some}: do not rely on a label of rhythm.")
    elif measured is not None and measured.irregular_without_p and not of_fibrillation(called or ()):
        answer = "" if called is None else "; at its default threshold the model does not call it"
        if not of_fibrillation(targets):
            answer = "; this model has no label for it"
        said.append(
            f"Measured: irregular and no P wave, as in atrial fibrillation{answer}. Look at the trace."
        )
    if measured is not None and _is_called(called, FIBRILLATES) and 2 * measured.n_with_p > measured.n_usual:
        said.append(_p_despite_fibrillation(measured))
    return said


def _is_called(called: Iterable[str] | None, labels: Iterable[str]) -> bool:
    """Whether one of some labels is among "task/label"s."""
    return any(target.rpartition("/")[2] in labels for target in called or ())


def _p_despite_fibrillation(measured: Measurements) -> str:
    """That P waves are measured although atrial fibrillation is called, and what may have misled."""
    m = measured
    before = f"{m.n_with_p} of {m.n_usual} usual beats"
    said = f"Atrial fibrillation is called, yet P waves are measured before {before}"
    if ectopic := m.n_premature + m.n_other:
        said += (
            f", and {ectopic} of {m.n_beats} beats come early or have another shape: ectopic beats, rather?"
        )
    elif m.regular:
        said += ", and the rhythm is regular."
    else:
        said += "."
    return f"{said} Look at the trace."


def wide_tachycardia(measured: Measurements) -> bool:
    """Whether QRS lasts 120 ms at 120 beats/min, or more of either, as they are shown."""
    return bool(np.rint(measured.qrs) >= WIDE_QRS and np.rint(measured.heart_rate) >= FAST)


def of_fibrillation(targets: Iterable[str]) -> bool:
    """Whether one of some labels, "task/label", is of atrial fibrillation or flutter."""
    return _is_called(targets, FIBRILLATION)


def _over_gaps(ecg: ECG, tokens: BeatTokens) -> list[str]:
    """That RR intervals span a stretch in which no lead has a sample: beats may have been in it."""
    n = int(gaps_between(ecg, tokens.r_peaks).sum())
    if not n:
        return []
    some = "One RR interval spans" if n == 1 else f"{n} RR intervals span"
    return [
        f"{some} a gap in the record. The model cannot tell it from a pause: read the labels of rhythm "
        "and rate with care."
    ]


def _cut_off(ecg: ECG, tokens: BeatTokens) -> list[str]:
    """That the first or last beat lies where the trace begins or stops to move, and looks like no other."""
    steps = np.diff(ecg.signal, axis=1)
    moves = np.flatnonzero((np.isfinite(steps) & (steps != 0)).any(axis=0))
    if tokens.n_beats < FEW_BEATS or not moves.size:
        return []
    facts, said = measure_beats(tokens), []
    for row, name, edge, rest in (
        (0, "first", moves[0] / ecg.fs, moves[0] / ecg.fs),
        (-1, "last", (moves[-1] + 1) / ecg.fs, ecg.duration - (moves[-1] + 1) / ecg.fs),
    ):
        at = tokens.r_peaks[row]
        if rest >= STILL and abs(edge - at) < CUT_OFF and facts.resemblance[row] < MIN_RESEMBLANCE:
            said.append(
                f"The {name} beat, at {at:.2f} s, is cut off where the trace stands still, and looks like no "
                "other: part of a beat, or none. It counts; the Beats page can take it out."
            )
    return said


def _beyond(measured: Mapping[str, float], limits: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Where a record lies outside of what training showed, in sentences."""

    def side(name: str, digits: int = 9) -> str:
        """Where the value lies, with the digits that are said of it and of its limits."""
        if name not in measured or name not in limits:
            return ""
        value, low, high = (round(x, digits) for x in (measured[name], *limits[name]["range"]))
        return "below" if value < low else "above" if value > high else ""

    def trained(name: str, unit: str, digits: int) -> str:
        low, high = limits[name]["range"]
        return (
            f"99 % of the training records have {low:.{digits}f} to {high:.{digits}f} {unit}".rstrip() + "."
        )

    said = []
    short = SECONDS in limits and measured[SECONDS] < SHORT * limits[SECONDS]["range"][0]
    if way := side(RATE, 0):
        said.append(
            f"The heart rate, {measured[RATE]:.0f}/min, lies {way} what training showed: "
            f"{trained(RATE, '', 0)}"
        )
    elif (way := side(BEATS, 0)) and not short:
        what = f"{measured[BEATS]:.0f} beats in {measured[SECONDS]:.1f} s"
        said.append(f"{what} lie {way} what training showed: {trained(BEATS, '', 0)}")
    if short:
        said.append(
            f"The model reads {measured[SECONDS]:.1f} s at a time here; the training records are "
            f"{limits[SECONDS]['range'][0]:.3g} s long."
        )
    if way := side(SCALE, 3):
        said.append(
            f"The leads' usual scale, {measured[SCALE]:.3f} mV (SD), lies {way} what training showed: "
            f"{trained(SCALE, 'mV', 3)} Is the unit right?"
        )
    else:
        for way, words in (("above", "larger"), ("below", "smaller")):
            rows = [row for row, lead in enumerate(LEADS) if side(f"{SCALE}/{lead}") == way]
            if rows:
                said.append(f"{_of(rows)} {words} than in 99.5 % of the training records.")
    rows = [row for row, lead in enumerate(LEADS) if side(f"{UNTOLD}/{lead}") == "above"]
    where = f", least of all {runs_of_leads(rows)}" if 0 < len(rows) < len(LEADS) else ""
    why = "noise, misplaced electrodes, or a heart unlike those of training."
    if side(UNTOLD, 2) == "above":
        low = 1 - limits[UNTOLD]["range"][1]
        said.append(
            f"Beats are predicted from the rest of the record less well than in training{where} (R² "
            f"{1 - measured[UNTOLD]:.2f}; 99.5 % of the training records reach {low:.2f}): {why}"
        )
    elif rows:
        said.append(
            f"{_of(rows)} predicted from the rest less well than in 99.5 % of the training records: {why}"
        )
    return said


def _of(rows: list[int]) -> str:
    return f"Lead {runs_of_leads(rows)} is" if len(rows) == 1 else f"Leads {runs_of_leads(rows)} are"
